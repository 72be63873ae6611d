//! From a configuration to rooms that fit together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use prometheus::{IntGauge, Opts, Registry as Metrics};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc;

use super::figures::Readiness;
use super::peers::Elsewhere;
use super::turns::Turns;
use crate::auth::scram::MockSecret;
use crate::auth::{AuthMetrics, Signer, Throttle, Verifier};
use crate::config::Config;
use crate::control::phone::Numbers;
use crate::control::provision::{ProvisionMetrics, Provisioner, Servers};
use crate::front::CertificateExpiry;
use crate::ident::ServerKey;
use crate::net::tls::{ClientTls, ServerTls};
use crate::observe::ProcessMetrics;
use crate::pool::Pools;
use crate::server::{Dialer, Server};
use crate::session::{
    LimitRules, LostCancel, LostCancels, RefusedDial, Roster, SessionMetrics, Shared, SharedParts,
};
use crate::tenant::{Directory, MasterKey, Registry, Tenant, TenantMetrics};

/// Everything that is wrong, one sentence each.
pub type BuildProblems = Vec<String>;

/// Tenants that may wait to be looked at for a refused dial.
const REFUSED_MAX: usize = 64;

/// The rooms, built and not started.
pub struct Built {
    /// What sessions share.
    pub shared: Arc<Shared>,
    /// The pools.
    pub pools: Pools<Box<Server>>,
    /// The metadata database.
    pub registry: Registry,
    /// The cache in front of it.
    pub directory: Arc<Directory>,
    /// Who has which phone number.
    pub numbers: Numbers,
    /// Proves tokens.
    pub verifier: Verifier,
    /// Makes tokens.
    pub signer: Arc<Signer>,
    /// The master key.
    pub master_key: MasterKey,
    /// Where tenants can be made.
    pub servers: Arc<Servers>,
    /// The listener's certificate.
    pub tls: Option<Arc<ServerTls>>,
    /// How limits come about.
    pub rules: LimitRules,
    /// Tenants whose PostgreSQL refused us, for the one who puts it right.
    pub refused: Mutex<Option<mpsc::Receiver<RefusedDial>>>,
    /// Cancel requests for sessions of other processes, for the one who tells them.
    pub lost_cancels: Mutex<Option<mpsc::Receiver<LostCancel>>>,
    /// Those of them that another process is at.
    pub(super) elsewhere: Elsewhere,
    /// Every metric.
    pub metrics: Metrics,
    /// Rung when processes of this registry come or go.
    pub processes: Arc<Notify>,
    /// Rung when changes of the registry may have been missed.
    pub missed: Notify,
    /// Whether what was missed is still to be read.
    pub behind: IntGauge,
    /// Tenants whose rows are being looked at.
    pub(super) looks: Turns<()>,
    /// Tenants whose servers are being told what their rows say.
    pub(super) applied: Turns<Arc<Tenant>>,
}

/// Collects problems, so that all are said at once.
#[derive(Default)]
struct Problems(BuildProblems);

impl Problems {
    fn note<T, E: ToString>(&mut self, section: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.0.push(format!("{section}: {}", e.to_string()))).ok()
    }

    fn note_all<T>(&mut self, section: &str, result: Result<T, Vec<String>>) -> Option<T> {
        let told = |list: Vec<String>| list.into_iter().map(|e| format!("{section}: {e}"));
        result.map_err(|list| self.0.extend(told(list))).ok()
    }
}

impl Built {
    /// Builds every room. Reads certificate and key files; asks no network. `control` is the
    /// runtime that the directory's questions run on.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn build(config: &Config, control: &Handle) -> Result<Self, BuildProblems> {
        let metrics = Metrics::new();
        let mut problems = Problems::default();
        problems.note("metrics", ProcessMetrics::register(&metrics));
        problems.note("metrics", build_info(&metrics));
        let tls = (!config.tls.certificate.as_os_str().is_empty())
            .then(|| problems.note_all("tls", ServerTls::load(config.tls.clone())))
            .map(|loaded| loaded.map(Arc::new));
        if let Some(Some(tls)) = &tls {
            problems.note("metrics", CertificateExpiry::register(&metrics, tls));
        }
        let auth_metrics = problems.note("metrics", AuthMetrics::new(&metrics));
        let signer = problems.note_all("auth.signer", Signer::new(config.auth.signer.clone()));
        let verifier = auth_metrics.clone().and_then(|counts| {
            let tokens = config.auth.tokens.clone();
            problems.note_all("auth.tokens", Verifier::new(tokens, signer.as_ref(), counts))
        });
        let master_key = problems.note("auth.master_key", MasterKey::new(&config.auth.master_key));
        let registry = master_key
            .clone()
            .and_then(|key| problems.note("registry.url", Registry::new(&config.registry, key)))
            .map(|registry| registry.billed(config.billing_rules()));
        let tenant_metrics = problems.note("metrics", TenantMetrics::new(&metrics));
        let pools = problems.note("metrics", pools(config, &metrics));
        let client_tls = problems.note("dial_tls", ClientTls::new(config.dial_tls.clone()));
        let dialer =
            client_tls.and_then(|tls| problems.note("dial", Dialer::new(config.dial.clone(), tls)));
        let session_metrics = problems.note("metrics", SessionMetrics::new(&metrics));
        let mock = problems.note("auth", MockSecret::random());
        let servers =
            master_key.clone().and_then(|key| servers(config, &key, &metrics, &mut problems));
        let behind = problems.note("metrics", behind(&metrics));
        if !config.stripe.secret_key.is_empty() {
            problems.note("stripe.ca_file", config.stripe.authorities());
        }
        let (refused_dials, refused) = mpsc::channel(REFUSED_MAX);
        let (lost_cancels, lost) = LostCancels::new();
        let rules = LimitRules {
            pool: config.pool.clone(),
            limits: config.limits.clone(),
            plans: config.plans.clone(),
        };
        let all = (|| {
            let registry = registry?;
            let directory =
                Arc::new(Directory::new(&config.directory, &registry, control, tenant_metrics?));
            let (verifier, pools) = (verifier?, pools?);
            let tls = match tls {
                Some(loaded) => Some(loaded?),
                None => None,
            };
            let shared = Shared::new(SharedParts {
                settings: config.session.clone(),
                tls: tls.clone(),
                verifier: verifier.clone(),
                throttle: Arc::new(Throttle::new(config.auth.throttle.clone(), auth_metrics?)),
                mock: mock?,
                directory: directory.clone(),
                pools: pools.clone(),
                dialer: dialer?,
                refused_dials,
                lost_cancels,
                roster: Arc::new(Roster::default()),
                rules: rules.clone(),
                metrics: session_metrics?,
            });
            let (signer, master_key) = (Arc::new(signer?), master_key?);
            let servers = Arc::new(servers?);
            Some(Self {
                numbers: Numbers::new(registry.clone()),
                shared,
                pools,
                registry,
                directory,
                verifier,
                signer,
                master_key,
                servers,
                tls,
                rules,
                metrics,
                processes: Arc::default(),
                missed: Notify::new(),
                behind: behind?,
                looks: Turns::default(),
                applied: Turns::default(),
                refused: Mutex::new(Some(refused)),
                lost_cancels: Mutex::new(Some(lost)),
                elsewhere: Elsewhere::default(),
            })
        })();
        match all {
            Some(built) if problems.0.is_empty() => Ok(built),
            _ => Err(problems.0),
        }
    }
}

fn build_info(metrics: &Metrics) -> prometheus::Result<()> {
    let opts = Opts::new("pgusher_boot_build_info", "1, and which build this is.");
    let gauge = IntGauge::with_opts(opts.const_label("version", env!("CARGO_PKG_VERSION")))?;
    gauge.set(1);
    metrics.register(Box::new(gauge))
}

fn behind(metrics: &Metrics) -> prometheus::Result<IntGauge> {
    let help = "1 while revocations or changes of the registry may have been missed and are not \
                read yet.";
    let gauge = IntGauge::new("pgusher_boot_changes_missed", help)?;
    metrics.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn pools(config: &Config, metrics: &Metrics) -> prometheus::Result<Pools<Box<Server>>> {
    let pools = Pools::new(config.pool.clone(), config.pins.clone())?;
    pools.register(metrics, config.metrics.tenant_series_max)?;
    metrics.register(Box::new(Readiness::new(pools.clone())?))?;
    for (name, server) in &config.servers {
        pools.set_budget(&ServerKey::new(name.as_str()), server.budget);
    }
    Ok(pools)
}

fn servers(
    config: &Config,
    key: &MasterKey,
    metrics: &Metrics,
    problems: &mut Problems,
) -> Option<Servers> {
    let counts = problems.note("metrics", ProvisionMetrics::new(metrics))?;
    let product = problems.note("schema.tenant", config.schema.product())?;
    let mut servers: Servers = BTreeMap::new();
    for (name, settings) in &config.servers {
        if settings.admin_url.is_empty() {
            continue;
        }
        let (product, counts) = (product.clone(), counts.clone());
        let made = Provisioner::new(name, settings, product, key.clone(), counts);
        if let Some(server) = problems.note("servers", made) {
            servers.insert(name.as_str().into(), Arc::new(server));
        }
    }
    Some(servers)
}
