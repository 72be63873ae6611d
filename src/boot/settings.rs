//! `[runtime]` and `[metrics]`.

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[runtime]`: threads, and how the process ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeSettings {
    /// Threads that relay sessions; 0: one for every two cores. Fewer cost less CPU per
    /// transaction, more serve when those are busy all the time.
    pub workers: usize,
    /// Threads for everything else.
    pub control_workers: usize,
    /// How long sessions may go on when pgusher is told to end. It may take 8 s more: who kills
    /// what does not end has to wait for both.
    pub drain_timeout: Span,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self { workers: 0, control_workers: 1, drain_timeout: Span::secs(30) }
    }
}

impl RuntimeSettings {
    pub(super) fn data_threads(&self) -> usize {
        if self.workers > 0 {
            return self.workers;
        }
        std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
    }
}

/// `[metrics]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Tenants that get series of their own, busiest first; the rest are `tenant="_other"`.
    pub tenant_series_max: usize,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { tenant_series_max: 200 }
    }
}
