//! A data thread: one poller, one queue of tasks, nothing stolen.
//!
//! tokio's runtime is not under it: its park, its timer wheel and its readiness were a fifth of
//! what a transaction costs in user space (docs/DECISIONS.md, "Data threads"). Timers, name
//! lookups and blocking work of its tasks are the control runtime's, within which the thread
//! stands.

mod batch;
mod budget;
mod polled;
mod reactor;
mod source;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use async_task::{Builder, Runnable, Task};
use futures_util::FutureExt as _;
use mio::{Events, Poll};
use slab::Slab;
use tokio::runtime::Handle;

pub(super) use polled::Polled;
use reactor::{RUNG, Reactor};
pub(super) use source::Side;

/// So many tasks run before it is looked what has come.
const TURNS: usize = 61;

/// So many sockets are heard of at once.
const EVENTS: usize = 1_024;

thread_local! {
    /// What is to run on this thread.
    static QUEUE: RefCell<VecDeque<Runnable>> = const { RefCell::new(VecDeque::new()) };
    /// Whose thread it is.
    static HERE: RefCell<Option<DataThread>> = const { RefCell::new(None) };
}

/// A thread that runs tasks and polls their sockets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DataThread(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reactor: Arc<Reactor>,
    bell: mio::Waker,
    /// What other threads want to run here; `None` once the thread is over.
    injected: Mutex<Option<Vec<Runnable>>>,
    /// All tasks there are, to end them with the thread.
    tasks: Mutex<Slab<Waker>>,
    is_over: AtomicBool,
}

/// Ends its thread, and the tasks on it, when dropped.
#[derive(Debug)]
pub struct Running {
    thread: DataThread,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.thread.0.is_over.store(true, Ordering::Release);
        let _ = self.thread.0.bell.wake();
    }
}

impl Running {
    /// Starts a thread of this name within `control`, whose timers its tasks use.
    ///
    /// # Errors
    /// When the system has no poller or no thread left.
    pub fn start(name: String, control: Handle) -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = mio::Waker::new(poll.registry(), RUNG)?;
        let reactor = Reactor::new(poll.registry().try_clone()?);
        let (injected, tasks) = (Mutex::new(Some(Vec::new())), Mutex::default());
        let is_over = AtomicBool::new(false);
        let shared = Shared { reactor, bell, injected, tasks, is_over };
        let thread = DataThread(Arc::new(shared));
        let here = thread.clone();
        thread::Builder::new().name(name).spawn(move || {
            let _inside = control.enter();
            here.run(poll);
        })?;
        Ok(Self { thread })
    }

    /// Where to spawn.
    pub fn thread(&self) -> &DataThread {
        &self.thread
    }
}

impl DataThread {
    /// The one this is called on.
    pub fn here() -> Option<Self> {
        HERE.with_borrow(Clone::clone)
    }

    /// Runs a task to its end, unless what is given back is dropped before, or the thread ends.
    /// From any thread. A panic ends the task only.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) -> Task<()> {
        let mut tasks = lock(&self.0.tasks);
        let entry = tasks.vacant_entry();
        let leaving = Leaving { shared: Arc::clone(&self.0), key: entry.key() };
        let task = task.map(move |()| drop(leaving));
        let home = self.clone();
        let (runnable, task) = Builder::new()
            .propagate_panic(false)
            .spawn(|()| task, move |runnable| home.schedule(runnable));
        entry.insert(runnable.waker());
        drop(tasks);
        runnable.schedule();
        task
    }

    fn reactor(&self) -> &Arc<Reactor> {
        &self.0.reactor
    }

    fn is_here(&self) -> bool {
        self.0.reactor.is_here()
    }

    fn schedule(&self, runnable: Runnable) {
        if self.is_here() {
            // The thread may be ending, its queue gone already.
            let _ = QUEUE.try_with(|queue| queue.borrow_mut().push_back(runnable));
            return;
        }
        let mut injected = lock(&self.0.injected);
        let Some(waiting) = &mut *injected else {
            // Only a task that was never here can come so late: whoever wakes one that was runs
            // none of its destructors, under whatever locks that may be.
            drop(injected);
            return drop(runnable);
        };
        let first = waiting.is_empty();
        waiting.push(runnable);
        drop(injected);
        if first {
            // Nobody else rings for what is there. Fails while the kernel has no memory.
            while self.0.bell.wake().is_err() {
                thread::yield_now();
            }
        }
    }

    fn run(self, mut poll: Poll) {
        self.0.reactor.come_here();
        batch::open();
        HERE.set(Some(self.clone()));
        let mut events = Events::with_capacity(EVENTS);
        while !self.0.is_over.load(Ordering::Acquire) {
            let wait = self.run_some().then_some(Duration::ZERO);
            batch::send(&self.0.reactor);
            if let Err(error) = poll.poll(&mut events, wait) {
                if error.kind() != io::ErrorKind::Interrupted {
                    tracing::error!(%error, "the poller of a data thread failed");
                    thread::sleep(Duration::from_millis(10));
                }
                continue;
            }
            if self.0.reactor.take(&events) {
                self.take_injected();
            }
        }
        self.end();
    }

    /// Runs what is in the queue, but not for ever; `true` when there is more.
    fn run_some(&self) -> bool {
        for _ in 0..TURNS {
            let Some(runnable) = next() else { return false };
            budget::begin();
            // The panic hook has told of it.
            let _ = catch_unwind(AssertUnwindSafe(|| runnable.run()));
            if self.0.is_over.load(Ordering::Relaxed) {
                return false;
            }
        }
        true
    }

    /// Puts what others want to run here into the queue; `false` when there was nothing.
    fn take_injected(&self) -> bool {
        let injected = lock(&self.0.injected).as_mut().map(std::mem::take).unwrap_or_default();
        let some = !injected.is_empty();
        QUEUE.with_borrow_mut(|queue| queue.extend(injected));
        some
    }

    /// Drops every task: woken, each comes into the queue.
    fn end(self) {
        let tasks = std::mem::take(&mut *lock(&self.0.tasks));
        tasks.into_iter().for_each(|(_, waker)| waker.wake());
        loop {
            while let Some(runnable) = next() {
                // May wake or spawn others.
                drop(runnable);
            }
            let mut injected = lock(&self.0.injected);
            if injected.as_ref().is_none_or(Vec::is_empty) {
                *injected = None;
                break;
            }
            drop(injected);
            self.take_injected();
        }
        HERE.set(None);
        Reactor::leave();
    }
}

/// A task that is over is no longer among those there are.
struct Leaving {
    shared: Arc<Shared>,
    key: usize,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let left = lock(&self.shared.tasks).try_remove(self.key);
        drop(left);
    }
}

/// Whether tasks wait for their turn on this thread.
fn has_more() -> bool {
    QUEUE.with_borrow(|queue| !queue.is_empty())
}

fn next() -> Option<Runnable> {
    QUEUE.with_borrow_mut(VecDeque::pop_front)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a task on the data thread this is called on, else on the runtime. Without either it is
/// dropped: everything ends then.
pub fn spawn<F: Future<Output = ()> + Send + 'static>(task: F) {
    if let Some(here) = DataThread::here() {
        here.spawn(task).detach();
    } else if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(task));
    }
}

#[cfg(test)]
mod tests;
