//! The control side put together over one cluster, as boot does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pgusher::control::health::{Health, HealthSettings};
use pgusher::control::login::Login;
use pgusher::control::mfa::{Mfa, MfaSettings};
use pgusher::control::provision::{ProvisionMetrics, Provisioner, ServerSettings, Servers};
use pgusher::control::registration::{
    AtWork, Builder, Janitor, NewOrganisation, Registration, RegistrationMetrics,
    RegistrationSettings, Warm, WarmSettings,
};
use pgusher::control::schema::{MigrationSet, migrate_registry};
use pgusher::control::seams::{Caller, Claims, Gate, Mint, SharedMint, TenantDoor};
use pgusher::control::{
    EmailIndex, LegacyEmailHash, Pace, PasswordSettings, Passwords, Presence, RefreshSettings,
    Sessions,
};
use pgusher::fault::{Blame, Fault, SqlState};
use pgusher::ident::{Role, TenantId};
use pgusher::tenant::{
    DatabaseUrl, Directory, DirectorySettings, MasterKey, Registry, RegistrySettings, TenantMetrics,
};
use pgusher::units::Secret;
use tokio::io::DuplexStream;
use tokio::runtime::Handle;

use super::Cluster;

/// Tokens anyone could make: `tenant/subject/role/serial`.
pub struct FakeMint;

impl Mint for FakeMint {
    fn access(&self, claims: &Claims) -> Result<Secret, Fault> {
        Ok(format!("{}/{}/{}", claims.tenant, claims.subject, claims.role).into())
    }
    fn sidecar(&self, _tenant: &TenantId) -> Result<Secret, Fault> {
        Ok("sidecar".into())
    }
    fn access_ttl(&self) -> Duration {
        Duration::from_secs(900)
    }
    fn jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": [] })
    }
}

impl Gate for FakeMint {
    fn admit<'a>(&'a self, bearer: &'a str) -> BoxFuture<'a, Result<Caller, Fault>> {
        async move {
            let bad = || Fault::new(Blame::Client, SqlState::INVALID_PASSWORD, "bad token");
            let mut parts = bearer.split('/');
            let mut next = || parts.next().ok_or_else(bad);
            let tenant = TenantId::parse(next()?).map_err(|_| bad())?;
            let (subject, role) = (next()?.to_owned(), next()?);
            let role: Role = role.parse().map_err(|_| bad())?;
            let expires_at = SystemTime::now() + Duration::from_secs(900);
            let token_id = bearer.to_owned();
            Ok(Caller { tenant, subject, role, token_id, expires_at, renewable: true })
        }
        .boxed()
    }
}

/// Stands in for a session: straight to PostgreSQL, as the role `pgusher` with the sidecar's token.
pub struct FakeDoor(u16);

impl TenantDoor for FakeDoor {
    fn open(&self) -> DuplexStream {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let port = self.0;
        tokio::spawn(async move {
            let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut theirs, &mut server).await;
        });
        ours
    }
}

pub struct Office {
    pub cluster: Cluster,
    pub registry: Registry,
    pub servers: Arc<Servers>,
    pub registration: Registration,
    pub janitor: Janitor,
    pub sessions: Sessions,
    pub login: Arc<Login>,
    pub directory: Arc<Directory>,
    pub warm: Warm,
    pub health: Health,
    pub presence: Presence,
}

#[derive(Clone, Copy)]
pub struct Wish {
    pub warm: u32,
    pub legacy: LegacyEmailHash,
    /// Name, region, and whether anybody is there. All of them are the one cluster.
    pub servers: &'static [(&'static str, &'static str, bool)],
    pub tenants_max: u32,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            warm: 0,
            legacy: LegacyEmailHash::None,
            servers: &[("main", "", true)],
            tenants_max: 0,
        }
    }
}

impl Office {
    pub async fn open() -> Self {
        Self::over(Cluster::start(), Wish::default()).await
    }

    pub async fn over(cluster: Cluster, wish: Wish) -> Self {
        let admin = cluster.connect("postgres").await;
        let made = "CREATE ROLE pgusher SUPERUSER LOGIN PASSWORD 'sidecar'";
        admin.batch_execute(made).await.unwrap();
        let exists = "SELECT 1 FROM pg_database WHERE datname = 'registry'";
        if admin.query_opt(exists, &[]).await.unwrap().is_none() {
            admin.batch_execute("CREATE DATABASE registry").await.unwrap();
        }
        let url = cluster.superuser("registry");
        let parsed = DatabaseUrl::parse(&url).unwrap();
        let timeout = Duration::from_secs(10);
        migrate_registry(&parsed, &MigrationSet::registry(), timeout).await.unwrap();
        Self::again(cluster, wish)
    }

    /// A second process over the same registry.
    pub fn again(cluster: Cluster, wish: Wish) -> Self {
        let key = MasterKey::new(&"k".repeat(32).as_str().into()).unwrap();
        let settings = RegistrySettings {
            url: cluster.superuser("registry").as_str().into(),
            ..RegistrySettings::default()
        };
        let registry = Registry::new(&settings, key.clone()).unwrap();
        let prometheus = prometheus::Registry::new();
        let metrics = ProvisionMetrics::new(&prometheus).unwrap();
        let servers = wish.servers.iter().map(|(name, region, alive)| {
            let there = cluster.superuser("postgres");
            let nowhere = "postgresql://postgres@127.0.0.1:1/postgres".to_owned();
            let server = ServerSettings {
                admin_url: if *alive { there } else { nowhere }.into(),
                region: (*region).into(),
                tenants_max: wish.tenants_max,
                ..ServerSettings::default()
            };
            let (tenant, key, metrics) = (MigrationSet::tenant(), key.clone(), metrics.clone());
            let made = Provisioner::new(name, &server, tenant, key, metrics).unwrap();
            (made.name().clone(), Arc::new(made))
        });
        let servers: Arc<Servers> = Arc::new(servers.collect::<BTreeMap<_, _>>());
        let presence = Presence::new(registry.clone(), "test").unwrap();
        let cheap = PasswordSettings { memory_kib: 64, passes: 1, ..PasswordSettings::default() };
        let passwords = Passwords::new(&cheap).unwrap();
        let emails = EmailIndex::new(key, wish.legacy);
        let mint: SharedMint = Arc::new(FakeMint);
        let sessions = Sessions::new(registry.clone(), mint.clone(), &RefreshSettings::default());
        let warm = WarmSettings { target: wish.warm, ..WarmSettings::default() };
        let calm = Box::new(|| false);
        let warm = Warm::new(registry.clone(), servers.clone(), presence.clone(), warm, calm);
        let watch = HealthSettings::default();
        let health = Health::new(registry.clone(), servers.clone(), watch, &prometheus).unwrap();
        let metrics = TenantMetrics::new(&prometheus).unwrap();
        let directory = Arc::new(Directory::new(
            &DirectorySettings::default(),
            &registry,
            &Handle::current(),
            metrics,
        ));
        let registration = Builder {
            registry: registry.clone(),
            servers: servers.clone(),
            health: health.clone(),
            passwords: passwords.clone(),
            emails: emails.clone(),
            sessions: sessions.clone(),
            presence: presence.clone(),
            warm: warm.clone(),
            at_work: AtWork(Box::new(|| false)),
            metrics: RegistrationMetrics::new(&prometheus).unwrap(),
        }
        .build(&RegistrationSettings::default());
        let login = Login {
            registry: registry.clone(),
            directory: directory.clone(),
            emails,
            passwords,
            sessions: sessions.clone(),
            door: Arc::new(FakeDoor(cluster.port)),
            mint,
            mfa: Mfa::new(registry.clone(), &MfaSettings::default()),
            pace: Pace::default(),
        };
        let janitor = registration.janitor();
        Self {
            cluster,
            registry,
            servers,
            registration,
            janitor,
            sessions,
            login: Arc::new(login),
            directory,
            warm,
            health,
            presence,
        }
    }

    pub async fn count(&self, sql: &str) -> i64 {
        let client = self.registry.client().await.unwrap();
        client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Tenants by every place that could hold one: (registry rows, databases, login roles / 4).
    pub async fn census(&self) -> (i64, i64, i64) {
        (
            self.count(r#"SELECT count(*) FROM public."Tenant""#).await,
            self.count("SELECT count(*) FROM pg_database WHERE datname LIKE 'tenant\\_%'").await,
            self.count("SELECT count(*) / 4 FROM pg_roles WHERE rolname LIKE 't\\_%'").await,
        )
    }
}

pub fn organisation(email: &str) -> NewOrganisation {
    NewOrganisation {
        email: email.into(),
        password: "correct horse".into(),
        first_name: "Ada".into(),
        last_name: "Lovelace".into(),
        church_name: "St. Example".into(),
        region: None,
    }
}
