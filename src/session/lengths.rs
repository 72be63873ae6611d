//! How long leases and transactions last. Where a lease is one transaction, which is nearly always,
//! its length is both, read from clocks that are read for the pool anyway and observed once.

use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily};
use prometheus::{Histogram, HistogramOpts, Registry};

use super::clock::Doing;
use super::live::{Live, ServerLease};

/// Half a millisecond to ten minutes.
const BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 300.0, 600.0];

/// Two histograms, and what belongs to each of them alike.
#[derive(Debug, Clone)]
pub(super) struct Lengths {
    both: Histogram,
    leases: Histogram,
    transactions: Histogram,
}

/// What a session notes to time its transactions.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// When the transaction under way began, where its lease did not begin with it.
    began: Option<Instant>,
    /// When the lease began whose one transaction has just ended: both are observed together.
    due: Option<Instant>,
}

impl Lengths {
    pub(super) fn new() -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str| {
            let opts = HistogramOpts::new(format!("pgusher_session_{name}_seconds"), help);
            Histogram::with_opts(opts.buckets(BUCKETS.to_vec()))
        };
        Ok(Self {
            both: histogram("both", "Never shown.")?,
            leases: histogram(
                "lease",
                "How long a server was leased: a transaction, or a pin with all that ran under it.",
            )?,
            transactions: histogram(
                "transaction",
                "From the first message a transaction sends to its server to the ReadyForQuery that \
                 ends it, in both pool modes, pinned or not.",
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.clone()))
    }
}

impl Collector for Lengths {
    fn desc(&self) -> Vec<&Desc> {
        self.leases.desc().into_iter().chain(self.transactions.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let both = self.both.collect();
        let mut all = self.leases.collect();
        all.extend(self.transactions.collect());
        for (one, more) in
            all.iter_mut().flat_map(MetricFamily::mut_metric).zip(both.iter().cycle())
        {
            let sum = sum(one.get_histogram(), more.get_metric()[0].get_histogram());
            one.set_histogram(sum);
        }
        all
    }
}

/// Two histograms of the same buckets as one.
fn sum(one: &proto::Histogram, more: &proto::Histogram) -> proto::Histogram {
    let mut sum = proto::Histogram::default();
    sum.set_sample_count(one.get_sample_count() + more.get_sample_count());
    sum.set_sample_sum(one.get_sample_sum() + more.get_sample_sum());
    let buckets = one.get_bucket().iter().zip(more.get_bucket()).map(|(one, more)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(one.upper_bound());
        bucket.set_cumulative_count(one.cumulative_count() + more.cumulative_count());
        bucket
    });
    sum.set_bucket(buckets.collect());
    sum
}

impl Live {
    /// Notes when a transaction begins on a kept server, and times those that have ended, unless
    /// the lease is over with the only one (`last`): then [`Live::lease_ended`] does.
    pub(super) fn time(&mut self, ended: u32, hold: bool, last: bool) {
        let timing = &mut self.timing;
        if ended == 0 {
            if hold && timing.began.is_none() && self.doing != Doing::Idle {
                timing.began = Some(Instant::now());
            }
            return;
        }
        let lent = self.held.as_ref().filter(|_| !hold).map(ServerLease::lent);
        if ended == 1 && last && timing.began.is_none() && lent.is_some() {
            timing.due = lent;
            return;
        }
        let now = Instant::now();
        let took = now.saturating_duration_since(timing.began.or(lent).unwrap_or(now));
        for _ in 0..ended {
            self.shared.parts.metrics.lengths.transactions.observe(took.as_secs_f64());
        }
        // If the next is in hand, it begins now.
        timing.began = (self.doing != Doing::Idle).then_some(now);
    }

    /// A new lease: what was under way in the one before is over without an end.
    pub(super) fn lease_began(&mut self) {
        self.timing = Timing::default();
    }

    /// The lease goes on for something of pgusher's own, or ends in doubt: its transaction is over.
    pub(super) fn time_apart(&mut self) {
        if let Some(lent) = self.timing.due.take() {
            let took = lent.elapsed().as_secs_f64();
            self.shared.parts.metrics.lengths.transactions.observe(took);
        }
    }

    /// The server is back in the pool after so long.
    pub(super) fn lease_ended(&mut self, lent: Duration) {
        let lengths = &self.shared.parts.metrics.lengths;
        let seen = if self.timing.due.take().is_some() { &lengths.both } else { &lengths.leases };
        seen.observe(lent.as_secs_f64());
    }
}
