//! A server's process id, told to a client as its own.

use std::sync::Arc;

use super::CancelGate;

/// The process id of a shared server that one session goes by. No other session is told it until
/// this is dropped; the server is lent to others all the same.
#[derive(Debug)]
pub struct ToldPid {
    gate: Arc<CancelGate>,
    pid: i32,
}

impl ToldPid {
    /// `None` when a session goes by it already, and when the server has none that drivers take.
    pub fn of(gate: &Arc<CancelGate>) -> Option<Self> {
        let pid = gate.pid().filter(|pid| *pid > 0)?;
        gate.tell().then(|| Self { gate: Arc::clone(gate), pid })
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for ToldPid {
    fn drop(&mut self) {
        self.gate.untell();
    }
}
