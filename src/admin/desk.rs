//! What commands work with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::averages::Averages;
use super::process::Process;
use crate::auth::{Operator, Verifier};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;
use crate::pool::{Pools, RoomFigures};
use crate::server::Server;
use crate::session::{LimitRules, Roster};
use crate::tenant::{Directory, PoolMode, Tenant};

/// What a composition root hands in.
pub struct AdminParts {
    /// The rooms.
    pub pools: Pools<Box<Server>>,
    /// Who is logged in.
    pub roster: Arc<Roster>,
    /// Knows tenants.
    pub directory: Arc<Directory>,
    /// Knows what was revoked.
    pub verifier: Verifier,
    /// How a tenant's limits come about.
    pub rules: LimitRules,
    /// `session.pool_mode`.
    pub pool_mode: PoolMode,
    /// The process.
    pub process: Arc<dyn Process>,
}

/// What commands work with.
pub(super) struct Desk {
    pub(super) parts: AdminParts,
    averages: Mutex<Averages>,
}

impl Desk {
    pub(super) fn new(parts: AdminParts) -> Self {
        Self { parts, averages: Mutex::new(Averages::default()) }
    }

    pub(super) fn pools(&self) -> &Pools<Box<Server>> {
        &self.parts.pools
    }

    pub(super) fn roster(&self) -> &Arc<Roster> {
        &self.parts.roster
    }

    pub(super) fn averages(&self) -> MutexGuard<'_, Averages> {
        self.averages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rooms, in the order of their tenants.
    pub(super) fn rooms(&self) -> Vec<RoomFigures> {
        let mut rooms = self.pools().rooms();
        rooms.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        rooms
    }

    /// A tenant's database, as far as it is known without asking the registry.
    pub(super) fn database(&self, tenant: &TenantId) -> String {
        let known = self.parts.directory.cached(tenant);
        known.map_or_else(|| tenant.database(), |tenant| tenant.database.to_string())
    }

    /// A tenant's pool mode, its own or everybody's.
    pub(super) fn pool_mode(&self, tenant: Option<&Tenant>) -> &'static str {
        let own = tenant.and_then(|tenant| tenant.pool_mode);
        own.unwrap_or(self.parts.pool_mode).as_str()
    }

    /// The tenant an operator named, by its database or its id. What begins with `tenant_` is
    /// taken for a database.
    ///
    /// # Errors
    /// 3D000 when the registry has no such tenant.
    pub(super) async fn tenant(&self, name: &str) -> Result<Arc<Tenant>, Fault> {
        let id = if name.starts_with(TenantId::DATABASE_PREFIX) {
            TenantId::from_database(name)
        } else {
            TenantId::parse(name).ok()
        };
        let id = id.ok_or_else(|| {
            Fault::new(Blame::Client, SqlState::INVALID_CATALOG_NAME, "no such tenant")
                .hint("A tenant is named by its id or by its database, tenant_<id>.")
        })?;
        self.parts.directory.tenant(&id).await
    }

    /// Whether an operator may still be here.
    ///
    /// # Errors
    /// 57P01 once the token has expired or was revoked.
    pub(super) fn still_valid(&self, operator: &Operator) -> Result<(), Fault> {
        let text = if operator.expires_at() <= SystemTime::now() {
            "the operator's token has expired"
        } else if self.parts.verifier.revocations().cover_token(operator.token_id()) {
            "the operator's token was revoked"
        } else {
            return Ok(());
        };
        Err(Fault::new(Blame::Client, SqlState::ADMIN_SHUTDOWN, text))
    }
}
