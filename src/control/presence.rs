//! This process among the others: a row with a heartbeat.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{failed, verifier};
use crate::fault::Fault;
use crate::tenant::Registry;

/// How often a process says it is there, and after how long it is not.
const BEAT: Duration = Duration::from_secs(5);
const GONE_AFTER_SECS: f64 = 20.0;

/// This process's id in `pgusher.processes`.
#[derive(Debug, Clone)]
pub struct Presence {
    id: Arc<str>,
    host: Arc<str>,
    registry: Registry,
}

impl Presence {
    /// A presence that is not announced yet, on the machine called `host_name`.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(registry: Registry, host_name: &str) -> Result<Self, Fault> {
        let id = verifier::random_name(16)?;
        // Process ids mean something within one boot and one pid namespace only.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let host = format!("{host_name} {} {}", boot.trim(), space.display());
        Ok(Self { id: id.into(), host: host.into(), registry })
    }

    /// Forgets processes of this machine that a kill took, without waiting for their silence. For
    /// a process that starts: what they left can be swept at once.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached.
    pub async fn bury(&self) -> Result<(), Fault> {
        if !Path::new("/proc/self").exists() {
            return Ok(());
        }
        let client = self.registry.client().await?;
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
    /// 57P03 when the registry cannot be reached.
    pub async fn beat(&self) -> Result<(), Fault> {
        let client = self.registry.client().await?;
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let sql = "INSERT INTO pgusher.processes (id, host, pid, version) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()";
        let version = env!("CARGO_PKG_VERSION");
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&&*self.id, &&*self.host, &pid, &version];
        client.execute(sql, &row).await.map_err(failed::registry)?;
        let sql = "DELETE FROM pgusher.processes \
                   WHERE heartbeat_at < now() - make_interval(secs => $1)";
        client.execute(sql, &[&GONE_AFTER_SECS]).await.map_err(failed::registry)?;
        Ok(())
    }

    /// Which of the processes alive this one is, counted from zero, and how many there are, this
    /// one included.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached.
    pub async fn place(&self) -> Result<(u32, u32), Fault> {
        let client = self.registry.client().await?;
        let sql = "SELECT count(*) FILTER (WHERE id < $1), count(*) FILTER (WHERE id <> $1) \
                   FROM pgusher.processes \
                   WHERE heartbeat_at >= now() - make_interval(secs => $2)";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&&*self.id, &GONE_AFTER_SECS];
        let row = client.query_one(sql, &values).await.map_err(failed::registry)?;
        let count = |at| -> Result<u32, Fault> {
            let count: i64 = row.try_get(at).map_err(failed::registry)?;
            Ok(u32::try_from(count).unwrap_or(u32::MAX - 1))
        };
        Ok((count(0)?, count(1)? + 1))
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
