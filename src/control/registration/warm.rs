//! Databases cloned ahead of time.
//!
//! A warm database is complete when it is made: id, name, logins and schema exist before anyone
//! asks. Its row is written before the first of them, so that a crash leaves nothing nameless.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::job::KEY_VERSION;
use crate::control::provision::{Provisioner, Servers};
use crate::control::{Presence, failed, verifier};
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::Registry;

/// `[warm]`: how many databases wait for their tenants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmSettings {
    /// Databases ready on each server; 0: every registration clones its own.
    pub target: u32,
    /// Databases made at once.
    pub creators: u32,
}

impl Default for WarmSettings {
    fn default() -> Self {
        Self { target: 0, creators: 2 }
    }
}

/// Keeps warm databases at their target.
#[derive(Debug, Clone)]
pub struct Warm {
    registry: Registry,
    servers: Arc<Servers>,
    presence: Presence,
    settings: WarmSettings,
    wake: Arc<Notify>,
}

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The length of a tenant's id, as in the system being replaced.
const ID_CHARS: usize = 24;

/// A new tenant's id.
pub(super) fn fresh_id() -> Result<TenantId, Fault> {
    TenantId::parse(&verifier::random_name(ID_CHARS)?).map_err(failed::internal)
}

impl Warm {
    /// A filler over these servers.
    pub fn new(
        registry: Registry,
        servers: Arc<Servers>,
        presence: Presence,
        settings: WarmSettings,
    ) -> Self {
        Self { registry, servers, presence, settings, wake: Arc::default() }
    }

    /// Says that one was claimed.
    pub(super) fn claimed(&self) {
        self.wake.notify_one();
    }

    /// Fills every server up to the target. How many databases it made.
    ///
    /// # Errors
    /// When the registry or a server fails.
    pub async fn fill(&self) -> Result<u32, Fault> {
        let mut made = 0;
        for server in self.servers.values().filter(|server| server.weight() > 0) {
            let missing = self.missing(server).await?;
            let creators = self.settings.creators.max(1);
            for begun in (0..missing).step_by(usize::try_from(creators).unwrap_or(1)) {
                let at_once = creators.min(missing - begun);
                let work = (0..at_once).map(|_| self.create(server));
                futures_util::future::try_join_all(work).await?;
                made += at_once;
            }
        }
        Ok(made)
    }

    /// Fills until cancelled: soon after a claim, and now and then.
    pub async fn run(&self) {
        if self.settings.target == 0 {
            return;
        }
        loop {
            if let Err(fault) = Box::pin(self.fill()).await {
                fault.log();
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.wake.notified()).await;
        }
    }

    async fn missing(&self, server: &Provisioner) -> Result<u32, Fault> {
        let client = self.registry.client().await?;
        let sql = "SELECT count(*) FROM pgusher.warm_databases \
                   WHERE server = $1 AND schema_version = $2 AND state <> 'claimed'";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&&**server.name(), &server.schema_version()];
        let row = client.query_one(sql, &row).await.map_err(failed::registry)?;
        let there: i64 = row.try_get(0).map_err(failed::registry)?;
        Ok(self.settings.target.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX)))
    }

    async fn create(&self, server: &Provisioner) -> Result<(), Fault> {
        let tenant = fresh_id()?;
        let sql = "INSERT INTO pgusher.warm_databases \
                   (tenant_id, server, schema_version, key_version, held_by) \
                   VALUES ($1, $2, $3, $4, $5)";
        let (name, version) = (&**server.name(), server.schema_version());
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&tenant.as_str(), &name, &version, &KEY_VERSION, &self.presence.id()];
        let client = self.registry.client().await?;
        client.execute(sql, &row).await.map_err(failed::registry)?;
        drop(client);
        let made = server.ensure_tenant(&tenant, KEY_VERSION).await;
        // Failed: nobody's any more, so that the janitor drops what there is of it.
        let sql = if made.is_ok() {
            "UPDATE pgusher.warm_databases SET state = 'ready', held_by = NULL, \
             changed_at = now() WHERE tenant_id = $1 AND state = 'creating'"
        } else {
            "UPDATE pgusher.warm_databases SET held_by = NULL, changed_at = now() \
             WHERE tenant_id = $1"
        };
        let client = self.registry.client().await?;
        client.execute(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?;
        made
    }
}

/// Drops warm databases that were never finished, or whose schema is not the newest. How many.
pub(super) async fn sweep(
    registry: &Registry,
    servers: &Servers,
    holder: &str,
) -> Result<u32, Fault> {
    let mut dropped = 0;
    for (name, server) in servers {
        // Taken away first, so that nobody claims what is being dropped.
        let sql = "UPDATE pgusher.warm_databases w
                   SET state = 'creating', held_by = $1, changed_at = now()
                   WHERE server = $2 AND (
                       (state = 'ready' AND schema_version <> $3)
                       OR (state = 'creating' AND NOT EXISTS
                           (SELECT FROM pgusher.processes p WHERE p.id = w.held_by))
                       OR (state = 'claimed' AND NOT EXISTS
                           (SELECT FROM pgusher.registrations r
                            WHERE r.tenant_id = w.tenant_id)))
                   RETURNING tenant_id";
        let client = registry.client().await?;
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&holder, &&**name, &server.schema_version()];
        let rows = client.query(sql, &row).await.map_err(failed::registry)?;
        drop(client);
        for row in rows {
            let id: String = row.try_get(0).map_err(failed::registry)?;
            let tenant = TenantId::parse(&id).map_err(failed::internal)?;
            let gone = server.drop_tenant(&tenant).await;
            let sql = if gone.is_ok() {
                "DELETE FROM pgusher.warm_databases WHERE tenant_id = $1"
            } else {
                "UPDATE pgusher.warm_databases SET held_by = NULL WHERE tenant_id = $1"
            };
            let client = registry.client().await?;
            client.execute(sql, &[&id]).await.map_err(failed::registry)?;
            match gone {
                Ok(()) => dropped += 1,
                Err(fault) => fault.log(),
            }
        }
    }
    Ok(dropped)
}
