//! Live figures for the operators' door.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use serde_json::{Value, json};

use super::Built;
use crate::http::Figures;
use crate::ident::TenantId;
use crate::pool::{Limits, Pools, RoomFigures};
use crate::server::Server;
use crate::tenant::Tenant;

/// What the rooms hold now.
pub(super) struct LiveFigures(pub(super) Arc<Built>);

impl Figures for LiveFigures {
    fn of(&self, tenant: &TenantId) -> Option<Value> {
        self.0.pools.room(tenant).map(|room| shown(&room))
    }

    fn limits(&self, tenant: &Tenant) -> Value {
        let room = self.0.pools.room(&tenant.id);
        in_force(&room.map_or_else(|| self.0.rules.of(tenant), |room| room.limits))
    }

    fn totals(&self) -> Value {
        let rooms = self.0.pools.rooms();
        let sum = |of: fn(&RoomFigures) -> u32| rooms.iter().map(|r| u64::from(of(r))).sum::<u64>();
        json!({
            "sessions": self.0.shared.roster().len(),
            "tenants": rooms.len(),
            "clients": sum(|r| r.clients),
            "waiting": sum(|r| r.waiting),
            "servers": sum(RoomFigures::used),
        })
    }

    fn unready(&self) -> Vec<String> {
        unready(&self.0.pools).map(str::to_owned).collect()
    }
}

/// Why no session could be served now.
fn unready(pools: &Pools<Box<Server>>) -> impl Iterator<Item = &'static str> {
    let reasons = [
        (pools.is_draining(), "shutting down"),
        // Until then this process may hold no server connection: nobody could be served.
        (!pools.knows_others(), "the other processes are not known yet"),
    ];
    reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, why)| why)
}

/// `/readyz` as a metric.
pub(super) struct Readiness {
    pools: Pools<Box<Server>>,
    gauge: IntGauge,
}

impl Readiness {
    pub(super) fn new(pools: Pools<Box<Server>>) -> prometheus::Result<Self> {
        let help = "1 while sessions are taken, as /readyz has it.";
        Ok(Self { pools, gauge: IntGauge::new("pgusher_boot_ready", help)? })
    }
}

impl Collector for Readiness {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(i64::from(unready(&self.pools).next().is_none()));
        self.gauge.collect()
    }
}

fn shown(room: &RoomFigures) -> Value {
    json!({
        "tenantId": room.tenant.as_str(),
        "suspended": room.suspended,
        "paused": room.paused,
        "clients": room.clients,
        "waiting": room.waiting,
        "serverMax": room.limits.server_max,
        "used": room.used(),
        "idle": room.idle,
        "leased": room.leased,
        "pinned": room.pinned,
        "dialing": room.dialing,
        "closing": room.closing,
        "leases": room.leases,
        "transactions": room.transactions,
        "leaseTimeUs": micros(room.leased_time),
        "waitTimeUs": micros(room.wait_time),
        "oldestWaitMs": room.oldest_wait.map_or(0, millis),
    })
}

/// Spans of 0 are none.
fn in_force(limits: &Limits) -> Value {
    json!({
        "serverMax": limits.server_max,
        "serverMin": limits.server_min,
        "weight": limits.weight,
        "clientMax": limits.client_max,
        "queueMax": limits.queue_max,
        "queueTimeoutMs": millis(limits.queue_timeout.get()),
        "serverIdleTimeoutMs": millis(limits.server_idle_timeout.get()),
        "serverLifetimeMs": millis(limits.server_lifetime.get()),
        "queryTimeoutMs": millis(limits.query_timeout.get()),
        "transactionTimeoutMs": millis(limits.transaction_timeout.get()),
        "idleInTransactionTimeoutMs": millis(limits.idle_in_transaction_timeout.get()),
        "clientIdleTimeoutMs": millis(limits.client_idle_timeout.get()),
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
