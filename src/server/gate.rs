//! Holds a server back while a cancel request for it is on its way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::Endpoint;
use crate::wire::CancelKey;
use std::sync::Arc;

/// What a cancel needs to reach a server connection, and how many cancels are in flight.
///
/// A cancel names a process, not a query: PostgreSQL signals whatever that process runs when the
/// request lands. So a server whose cancel is in flight is not handed to another client until the
/// postmaster has closed the cancel's own connection, which it does after it sent the signal.
#[derive(Debug)]
pub struct CancelGate {
    endpoint: Arc<Endpoint>,
    key: Mutex<Option<CancelKey>>,
    in_flight: AtomicUsize,
    /// A cancel may have been sent and was not seen to land.
    doubtful: AtomicBool,
    /// The process id told to the client it served last; 0 when it has served none.
    alias: AtomicI32,
    /// A live session was told the server's own process id.
    is_told: AtomicBool,
    landed: Notify,
}

impl CancelGate {
    /// A gate without any cancel in flight.
    pub fn new(endpoint: Arc<Endpoint>, key: Option<CancelKey>) -> Self {
        let (in_flight, landed) = (AtomicUsize::new(0), Notify::new());
        let (doubtful, is_told) = (AtomicBool::new(false), AtomicBool::new(false));
        let alias = AtomicI32::new(0);
        Self { endpoint, key: Mutex::new(key), in_flight, doubtful, alias, is_told, landed }
    }

    /// Where the server is.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The server's own cancel key; `None` when it gave none.
    pub fn key(&self) -> Option<CancelKey> {
        self.key.lock().expect("invariant: no panic under this lock").clone()
    }

    /// The server's own process id; `None` when it gave none.
    pub(super) fn pid(&self) -> Option<i32> {
        self.key.lock().expect("invariant: no panic under this lock").as_ref().map(|key| key.pid)
    }

    /// Its process id is to be told to a session. `false` when a live one was told it.
    pub(super) fn tell(&self) -> bool {
        !self.is_told.swap(true, Ordering::AcqRel)
    }

    /// That session has ended.
    pub(super) fn untell(&self) {
        self.is_told.store(false, Ordering::Release);
    }

    /// From now on the server is known by the process id its client was told.
    pub fn go_by(&self, pid: i32) {
        self.alias.store(pid, Ordering::Release);
    }

    /// The process id it is known by; `None` while it has served nobody.
    pub(super) fn alias(&self) -> Option<i32> {
        Some(self.alias.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }

    /// Whether a cancel is on its way.
    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Whether a cancel may still land that nobody waits for: the server must be closed.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    /// A cancel's connection broke before it was seen to end.
    pub(super) fn doubt(&self) {
        self.doubtful.store(true, Ordering::Release);
    }

    /// Counts a cancel in. The guard counts it out when the request's connection has ended.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// Waits until no cancel is in flight. Cancel-safe.
    pub async fn landed(&self) {
        loop {
            let notified = self.landed.notified();
            if !self.is_busy() {
                return;
            }
            notified.await;
        }
    }
}

/// One cancel in flight.
#[derive(Debug)]
pub struct InFlight(Arc<CancelGate>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.landed.notify_waiters();
        }
    }
}

#[cfg(test)]
impl CancelGate {
    /// The gate of a server of which only host and process id matter.
    pub(crate) fn of(host: &str, pid: i32) -> Arc<Self> {
        let (host, ssl_mode) = (host.to_owned(), crate::net::tls::SslMode::Disable);
        let endpoint = Endpoint { host, port: 5432, ssl_mode, ca_file: None };
        let key = CancelKey { pid, secret: Box::new([0; 4]) };
        Arc::new(Self::new(Arc::new(endpoint), Some(key)))
    }
}
