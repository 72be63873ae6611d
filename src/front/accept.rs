//! Listening, and the accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry};

use super::FrontSettings;
use crate::net::{DataThread, Entrance, Listener, Socket, Stream};
use crate::session::{self, HalfOpen, Shared};

/// Bound listeners. Clients are served once [`Front::open`] was called.
pub struct Front {
    listeners: Vec<Listener>,
    limits: Arc<Limits>,
}

struct Limits {
    connections_max: usize,
    connections: AtomicUsize,
    half_open: HalfOpen,
    open: IntGauge,
    accepted: IntCounter,
    refused: IntCounter,
}

/// After `accept` has failed (no file descriptor left, most likely) it is not tried again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Front {
    /// Binds every address.
    ///
    /// # Errors
    /// Every address that could not be bound, and why.
    pub fn bind(settings: &FrontSettings, registry: &Registry) -> Result<Self, Vec<String>> {
        let (mut listeners, mut problems) = (Vec::new(), Vec::new());
        for address in &settings.addresses {
            match Listener::tcp(*address, settings.tcp.clone()) {
                Ok(listener) => listeners.push(listener),
                Err(error) => problems.push(format!("cannot listen on {address}: {error}")),
            }
        }
        if let Some(path) = &settings.unix_socket {
            match Listener::unix(path, settings.unix_socket_mode) {
                Ok(listener) => listeners.push(listener),
                Err(e) => problems.push(format!("cannot listen on {}: {e}", path.display())),
            }
        }
        let limits = Limits::new(settings, registry).map_err(|e| vec![e.to_string()])?;
        if problems.is_empty() {
            Ok(Self { listeners, limits: Arc::new(limits) })
        } else {
            Err(problems)
        }
    }

    /// The TCP addresses, with the ports that were found for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(Listener::local_addr).collect()
    }

    /// Accepts on the first of the `data` threads until `closed` ends; then the listeners are
    /// closed and sessions go on. Each session runs on the thread that has fewest when it comes.
    ///
    /// # Errors
    /// When a listener cannot be polled.
    ///
    /// # Panics
    /// Without a thread.
    pub fn open(
        self,
        shared: &Arc<Shared>,
        data: Vec<DataThread>,
        closed: &tokio::sync::watch::Receiver<bool>,
    ) -> io::Result<()> {
        let first = data[0].clone();
        let desks: Arc<[Desk]> = data.into_iter().map(Desk::new).collect();
        for listener in self.listeners {
            let entrance = listener.open(&first)?;
            let (limits, shared) = (Arc::clone(&self.limits), Arc::clone(shared));
            let (mut closed, desks) = (closed.clone(), Arc::clone(&desks));
            let accepting = async move {
                tokio::select! {
                    () = accept(entrance, limits, shared, desks) => {}
                    // The sender going away means the same.
                    _ = closed.wait_for(|closed| *closed) => {}
                }
            };
            first.spawn(accepting).detach();
        }
        Ok(())
    }
}

/// One data thread as the front sees it.
struct Desk {
    thread: DataThread,
    sessions: Arc<AtomicUsize>,
}

impl Desk {
    fn new(thread: DataThread) -> Self {
        Self { thread, sessions: Arc::default() }
    }

    /// The one with the fewest sessions.
    fn choose(desks: &[Self]) -> &Self {
        let fewest = desks.iter().min_by_key(|desk| desk.sessions.load(Ordering::Relaxed));
        fewest.expect("invariant: there is a thread")
    }
}

async fn accept(entrance: Entrance, limits: Arc<Limits>, shared: Arc<Shared>, desks: Arc<[Desk]>) {
    loop {
        match entrance.accept().await {
            Ok(arrived) => {
                limits.accepted.inc();
                let desk = Desk::choose(&desks);
                let Some(counted) = Counted::enter(&limits, desk) else {
                    // Closed without a word: there is no room to wait for who it is.
                    limits.refused.inc();
                    continue;
                };
                let seat = limits.half_open.enter(arrived.from());
                let (shared, thread) = (Arc::clone(&shared), desk.thread.clone());
                let session = async move {
                    match Socket::polled(arrived, &thread) {
                        Ok(socket) => {
                            session::serve(shared, Stream::Plain(socket), Some(seat)).await;
                        }
                        Err(error) => tracing::warn!(%error, "a client's socket is not polled"),
                    }
                    drop(counted);
                };
                desk.thread.spawn(session).detach();
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Limits {
    fn new(settings: &FrontSettings, registry: &Registry) -> Result<Self, prometheus::Error> {
        let limits = Self {
            connections_max: settings.connections_max,
            connections: AtomicUsize::new(0),
            half_open: HalfOpen::new(settings.half_open_max),
            open: IntGauge::new("pgusher_front_connections", "Client connections now.")?,
            accepted: IntCounter::new(
                "pgusher_front_accepted_total",
                "Client connections accepted.",
            )?,
            refused: IntCounter::new(
                "pgusher_front_refused_total",
                "Client connections closed at once: listen.connections_max was reached.",
            )?,
        };
        registry.register(Box::new(limits.open.clone()))?;
        registry.register(Box::new(limits.accepted.clone()))?;
        registry.register(Box::new(limits.refused.clone()))?;
        Ok(limits)
    }
}

/// One connection among all; counted out when dropped.
struct Counted {
    limits: Arc<Limits>,
    of_thread: Arc<AtomicUsize>,
}

impl Counted {
    fn enter(limits: &Arc<Limits>, desk: &Desk) -> Option<Self> {
        let before = limits.connections.fetch_add(1, Ordering::AcqRel);
        desk.sessions.fetch_add(1, Ordering::Relaxed);
        let counted = Self { limits: Arc::clone(limits), of_thread: Arc::clone(&desk.sessions) };
        limits.open.inc();
        // Dropped again when there is no room.
        (before < limits.connections_max).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.limits.connections.fetch_sub(1, Ordering::AcqRel);
        self.limits.open.dec();
        self.of_thread.fetch_sub(1, Ordering::Relaxed);
    }
}
