//! How pgusher is watched: log set-up and the metric types every room shares.
//!
//! Each room owns its metrics and registers them with the registry the composition root hands it.

mod log;
mod process;

pub use log::{LogFormat, LogSettings};
pub use process::ProcessMetrics;
