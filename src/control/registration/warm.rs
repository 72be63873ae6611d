//! Databases cloned ahead of time.
//!
//! A warm database is complete when it is made: id, name, logins and schema exist before anyone
//! asks. Its row is written before the first of them, so that a crash leaves nothing nameless. To
//! some of them this process stays connected, rehearsed, so that the admin's row is one round trip.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::job::KEY_VERSION;
use super::underway::Underway;
use crate::control::provision::{Inside, Provisioner, Servers};
use crate::control::{Presence, failed, verifier};
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::Registry;

/// `[warm]`: how many databases wait for their tenants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmSettings {
    /// Databases ready on each server, 9 MB each; 0: every registration clones its own. A burst
    /// of so many registrations is answered at once.
    pub target: u32,
    /// Databases made at once, while no tenant waits for a server connection and nobody registers.
    pub creators: u32,
    /// Warm databases of a server this process stays connected to, beside its budget; a
    /// registration is some milliseconds quicker by it.
    pub held_max: u32,
}

impl Default for WarmSettings {
    fn default() -> Self {
        Self { target: 4, creators: 2, held_max: 4 }
    }
}

/// Whether tenants wait for server connections.
pub type Pressure = dyn Fn() -> bool + Send + Sync;

/// Keeps warm databases at their target. Cheap to clone.
#[derive(Clone)]
pub struct Warm(pub(super) Arc<Parts>);

pub(super) struct Parts {
    pub(super) registry: Registry,
    pub(super) servers: Arc<Servers>,
    pub(super) presence: Presence,
    settings: WarmSettings,
    pressure: Box<Pressure>,
    held: Mutex<HashMap<TenantId, (Arc<str>, Inside)>>,
    /// Databases being made here.
    pub(super) making: Underway,
    /// Registrations under way.
    busy: AtomicUsize,
    claims: watch::Sender<u64>,
}

/// A registration under way, until dropped.
#[derive(Debug)]
pub(super) struct Busy(Warm);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a server that failed is left alone, at first and at most.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// While others need the machine, a database is made in this part of the time.
const GENTLE_PART: u32 = 5;

/// While some are left, nothing is made for this long beside registrations.
const PAUSE_STEP: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The length of a tenant's id, as in the system being replaced.
const ID_CHARS: usize = 24;

/// A new tenant's id.
pub(super) fn fresh_id() -> Result<TenantId, Fault> {
    TenantId::parse(&verifier::random_name(ID_CHARS)?).map_err(failed::internal)
}

impl Warm {
    /// A filler over these servers, gentle while `pressure` says that tenants wait.
    pub fn new(
        registry: Registry,
        servers: Arc<Servers>,
        presence: Presence,
        settings: WarmSettings,
        pressure: Box<Pressure>,
    ) -> Self {
        let (claims, _) = watch::channel(0);
        let parts = Parts {
            registry,
            servers,
            presence,
            settings,
            pressure,
            held: Mutex::default(),
            making: Underway::default(),
            busy: AtomicUsize::new(0),
            claims,
        };
        Self(Arc::new(parts))
    }

    /// Says that a registration is under way.
    pub(super) fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Says that one was claimed.
    pub(super) fn claimed(&self) {
        self.0.claims.send_modify(|claims| *claims = claims.wrapping_add(1));
    }

    /// The connection kept inside a warm database, for whoever claimed it.
    pub(super) fn held(&self, tenant: &TenantId) -> Option<Inside> {
        let (_, inside) = self.all_held().remove(tenant)?;
        Some(inside).filter(|inside| !inside.is_closed())
    }

    /// The databases this process is connected to.
    pub(super) fn held_ids(&self) -> Vec<String> {
        let held = self.all_held();
        let open = held.iter().filter(|(_, (_, inside))| !inside.is_closed());
        open.map(|(id, _)| id.as_str().to_owned()).collect()
    }

    fn all_held(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, (Arc<str>, Inside)>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills every server up to the target. How many databases it made.
    ///
    /// # Errors
    /// When the registry or a server fails.
    pub async fn fill(&self) -> Result<u32, Fault> {
        let mut made = 0;
        for server in self.open_servers() {
            made += self.fill_one(server).await?;
        }
        Ok(made)
    }

    /// Fills until cancelled: soon after a claim, and now and then. A server that fails is left
    /// alone for longer and longer.
    pub async fn run(&self) {
        if self.0.settings.target > 0 {
            futures_util::future::join_all(self.open_servers().map(|one| self.keep(one))).await;
        }
    }

    async fn keep(&self, server: &Provisioner) {
        let (mut claims, mut pause) = (self.0.claims.subscribe(), RETRY_MIN);
        loop {
            match Box::pin(self.fill_one(server)).await {
                Ok(_) => {
                    pause = RETRY_MIN;
                    let _ = tokio::time::timeout(LOOK_EVERY, claims.changed()).await;
                }
                Err(fault) => {
                    fault.log();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    fn open_servers(&self) -> impl Iterator<Item = &Arc<Provisioner>> {
        self.0.servers.values().filter(|server| server.weight() > 0)
    }

    async fn fill_one(&self, server: &Provisioner) -> Result<u32, Fault> {
        self.let_go_of_others(server).await?;
        let (target, creators) = (self.0.settings.target, self.0.settings.creators.max(1));
        let (mut made, mut paused) = (0, Duration::ZERO);
        loop {
            let missing = self.missing(server).await?;
            let busy = self.0.busy.load(Ordering::Relaxed) > 0;
            if missing == 0 {
                return Ok(made);
            }
            // Who registers now is served by what is there; making more would slow them.
            if busy && missing < target && paused < PAUSE_MAX {
                tokio::time::sleep(PAUSE_STEP).await;
                paused += PAUSE_STEP;
                continue;
            }
            let gentle = busy || (self.0.pressure)();
            let at_once = if gentle { 1 } else { creators.min(missing) };
            let begun = Instant::now();
            let work = (0..at_once).map(|_| self.create(server));
            // All of them to their end: one that is dropped halfway would keep its row.
            let done = futures_util::future::join_all(work).await;
            done.into_iter().collect::<Result<(), Fault>>()?;
            made += at_once;
            if gentle {
                tokio::time::sleep(begun.elapsed() * (GENTLE_PART - 1)).await;
            }
            paused = Duration::ZERO;
        }
    }

    async fn missing(&self, server: &Provisioner) -> Result<u32, Fault> {
        let client = self.0.presence.client().await?;
        let sql = "SELECT count(*) FROM pgusher.warm_databases \
                   WHERE server = $1 AND schema_version = $2 AND state <> 'claimed'";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&&**server.name(), &server.warm_version()];
        let row = client.query_one(sql, &row).await.map_err(failed::registry)?;
        let there: i64 = row.try_get(0).map_err(failed::registry)?;
        Ok(self.0.settings.target.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX)))
    }

    async fn create(&self, server: &Provisioner) -> Result<(), Fault> {
        let tenant = fresh_id()?;
        let _hand = self.0.making.enter(tenant.as_str());
        let sql = "INSERT INTO pgusher.warm_databases \
                   (tenant_id, server, schema_version, key_version, held_by) \
                   VALUES ($1, $2, $3, $4, $5)";
        let (name, version) = (&**server.name(), server.warm_version());
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&tenant.as_str(), &name, &version, &KEY_VERSION, &self.0.presence.id()];
        self.write(sql, &row).await?;
        let made = server.ensure_tenant(&tenant, KEY_VERSION).await;
        let made = match made {
            Ok(inside) => {
                self.hold(server, inside).await;
                Ok(())
            }
            Err(fault) => Err(fault),
        };
        // Failed: nobody's any more, so that the janitor drops what there is of it.
        let sql = if made.is_ok() {
            "UPDATE pgusher.warm_databases SET state = 'ready', held_by = NULL, \
             changed_at = now() WHERE tenant_id = $1 AND state = 'creating' AND held_by = $2"
        } else {
            "UPDATE pgusher.warm_databases SET held_by = NULL, changed_at = now() \
             WHERE tenant_id = $1 AND held_by = $2"
        };
        // Whoever took it over meanwhile is dropping it.
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&tenant.as_str(), &self.0.presence.id()];
        let mut pause = RETRY_MIN;
        // What is made is not thrown away because the registry is away for a moment.
        while let Err(fault) = self.write(sql, &row).await {
            fault.log();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        made
    }

    pub(super) async fn write(
        &self,
        sql: &str,
        row: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<(), Fault> {
        let client = self.0.registry.client().await?;
        client.execute(sql, row).await.map_err(failed::registry)?;
        Ok(())
    }

    /// Stays connected to a new database, if there is a place for that. Without it a registration
    /// dials, so a failure is no one's.
    async fn hold(&self, server: &Provisioner, mut inside: Inside) {
        let max = usize::try_from(self.0.settings.held_max).unwrap_or(usize::MAX);
        let has_place = |held: &HashMap<TenantId, (Arc<str>, Inside)>| {
            held.values().filter(|(name, _)| name == server.name()).count() < max
        };
        if !has_place(&self.all_held()) {
            return;
        }
        if let Err(fault) = server.rehearse(&mut inside).await {
            fault.log();
            return;
        }
        let mut held = self.all_held();
        if has_place(&held) {
            let tenant = inside.tenant().clone();
            held.insert(tenant, (Arc::clone(server.name()), inside));
        }
    }

    /// Drops connections to databases that were claimed by another process or are to be dropped.
    async fn let_go_of_others(&self, server: &Provisioner) -> Result<(), Fault> {
        let ids = self.held_ids();
        if ids.is_empty() {
            self.all_held().retain(|_, (_, inside)| !inside.is_closed());
            return Ok(());
        }
        let client = self.0.registry.client().await?;
        let sql = "SELECT tenant_id FROM pgusher.warm_databases WHERE tenant_id = ANY ($1) \
                   AND (state = 'ready' OR (state = 'creating' AND held_by = $2)) \
                   AND schema_version = $3";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&ids, &self.0.presence.id(), &server.warm_version()];
        let rows = client.query(sql, &row).await.map_err(failed::registry)?;
        let mut ours = Vec::with_capacity(rows.len());
        for row in rows {
            ours.push(row.try_get::<_, String>(0).map_err(failed::registry)?);
        }
        let gone = |id: &TenantId| {
            ids.iter().any(|known| known == id.as_str())
                && !ours.iter().any(|known| known == id.as_str())
        };
        self.all_held().retain(|id, (name, inside)| {
            name != server.name() || !(inside.is_closed() || gone(id))
        });
        Ok(())
    }
}

impl std::fmt::Debug for Warm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warm").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
