//! Whether the PostgreSQL servers answer, and whether tenants' databases are there.
//!
//! A server is asked now and then, over a connection its provisioner has anyway; while it answers,
//! nothing is asked about its tenants, and no connection is ever held for one. When it is back
//! after a failure its tenants are looked up in its catalog once, a page at a time: a restore may
//! have lost some.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::{IntGaugeVec, Opts};
use serde::{Deserialize, Serialize};

use super::failed;
use super::provision::{DatabaseState, Provisioner, Servers};
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::{Registry, Tenant};
use crate::units::Span;

/// `[health]`: how PostgreSQL servers are watched.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// How often each server is asked whether it answers.
    pub every: Span,
    /// How long it may take to answer before new tenants are placed elsewhere.
    pub patience: Span,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { every: Span::secs(5), patience: Span::secs(3) }
    }
}

/// What is known of the servers. Cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    registry: Registry,
    servers: Arc<Servers>,
    settings: HealthSettings,
    known: Mutex<BTreeMap<Arc<str>, Known>>,
    up: IntGaugeVec,
    broken: IntGaugeVec,
}

/// What is known of one server.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// `None`: not asked yet.
    up: Option<bool>,
    checked_at: Option<SystemTime>,
    tenants: u64,
}

/// A tenant's health.
#[derive(Debug, Clone)]
pub struct TenantHealth {
    /// Whether its server answers; `None` for one pgusher does not watch.
    pub server_up: Option<bool>,
    /// When the server was asked last.
    pub checked_at: Option<SystemTime>,
    /// How its database stands, if the server could be asked.
    pub database: Option<DatabaseState>,
}

/// Databases asked about at once.
const PAGE: i64 = 500;

/// Missing databases named in the log for one server.
const NAMED_MAX: usize = 20;

impl Health {
    /// Watches these servers, once [`Health::run`] runs.
    ///
    /// # Errors
    /// When a metric's name is taken.
    pub fn new(
        registry: Registry,
        servers: Arc<Servers>,
        settings: HealthSettings,
        metrics: &prometheus::Registry,
    ) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["server"])?;
            metrics.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let up = gauge("pgusher_control_server_up", "Whether a PostgreSQL server answers.")?;
        let help = "Tenants whose database was not there when the server came back.";
        let broken = gauge("pgusher_control_tenants_broken", help)?;
        for server in servers.keys() {
            let _ = broken.with_label_values(&[&**server]);
        }
        let known = Mutex::default();
        Ok(Self(Arc::new(Inner { registry, servers, settings, known, up, broken })))
    }

    /// Watches until cancelled.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(self.0.settings.every.get().max(MIN_EVERY));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let checks = self.0.servers.values().map(|server| self.look(server));
            futures_util::future::join_all(checks).await;
            if self.0.servers.values().any(|server| server.tenants_max() > 0)
                && let Err(fault) = self.count().await
            {
                fault.log();
            }
        }
    }

    /// Whether a server may be tried: it answered when it was asked last, or was not asked yet.
    pub fn may_be_up(&self, name: &str) -> bool {
        self.known(name).up != Some(false)
    }

    /// Whether a server takes another tenant, as last counted.
    pub fn has_room(&self, server: &Provisioner) -> bool {
        let max = u64::from(server.tenants_max());
        max == 0 || self.known(server.name()).tenants < max
    }

    /// Asks a server now. Whether it answers.
    pub async fn look(&self, server: &Arc<Provisioner>) -> bool {
        let answer = server.ping(self.0.settings.patience.get()).await;
        let up = answer.is_ok();
        let before = {
            let mut all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = all.entry(Arc::clone(server.name())).or_default();
            known.checked_at = Some(SystemTime::now());
            known.up.replace(up)
        };
        self.0.up.with_label_values(&[&**server.name()]).set(i64::from(up));
        match (before, answer) {
            (Some(true) | None, Err(fault)) => {
                fault.log();
                tracing::warn!(server = &**server.name(), "no new tenants are placed there");
            }
            (Some(false), Ok(())) => {
                tracing::info!(server = &**server.name(), "the server answers again");
                let (health, server) = (self.clone(), Arc::clone(server));
                tokio::spawn(async move {
                    if let Err(fault) = health.look_at_tenants(&server).await {
                        fault.log();
                    }
                });
            }
            _ => {}
        }
        up
    }

    /// A tenant's health. Its database is looked up, not entered.
    pub async fn of(&self, tenant: &Tenant) -> TenantHealth {
        let server = self.0.servers.get(&*tenant.server).filter(|_| !tenant.adopted);
        let Some(server) = server else {
            return TenantHealth { server_up: None, checked_at: None, database: None };
        };
        let up = self.look(server).await;
        let states = if up { server.databases(&[tenant.id.database()]).await.ok() } else { None };
        let checked_at = self.known(server.name()).checked_at;
        TenantHealth {
            server_up: Some(up),
            checked_at,
            database: states.and_then(|states| states.first().copied()),
        }
    }

    fn known(&self, name: &str) -> Known {
        let all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).copied().unwrap_or_default()
    }

    /// Looks every tenant of a server up in its catalog: once behind an outage, and never by a clock.
    async fn look_at_tenants(&self, server: &Provisioner) -> Result<(), Fault> {
        let (mut after, mut broken) = (String::new(), 0_i64);
        let mut named = Vec::new();
        loop {
            let client = self.0.registry.client().await?;
            let sql = "SELECT tenant_id FROM pgusher.tenants WHERE server = $1 AND managed \
                       AND tenant_id > $2 ORDER BY tenant_id LIMIT $3";
            let name = &**server.name();
            let rows =
                client.query(sql, &[&name, &after, &PAGE]).await.map_err(failed::registry)?;
            drop(client);
            let mut ids = Vec::with_capacity(rows.len());
            for row in rows {
                ids.push(row.try_get::<_, String>(0).map_err(failed::registry)?);
            }
            let Some(last) = ids.last() else { break };
            after.clone_from(last);
            let names: Vec<String> = ids
                .iter()
                .filter_map(|id| TenantId::parse(id).ok())
                .map(|id| id.database())
                .collect();
            for (name, state) in names.iter().zip(server.databases(&names).await?) {
                if state != DatabaseState::Open {
                    broken += 1;
                    if named.len() < NAMED_MAX {
                        named.push(name.clone());
                    }
                }
            }
        }
        self.0.broken.with_label_values(&[&**server.name()]).set(broken);
        if broken > 0 {
            let server = &**server.name();
            tracing::error!(server, broken, ?named, "tenants' databases cannot be entered");
        }
        Ok(())
    }

    /// How many tenants each server has, as the commits that made and dropped them say: this is asked
    /// for ever, and must not cost by how many there are.
    async fn count(&self) -> Result<(), Fault> {
        let client = self.0.registry.client().await?;
        let sql = "SELECT server, tenants FROM pgusher.server_tenants";
        let mut counts = Vec::new();
        for row in client.query(sql, &[]).await.map_err(failed::registry)? {
            let name: String = row.try_get(0).map_err(failed::registry)?;
            let count: i64 = row.try_get(1).map_err(failed::registry)?;
            counts.push((name, u64::try_from(count).unwrap_or(0)));
        }
        let mut all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that was never counted has none.
        for known in all.values_mut() {
            known.tenants = 0;
        }
        for (name, count) in counts {
            all.entry(name.as_str().into()).or_default().tenants = count;
        }
        Ok(())
    }
}

/// However `health.every` is set.
const MIN_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}
