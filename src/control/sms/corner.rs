//! pgusher's corner of a tenant's database, laid where it is missing or old.
//!
//! A database made here has it from the template; one that is older than this version, or that
//! another system made, gets it when its first message comes. In a database of pgusher's own the
//! provisioner lays it, closed to the tenant's roles. An adopted one has one login for everybody:
//! that login lays it, and owns it.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::store::{CORNER_TIMEOUT, failed};
use crate::control::TenantClient;
use crate::control::provision::Servers;
use crate::control::schema::{History, MigrationSet, SchemaError, Upgrade, apply};
use crate::fault::{Blame, Fault, SqlState, logged};
use crate::ident::TenantId;
use crate::tenant::Directory;

/// Lays it, one at a time for each tenant.
pub struct Corner {
    directory: Arc<Directory>,
    servers: Arc<Servers>,
    /// Tenants where it was laid a moment ago: a call that fails all the same fails for another
    /// reason.
    laid: Cache<TenantId, ()>,
}

/// How long a laid corner is not looked at again.
const LAID_FOR: Duration = Duration::from_secs(60);
const LAID_MAX: u64 = 10_000;

/// How long laying it waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

impl Corner {
    /// For the tenants of `directory`, on `servers`.
    pub fn new(directory: Arc<Directory>, servers: Arc<Servers>) -> Self {
        let laid = Cache::builder().max_capacity(LAID_MAX).time_to_live(LAID_FOR).build();
        Self { directory, servers, laid }
    }

    /// Lays what is missing. `inside` is a session in the tenant's room.
    pub(super) async fn ensure(
        &self,
        tenant: &TenantId,
        inside: TenantClient,
    ) -> Result<(), Fault> {
        let lay = async {
            let work = Box::pin(self.lay(tenant, inside));
            let done = tokio::time::timeout(CORNER_TIMEOUT, work).await;
            done.unwrap_or_else(|_| Err(slow(tenant)))
        };
        let laid = self.laid.try_get_with(tenant.clone(), lay).await;
        laid.map_err(|fault| {
            let why = fault.source().map_or_else(|| fault.to_string(), ToString::to_string);
            Fault::new(fault.blame(), fault.state(), "pgusher's schema could not be laid")
                .because(why)
        })
    }

    async fn lay(&self, tenant: &TenantId, mut inside: TenantClient) -> Result<(), Fault> {
        let row = self.directory.tenant(tenant).await?;
        if !row.adopted {
            drop(inside);
            let server = self.servers.get(&*row.server).ok_or_else(|| {
                let text = "the tenant's server is not configured here";
                Fault::new(Blame::Control, SqlState::CONNECTION_FAILURE, text)
            })?;
            let applied = server.upgrade_own(tenant, LOCK_TIMEOUT).await;
            return applied.map(drop).map_err(|error| unlaid(tenant, error));
        }
        let history = History { schema: "pgusher", run_as: None };
        let own = MigrationSet::own();
        let sets = [(&own, history)];
        let upgrade = Upgrade { sets: &sets, lock_timeout: Some(LOCK_TIMEOUT), afterwards: "" };
        let applied = apply(&mut inside, upgrade).await;
        let names = applied.map_err(|error| unlaid(tenant, error))?;
        tracing::info!(%tenant, applied = names.join(", "), "laid a schema into an adopted database");
        Ok(())
    }
}

impl std::fmt::Debug for Corner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Corner")
    }
}

fn unlaid(tenant: &TenantId, error: SchemaError) -> Fault {
    match error {
        SchemaError::Sql { cause, .. } => failed(tenant, &cause),
        other => Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, "it could not be laid")
            .because(format!("tenant {tenant}: {}", logged(&other))),
    }
}

fn slow(tenant: &TenantId) -> Fault {
    let text = "pgusher's schema takes long to lay";
    Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, text)
        .because(format!("tenant {tenant}: too slow"))
}
