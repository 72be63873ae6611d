//! What is counted about registrations.

use std::time::{Duration, Instant};

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use crate::control::Refused;

/// The metrics of registrations and of what keeps them whole.
#[derive(Debug, Clone)]
pub struct RegistrationMetrics {
    outcomes: IntCounterVec,
    steps: IntCounterVec,
    seconds: HistogramVec,
    pub(super) passes: IntCounter,
    pub(super) swept: IntCounterVec,
    pub(super) warm: IntCounterVec,
}

impl RegistrationMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let outcomes = counter(
            "pgusher_control_registrations_total",
            "Registrations asked for, by how they ended.",
            &["outcome"],
        )?;
        // There before they happen: what appears as 1 has not risen, to an alert.
        for outcome in ["done", "failed", "busy"] {
            let _ = outcomes.with_label_values(&[outcome]);
        }
        let steps = counter(
            "pgusher_control_registration_steps_total",
            "Steps of registrations, by step and by whether they succeeded.",
            &["step", "outcome"],
        )?;
        let swept = counter(
            "pgusher_control_janitor_total",
            "What the janitor settled: registrations finished, undone, left, databases dropped.",
            &["what"],
        )?;
        for what in ["finished", "undone", "dropped", "left"] {
            let _ = swept.with_label_values(&[what]);
        }
        let warm = counter(
            "pgusher_control_warm_total",
            "Warm databases made, failed to be made, claimed, and missing when one was wanted.",
            &["what"],
        )?;
        let buckets =
            vec![0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 4.0, 16.0];
        let opts = HistogramOpts::new(
            "pgusher_control_registration_seconds",
            "How long the steps of registrations take, by step.",
        );
        let seconds = HistogramVec::new(opts.buckets(buckets), &["step"])?;
        registry.register(Box::new(seconds.clone()))?;
        let passes =
            IntCounter::new("pgusher_control_janitor_passes_total", "Passes of the janitor.")?;
        registry.register(Box::new(passes.clone()))?;
        Ok(Self { outcomes, steps, seconds, passes, swept, warm })
    }

    /// Counts how a registration ended.
    pub(super) fn ended<T>(&self, result: &Result<T, Refused>) {
        let outcome = match result {
            Ok(_) => "done",
            Err(Refused::Invalid(_)) => "invalid",
            Err(Refused::EmailTaken) => "email_taken",
            Err(Refused::KeyReused) => "key_reused",
            Err(Refused::InProgress) => "in_progress",
            Err(Refused::Busy) => "busy",
            Err(_) => "failed",
        };
        self.outcomes.with_label_values(&[outcome]).inc();
    }

    /// Notes how long a registration waited for its turn.
    pub(super) fn waited(&self, timings: &mut Timings, took: Duration) {
        timings.0.push(("turn", took));
        self.seconds.with_label_values(&["turn"]).observe(took.as_secs_f64());
    }

    /// Times one step and counts whether it succeeded.
    pub(super) fn step<'a, T, E>(
        &'a self,
        step: &'static str,
        timings: &'a mut Timings,
        work: impl Future<Output = Result<T, E>> + Send + 'a,
    ) -> impl Future<Output = Result<T, E>> + Send + 'a
    where
        T: Send + 'a,
        E: Send + 'a,
    {
        // On the heap: steps are large, and waited for one after the other.
        let work = Box::pin(work);
        async move {
            let begun = Instant::now();
            let result = work.await;
            let took = begun.elapsed();
            timings.0.push((step, took));
            self.seconds.with_label_values(&[step]).observe(took.as_secs_f64());
            let outcome = if result.is_ok() { "ok" } else { "failed" };
            self.steps.with_label_values(&[step, outcome]).inc();
            result
        }
    }
}

/// How long the steps of one registration took.
#[derive(Debug, Clone, Default)]
pub struct Timings(Vec<(&'static str, Duration)>);

impl Timings {
    /// Takes over the steps of `other`, which were done meanwhile.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Step and duration, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.0.iter().copied()
    }
}
