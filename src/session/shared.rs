//! What all sessions of the process share.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;

use tokio::sync::mpsc;

use crate::auth::scram::MockSecret;
use crate::auth::{Operator, Throttle, Verifier};
use crate::ident::{ServerKey, TenantId};
use crate::net::Stream;
use crate::net::tls::ServerTls;
use crate::pool::{Limits, LimitsSettings, PoolSettings, Pools, Way};
use crate::server::{Dialer, Server};
use crate::tenant::{Directory, LimitOverrides, Tenant};

use super::cancel::LostCancels;
use super::metrics::SessionMetrics;
use super::roster::Roster;
use super::schema::{Schema, Schemas};
use super::settings::SessionSettings;
use super::welcomes::{Latest, Welcome};

/// The parts a composition root hands in.
pub struct SharedParts {
    /// `[session]`.
    pub settings: SessionSettings,
    /// The listener's certificate, if there is one.
    pub tls: Option<Arc<ServerTls>>,
    /// Proves tokens.
    pub verifier: Verifier,
    /// Slows failures.
    pub throttle: Arc<Throttle>,
    /// Makes unknown API keys look like known ones.
    pub mock: MockSecret,
    /// Knows tenants and API keys.
    pub directory: Arc<Directory>,
    /// Knows limits and servers.
    pub pools: Pools<Box<Server>>,
    /// Dials servers.
    pub dialer: Dialer,
    /// Hears of tenants whose PostgreSQL answers and refuses us.
    pub refused_dials: mpsc::Sender<RefusedDial>,
    /// Hears of cancel requests for sessions of other processes.
    pub lost_cancels: LostCancels,
    /// Knows who is logged in.
    pub roster: Arc<Roster>,
    /// `[pool]`, `[limits]` and `[plans]`, to make a tenant's limits of.
    pub rules: LimitRules,
    /// Counts.
    pub metrics: SessionMetrics,
}

/// A tenant's PostgreSQL did not let pgusher in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefusedDial {
    /// Whose.
    pub tenant: TenantId,
    /// It did not take the login: a role may change its own password.
    pub login: bool,
}

/// How a tenant's limits come about.
#[derive(Debug, Clone)]
pub struct LimitRules {
    /// `[pool]`.
    pub pool: PoolSettings,
    /// `[limits]`.
    pub limits: LimitsSettings,
    /// `[plans.NAME]`.
    pub plans: BTreeMap<String, LimitsSettings>,
}

impl LimitRules {
    /// The limits of a tenant: the settings', over them its plan's, over them its own.
    pub fn of(&self, tenant: &Tenant) -> Limits {
        let LimitOverrides { server_max, server_min, weight, client_max, queue_max, .. } =
            *tenant.limits;
        let span = |d: Option<std::time::Duration>| {
            let millis = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
            d.map(|d| crate::units::Span::millis(millis(d)))
        };
        let own = LimitsSettings {
            server_max,
            server_min,
            weight,
            client_max,
            queue_max,
            queue_timeout: span(tenant.limits.queue_timeout),
            query_timeout: span(tenant.limits.query_timeout),
            transaction_timeout: span(tenant.limits.transaction_timeout),
            idle_in_transaction_timeout: span(tenant.limits.idle_in_transaction_timeout),
            client_idle_timeout: span(tenant.limits.client_idle_timeout),
            ..LimitsSettings::default()
        };
        self.limits.resolve(&self.pool, self.plans.get(&*tenant.plan), &own)
    }
}

/// The way to a tenant's servers, as its row has it.
pub fn way_of(tenant: &Tenant) -> Way {
    let server = ServerKey::new(Arc::clone(&tenant.server));
    Way { server, mark: tenant.mark(), read: tenant.read }
}

/// [`SharedParts`] and what sessions learn from one another.
pub struct Shared {
    pub(super) parts: SharedParts,
    pub(super) schemas: Schemas,
    latest: Latest,
    console: OnceLock<Arc<dyn Console>>,
}

/// Who talks to operators: a room above this one.
pub trait Console: Send + Sync {
    /// Serves an operator who is proven and was told nothing yet, not even AuthenticationOk, from
    /// the welcome to the last byte. Dropping the future closes the socket.
    fn serve(&self, stream: Stream, operator: Operator) -> BoxFuture<'static, ()>;
}

impl Shared {
    /// Ready for sessions.
    pub fn new(parts: SharedParts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            schemas: Schemas::default(),
            latest: Latest::default(),
            console: OnceLock::new(),
        })
    }

    /// Remembers what a login was told, for those who come with the same settings.
    pub(super) fn remember(&self, schema: &Schema, mut welcome: Welcome) {
        self.latest.merge(&mut welcome);
        self.schemas.remember(schema, welcome);
    }

    /// Opens the console. The first one stays.
    pub fn open_console(&self, console: Arc<dyn Console>) {
        let _ = self.console.set(console);
    }

    pub(super) fn console(&self) -> Option<&Arc<dyn Console>> {
        self.console.get()
    }

    /// Lets go of what is out of date. The caches do so by themselves only while they are used.
    pub(super) fn sweep(&self) {
        self.parts.verifier.sweep();
        self.schemas.sweep();
    }

    /// The rooms of all tenants.
    pub fn pools(&self) -> &Pools<Box<Server>> {
        &self.parts.pools
    }

    /// Who is logged in.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.parts.roster
    }
}
