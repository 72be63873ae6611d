//! What the console asks of the process it runs in.

use futures_util::future::BoxFuture;

use crate::fault::Fault;

/// One setting as it is in force. Secrets are shown as `***`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The dotted key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it is when nobody sets it.
    pub default: String,
}

/// How a process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are cut now.
    Now,
    /// Sessions may end by themselves for `runtime.drain_timeout`.
    Drain,
}

/// The process: implemented by whoever composes it.
pub trait Process: Send + Sync {
    /// The configuration.
    fn settings(&self) -> Vec<Setting>;

    /// Reads again what may change while it runs: certificates, tenants' rows.
    fn reload(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Ends the process soon.
    fn shut_down(&self, how: Stop);
}
