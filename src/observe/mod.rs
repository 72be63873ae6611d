//! How pgusher is watched: log set-up and the metric types every room shares.
//!
//! Each room owns its metrics and registers them with the registry the composition root hands it.

mod lines;
mod log;
mod process;

pub use lines::flush;
pub use log::{LogFormat, LogSettings};
pub use process::ProcessMetrics;
