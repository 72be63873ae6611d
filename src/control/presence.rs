//! This process among the others: a row with a heartbeat.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::Row;

use super::schema::{self, MigrationSet};
use super::{failed, verifier};
use crate::fault::{Blame, Fault, SqlState};
use crate::pool::{Place, Split};
use crate::tenant::{Registry, RegistryClient};

/// How often a process says it is there, and after how long it is not.
const BEAT: Duration = Duration::from_secs(5);
const GONE_AFTER_SECS: f64 = 20.0;

/// The advisory lock under which budgets are split: `pgushers`.
const SPLIT_LOCK: i64 = 0x7067_7573_6865_7273;

/// How long PostgreSQL lets one who splits do nothing.
const SPLIT_IDLE: &str = "10s";

/// This process's id in `pgusher.processes`.
#[derive(Debug, Clone)]
pub struct Presence {
    id: Arc<str>,
    host: Arc<str>,
    /// Whether it serves clients, and so takes part in the budgets.
    serves: bool,
    /// Whether the registry was seen to have every migration of this pgusher.
    is_migrated: Arc<AtomicBool>,
    registry: Registry,
}

impl Presence {
    /// A presence that is not announced yet, on the machine called `host_name`.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(registry: Registry, host_name: &str) -> Result<Self, Fault> {
        Self::of(registry, host_name, true)
    }

    /// The same for a command that works beside the processes and serves no client.
    ///
    /// # Errors
    /// As [`Presence::new`].
    pub fn aside(registry: Registry, host_name: &str) -> Result<Self, Fault> {
        Self::of(registry, host_name, false)
    }

    fn of(registry: Registry, host_name: &str, serves: bool) -> Result<Self, Fault> {
        let id = verifier::random_name(16)?;
        // Process ids mean something within one boot and one pid namespace only.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let host = format!("{host_name} {} {}", boot.trim(), space.display());
        let is_migrated = Arc::new(AtomicBool::new(false));
        Ok(Self { id: id.into(), host: host.into(), serves, is_migrated, registry })
    }

    /// A connection to the registry, once that has what this pgusher needs.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached, or is not migrated.
    pub(super) async fn client(&self) -> Result<RegistryClient, Fault> {
        let client = self.registry.client().await?;
        if !self.is_migrated.load(Ordering::Relaxed) {
            let set = MigrationSet::registry();
            let missing = schema::missing(&client, &set).await.map_err(failed::registry)?;
            if !missing.is_empty() {
                let lacks = format!(
                    "it lacks migrations of this pgusher ({}): run `pgusher migrate registry`",
                    missing.join(", ")
                );
                let text = "the tenant registry is not ready";
                let fault = Fault::new(Blame::Control, SqlState::CANNOT_CONNECT_NOW, text);
                return Err(fault.because(lacks));
            }
            self.is_migrated.store(true, Ordering::Relaxed);
        }
        Ok(client)
    }

    /// Forgets processes of this machine that a kill took, without waiting for their silence. For
    /// a process that starts: what they left can be swept at once.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached, or is not migrated.
    pub async fn bury(&self) -> Result<(), Fault> {
        if !Path::new("/proc/self").exists() {
            return Ok(());
        }
        let client = self.client().await?;
        let sql = "SELECT id, pid FROM pgusher.processes WHERE host = $1";
        for row in client.query(sql, &[&&*self.host]).await.map_err(failed::registry)? {
            let id: String = row.try_get(0).map_err(failed::registry)?;
            let pid: i32 = row.try_get(1).map_err(failed::registry)?;
            if !Path::new(&format!("/proc/{pid}")).exists() {
                let sql = "DELETE FROM pgusher.processes WHERE id = $1";
                client.execute(sql, &[&id]).await.map_err(failed::registry)?;
            }
        }
        Ok(())
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Says that this process is alive, and forgets those that are not.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached, or is not migrated.
    pub async fn beat(&self) -> Result<(), Fault> {
        let client = self.client().await?;
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let sql = "INSERT INTO pgusher.processes (id, host, pid, version, serves) \
                   VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()";
        let version = env!("CARGO_PKG_VERSION");
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&&*self.id, &&*self.host, &pid, &version, &self.serves];
        client.execute(sql, &row).await.map_err(failed::registry)?;
        let sql = "DELETE FROM pgusher.processes \
                   WHERE heartbeat_at < now() - make_interval(secs => $1)";
        client.execute(sql, &[&GONE_AFTER_SECS]).await.map_err(failed::registry)?;
        Ok(())
    }

    /// Splits the budgets among the processes alive. `narrow` is shown the new split, gives up what
    /// it does not leave to this process, and says what is held beyond it all the same; then the
    /// others are told, and the split may be put in force. One process does this at a time.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached, or is not migrated; then the others know nothing of it.
    pub async fn split(
        &self,
        narrow: impl FnOnce(&Split) -> BTreeMap<String, u32>,
    ) -> Result<Split, Fault> {
        let mut client = self.client().await?;
        let tx = client.transaction().await.map_err(failed::registry)?;
        // A process that is gone, or frozen, holds nobody up for longer.
        let sql = "SELECT set_config('idle_in_transaction_session_timeout', $2, true), \
                   pg_advisory_xact_lock($1)";
        tx.execute(sql, &[&SPLIT_LOCK, &SPLIT_IDLE]).await.map_err(failed::registry)?;
        let sql = "SELECT id, parts, rank, beyond FROM pgusher.processes \
                   WHERE serves AND heartbeat_at >= now() - make_interval(secs => $1) ORDER BY id";
        let rows = tx.query(sql, &[&GONE_AFTER_SECS]).await.map_err(failed::registry)?;
        let mut split = self.read_split(&rows)?;
        split.own.beyond = narrow(&split);
        let (parts, rank) = (signed(split.own.parts), signed(split.own.rank));
        let beyond = serde_json::json!(split.own.beyond);
        let sql = "UPDATE pgusher.processes SET parts = $2, rank = $3, beyond = $4 WHERE id = $1 \
                   AND (parts, rank, beyond) IS DISTINCT FROM ($2, $3, $4::jsonb)";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&&*self.id, &parts, &rank, &beyond];
        tx.execute(sql, &row).await.map_err(failed::registry)?;
        tx.commit().await.map_err(failed::registry)?;
        Ok(split)
    }

    fn read_split(&self, rows: &[Row]) -> Result<Split, Fault> {
        let (mut rank, mut others) = (0, Vec::new());
        for row in rows {
            let id: &str = row.try_get(0).map_err(failed::registry)?;
            rank += u32::from(id < &*self.id);
            if id != &*self.id {
                others.push(place(row).map_err(failed::registry)?);
            }
        }
        let parts = u32::try_from(others.len()).unwrap_or(u32::MAX - 1) + 1;
        Ok(Split { own: Place { rank, parts, beyond: BTreeMap::new() }, others })
    }

    /// Beats until cancelled. A registry that is away is tried again at the next beat.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(fault) = self.beat().await {
                fault.log();
            }
        }
    }

    /// Says farewell.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached.
    pub async fn leave(&self) -> Result<(), Fault> {
        let client = self.registry.client().await?;
        let sql = "DELETE FROM pgusher.processes WHERE id = $1";
        client.execute(sql, &[&&*self.id]).await.map_err(failed::registry)?;
        Ok(())
    }
}

/// What another process holds, as it says.
fn place(row: &Row) -> Result<Place, tokio_postgres::Error> {
    let number = |at| row.try_get(at).map(|n: i32| u32::try_from(n).unwrap_or(0));
    let beyond: serde_json::Value = row.try_get(3)?;
    let beyond = beyond.as_object().into_iter().flatten();
    let beyond = beyond.filter_map(|(server, held)| {
        Some((server.clone(), u32::try_from(held.as_u64()?).unwrap_or(u32::MAX)))
    });
    Ok(Place { parts: number(1)?, rank: number(2)?, beyond: beyond.collect() })
}

fn signed(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
