//! The data threads: each a runtime of its own, with its own poller.
//!
//! A session stays on the thread it was given to, and so do its wake-ups: nothing is stolen, no
//! other thread is woken for it. Measured against one runtime with as many workers: see
//! docs/DECISIONS.md, "Data threads".

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::session::trim_stock;

/// Threads that run until this is dropped.
pub(super) struct DataThreads {
    handles: Vec<Handle>,
    _stop: Vec<oneshot::Sender<()>>,
}

impl DataThreads {
    /// Starts `count` of them, one at least.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (mut handles, mut stop) = (Vec::new(), Vec::new());
        for n in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (stopper, stopped) = oneshot::channel();
            runtime.spawn(trim_stock());
            handles.push(runtime.handle().clone());
            stop.push(stopper);
            thread::Builder::new().name(format!("pgusher-data-{n}")).spawn(move || {
                // The other end is only ever dropped.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        }
        Ok(Self { handles, _stop: stop })
    }

    /// Where to spawn, one for each thread.
    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// The one for what there is one of.
    pub(super) fn first(&self) -> &Handle {
        &self.handles[0]
    }
}
