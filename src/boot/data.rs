//! The data threads. A session stays on the one it was given to, and so do its wake-ups.

use std::io;

use tokio::runtime::Handle;

use crate::net::{DataThread, Running};
use crate::session::trim_stock;

/// Threads that run until this is dropped.
pub(super) struct DataThreads(Vec<Running>);

impl DataThreads {
    /// Starts `count` of them, one at least, within `control`.
    pub(super) fn start(count: usize, control: &Handle) -> io::Result<Self> {
        let start = |n| {
            let running = Running::start(format!("pgusher-data-{n}"), control.clone())?;
            running.thread().spawn(trim_stock()).detach();
            Ok(running)
        };
        (0..count.max(1)).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Where to spawn, one for each thread.
    pub(super) fn all(&self) -> Vec<DataThread> {
        self.0.iter().map(|running| running.thread().clone()).collect()
    }

    /// The one for what there is one of.
    pub(super) fn first(&self) -> &DataThread {
        self.0[0].thread()
    }
}
