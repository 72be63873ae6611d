//! Per-tenant gauges, computed when they are scraped, with a bounded number of series.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntGaugeVec, Opts};

use super::refusal::Limit;
use super::{Conn, Pin, Pools, RoomFigures};

/// The label of all tenants beyond the bound together.
const OTHER: &str = "_other";

type TenantGauge = (&'static str, &'static str, fn(&RoomFigures) -> u64);

const TENANT_GAUGES: [TenantGauge; 8] = [
    ("clients", "Clients logged in.", |r| u64::from(r.clients)),
    ("waiting_clients", "Clients waiting for a server connection.", |r| u64::from(r.waiting)),
    ("idle_servers", "Server connections idle.", |r| u64::from(r.idle)),
    ("leased_servers", "Server connections lent.", |r| u64::from(r.leased)),
    ("pinned_servers", "Server connections pinned.", |r| u64::from(r.pinned)),
    ("dialing_servers", "Server connections being dialed.", |r| u64::from(r.dialing)),
    ("closing_servers", "Server connections being closed.", |r| u64::from(r.closing)),
    ("server_max", "Server connections allowed.", |r| u64::from(r.limits.server_max)),
];

/// Collects the gauges of a [`Pools`].
pub struct PoolMetrics<S: Conn> {
    pools: Pools<S>,
    tenant_series_max: usize,
    descs: Vec<Desc>,
}

impl<S: Conn> PoolMetrics<S> {
    /// A collector that labels at most `tenant_series_max` tenants, busiest first; the others
    /// share the label `_other`.
    ///
    /// # Errors
    /// When prometheus does not like a name.
    pub fn new(pools: Pools<S>, tenant_series_max: usize) -> prometheus::Result<Self> {
        let mut metrics = Self { pools, tenant_series_max, descs: Vec::new() };
        let gauges = metrics.gauges(&[], &[])?;
        metrics.descs = gauges.iter().flat_map(|g| g.desc()).cloned().collect();
        Ok(metrics)
    }

    fn gauges(
        &self,
        rooms: &[RoomFigures],
        budgets: &[super::BudgetFigures],
    ) -> prometheus::Result<Vec<Box<dyn Collector>>> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(format!("pgusher_pool_{name}"), help), labels)
        };
        let mut all: Vec<Box<dyn Collector>> = Vec::new();
        for (name, help, read) in TENANT_GAUGES {
            let vec = gauge(name, help, &["tenant"])?;
            for (n, room) in rooms.iter().enumerate() {
                let label = if n < self.tenant_series_max { room.tenant.as_str() } else { OTHER };
                vec.with_label_values(&[label]).add(signed(read(room)));
            }
            all.push(Box::new(vec));
        }
        let pins = gauge("pins", "Pinned leases by reason.", &["reason"])?;
        for pin in Pin::ALL {
            let count = rooms.iter().map(|r| u64::from(r.pins[pin.index()])).sum();
            pins.with_label_values(&[pin.as_str()]).set(signed(count));
        }
        let waits = gauge(
            "waiting_clients_by_limit",
            "Clients waiting for a server connection, by the limit in their way.",
            &["limit"],
        )?;
        for limit in Limit::ALL {
            let _ = waits.with_label_values(&[limit.as_str()]);
        }
        for room in rooms {
            if let Some(why) = room.waits_for {
                waits.with_label_values(&[why.limit]).add(i64::from(room.waiting));
            }
        }
        let oldest = Gauge::new("pgusher_pool_oldest_wait_seconds", "The longest wait under way.")?;
        let longest = rooms.iter().filter_map(|r| r.oldest_wait).max().unwrap_or_default();
        oldest.set(longest.as_secs_f64());
        let budget = gauge(
            "budget_servers",
            "A PostgreSQL server's connections: total allowed, and used, pinned, closing, and \
             promised to the tenants present by their server_min.",
            &["server", "what"],
        )?;
        let tenants = gauge("budget_waiting_tenants", "Tenants waiting.", &["server"])?;
        for figures in budgets {
            let server = figures.server.as_str();
            let parts = [
                ("total", figures.total),
                ("used", figures.used),
                ("pinned", figures.pinned),
                ("closing", figures.closing),
                ("guaranteed", u32::try_from(figures.guaranteed).unwrap_or(u32::MAX)),
            ];
            for (what, count) in parts {
                budget.with_label_values(&[server, what]).set(i64::from(count));
            }
            tenants.with_label_values(&[server]).set(signed(figures.waiting as u64));
        }
        all.push(Box::new(oldest));
        let vecs = [pins, waits, budget, tenants].map(|vec| Box::new(vec) as Box<dyn Collector>);
        all.extend(vecs);
        Ok(all)
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl<S: Conn> Collector for PoolMetrics<S> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut rooms = self.pools.rooms();
        rooms.sort_by_cached_key(|r| {
            let busy = (r.leased + r.waiting, r.used(), r.clients);
            std::cmp::Reverse((busy, std::cmp::Reverse(r.tenant.clone())))
        });
        let budgets = self.pools.budgets();
        match self.gauges(&rooms, &budgets) {
            Ok(gauges) => gauges.iter().flat_map(|g| g.collect()).collect(),
            // The names were accepted by `new`.
            Err(_) => Vec::new(),
        }
    }
}
