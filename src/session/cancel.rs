//! A client's cancel request, on its way to the right server.
//!
//! A request may come to another process than the one its session lives in: they share a port, or
//! stand behind one. What nobody here knows is handed on, and its secret proves it there; nothing
//! tells the sender what became of it, as the protocol has it.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::roster::Card;
use super::shared::Shared;
use crate::net;
use crate::server::send_cancel;

/// A cancel request for a session that does not live in this process.
#[derive(Debug)]
pub struct LostCancel {
    /// The process id its client was told.
    pub pid: i32,
    /// The secret it was told.
    pub secret: Box<[u8]>,
    /// Dropped when the process it lives in says that PostgreSQL has the cancel.
    pub done: oneshot::Sender<()>,
}

/// Where lost cancels go, slowed: each costs every other process a look and the registry a notice.
#[derive(Debug)]
pub struct LostCancels {
    sender: mpsc::Sender<LostCancel>,
    all: Pace,
    by_network: Vec<Pace>,
    hash: RandomState,
    began: Instant,
}

/// Lost cancels that wait to be handed on.
const WAITING_MAX: usize = 256;
/// Networks are kept apart by their hash, in so many classes.
const CLASSES: u64 = 256;
/// From all networks together: one every so often in the long run, so many at once.
const ALL: (Duration, u64) = (Duration::from_millis(5), 200);
/// How long the process a session lives in may take to say that PostgreSQL has its cancel.
const ELSEWHERE_PATIENCE: Duration = Duration::from_secs(1);
/// From one.
const EACH: (Duration, u64) = (Duration::from_millis(50), 20);

impl LostCancels {
    /// A way to those who hand them on.
    pub fn new() -> (Self, mpsc::Receiver<LostCancel>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let by_network = (0..CLASSES).map(|_| Pace::default()).collect();
        let (all, hash) = (Pace::default(), RandomState::new());
        (Self { sender, all, by_network, hash, began: Instant::now() }, receiver)
    }

    /// `false`: there are too many.
    fn hand_on(&self, from: Option<IpAddr>, lost: LostCancel) -> bool {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let class =
            usize::try_from(self.hash.hash_one(from.map(net::network)) % CLASSES).unwrap_or(0);
        let pace = &self.by_network[class];
        pace.allows(now, EACH) && self.all.allows(now, ALL) && self.sender.try_send(lost).is_ok()
    }
}

/// When what was let through so far is paid off, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// Whether one more is due at `now`: one `every` so often, and `burst` at once.
    pub(super) fn allows(&self, now: u64, (every, burst): (Duration, u64)) -> bool {
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let limit = now.saturating_add(every.saturating_mul(burst));
        let pay = |paid: u64| {
            let next = paid.max(now).saturating_add(every);
            (next <= limit).then_some(next)
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, pay).is_ok()
    }
}

/// Sends the cancel on to the server that runs the query of the session with this key, if there is
/// one here; to the other processes if there is none. Waits until PostgreSQL has it: who cancels takes
/// the end of this connection for that, and may run the session's next query then. Dropped, it is sent
/// all the same.
pub(super) async fn forward(shared: &Arc<Shared>, from: Option<IpAddr>, pid: i32, secret: &[u8]) {
    if let Some(card) = shared.parts.roster.find(pid, secret) {
        if let Some(landed) = deliver(shared, &card) {
            // Nothing is said by it but that it is over.
            let _ = landed.await;
        }
        return;
    }
    let (done, over) = oneshot::channel();
    let lost = LostCancel { pid, secret: secret.into(), done };
    let label = if shared.parts.lost_cancels.hand_on(from, lost) { "passed_on" } else { "unknown" };
    shared.parts.metrics.cancels.with_label_values(&[label]).inc();
    let _ = tokio::time::timeout(ELSEWHERE_PATIENCE, over).await;
}

impl Shared {
    /// Cancels what the session with this process id runs whose secret `proves` it, for another
    /// process that was asked to. Must be called on a runtime. The answer ends when PostgreSQL has
    /// the cancel, or there is nothing to cancel; `None`: no such session lives here.
    pub fn cancel(
        self: &Arc<Self>,
        pid: i32,
        proves: impl Fn(&[u8]) -> bool,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let card = self.parts.roster.find_by(pid, proves)?;
        let landed = deliver(self, &card);
        Some(async move {
            if let Some(landed) = landed {
                let _ = landed.await;
            }
        })
    }
}

/// Sends it on in a task of its own; what is given back ends with that.
fn deliver(shared: &Arc<Shared>, card: &Card) -> Option<oneshot::Receiver<()>> {
    let outcome = shared.parts.metrics.cancels.clone();
    if !card.may_cancel() {
        outcome.with_label_values(&["limited"]).inc();
        return None;
    }
    let Some((gate, in_flight)) = card.begin_cancel() else {
        outcome.with_label_values(&["idle"]).inc();
        return None;
    };
    let dialer = shared.parts.dialer.clone();
    let (landing, landed) = oneshot::channel::<()>();
    net::spawn(async move {
        let label = match send_cancel(&dialer, &gate, in_flight).await {
            Ok(()) => "sent",
            Err(error) => {
                tracing::warn!(%error, "a cancel request could not be delivered");
                "failed"
            }
        };
        outcome.with_label_values(&[label]).inc();
        drop(landing);
    });
    Some(landed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_use_up_what_others_may_send() {
        let (lost, mut heard) = LostCancels::new();
        let from = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        let one = || LostCancel { pid: 1, secret: Box::default(), done: oneshot::channel().0 };
        let flood = (0..1_000).filter(|_| lost.hand_on(from(1), one())).count();
        assert!((20..30).contains(&flood), "{flood}");
        assert!((2..40).any(|n| lost.hand_on(from(n), one())));
        assert!(heard.try_recv().is_ok());
    }
}
