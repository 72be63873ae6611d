//! This process among others of its registry: what the rooms have to say to them, and what the
//! others say to the rooms.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use super::Built;
use super::applying::Applying;
use crate::control::peers::{NOTICES_MAX, Notice, Peers};
use crate::ident::TenantId;
use crate::pool::{Claim, News};
use crate::session::LostCancel;

/// News that wait to be told.
const NEWS_MAX: usize = 4_096;

/// Rooms that wait for PostgreSQL to be asked about their tenants' limits. A room that does not
/// fit keeps to its part of the cap.
const OPENED_MAX: usize = 4_096;

/// What is said at once is said together.
const GATHER: Duration = Duration::from_millis(1);

/// Tells the other processes what the rooms have to say, for ever.
pub(super) async fn tell(built: Arc<Built>, peers: Peers, opened: mpsc::Sender<TenantId>) {
    let (report, mut news) = mpsc::channel(NEWS_MAX);
    built.pools.report_to(report);
    let lost = built.lost_cancels.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut lost) = lost else { return };
    loop {
        let first = tokio::select! {
            Some(news) = news.recv() => read(&peers, news, &opened),
            Some(cancel) = lost.recv() => cancelled(&built, &peers, cancel),
            else => return,
        };
        let mut notices: Vec<Notice> = first.into_iter().collect();
        if notices.is_empty() {
            continue;
        }
        tokio::time::sleep(GATHER).await;
        while notices.len() < NOTICES_MAX {
            let more = match (news.try_recv(), lost.try_recv()) {
                (Err(_), Err(_)) => break,
                (news, cancel) => {
                    let news = news.ok().and_then(|news| read(&peers, news, &opened));
                    let cancel = cancel.ok().and_then(|c| cancelled(&built, &peers, c));
                    news.into_iter().chain(cancel)
                }
            };
            notices.extend(more);
        }
        notices.dedup();
        if let Err(fault) = peers.say(&notices).await {
            tracing::debug!(%fault, cause = fault.cause(), "the other processes were not told");
        }
    }
}

fn read(peers: &Peers, news: News, opened: &mpsc::Sender<TenantId>) -> Option<Notice> {
    match news {
        News::Opened(tenant) => {
            let _ = opened.try_send(tenant);
            None
        }
        News::Wants { tenant, held, wants } => Some(peers.wants(&tenant, held, wants)),
        News::Freed(tenant) => Some(peers.freed(&tenant)),
    }
}

fn cancelled(built: &Built, peers: &Peers, lost: LostCancel) -> Option<Notice> {
    if !built.pools.has_peers() {
        return None;
    }
    let proof = peers.proof(lost.pid, &lost.secret);
    built.elsewhere.wait(proof.clone(), lost.done);
    Some(peers.cancel(lost.pid, proof))
}

/// Cancel requests that another process is at, by what proves them.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<HashMap<String, Vec<oneshot::Sender<()>>>>);

impl Elsewhere {
    fn wait(&self, proof: String, done: oneshot::Sender<()>) {
        let mut all = lock(&self.0);
        // Who waited has left by itself: they are few, as cancels for strangers are slowed.
        all.retain(|_, waiting| {
            waiting.retain(|one| !one.is_closed());
            !waiting.is_empty()
        });
        all.entry(proof).or_default().push(done);
    }

    fn is_over(&self, proof: &str) {
        let waiting = lock(&self.0).remove(proof);
        drop(waiting);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rooms that were opened, to be looked after by [`hold_caps`].
pub(super) fn opened() -> (mpsc::Sender<TenantId>, mpsc::Receiver<TenantId>) {
    mpsc::channel(OPENED_MAX)
}

/// Has PostgreSQL hold the cap of every tenant whose room is opened, for ever.
pub(super) async fn hold_caps(built: Arc<Built>, mut opened: mpsc::Receiver<TenantId>) {
    while let Some(id) = opened.recv().await {
        if let Some(applying) = Applying::cap(&built, &id) {
            applying.apply(&built);
        }
    }
}

/// Takes in what another process says.
pub(super) fn hear(built: &Arc<Built>, peers: &Peers, notice: Notice) {
    if notice.from() == &**peers.id() {
        return;
    }
    match notice {
        Notice::Wants { from, tenant, held, wants } => {
            let Ok(tenant) = TenantId::parse(&tenant) else { return };
            let to = Arc::clone(peers.id());
            built.pools.hear_claim(&tenant, &Claim { from, to, held, wants, round: round() });
        }
        Notice::Freed { tenant, .. } => {
            if let Ok(tenant) = TenantId::parse(&tenant) {
                built.pools.hear_freed(&tenant);
            }
        }
        Notice::Cancel { pid, proof, .. } => {
            let Some(landed) = built.shared.cancel(pid, |s| peers.proves(&proof, pid, s)) else {
                return;
            };
            let peers = peers.clone();
            tokio::spawn(async move {
                landed.await;
                if let Err(fault) = peers.say(&[peers.cancelled(proof)]).await {
                    tracing::debug!(%fault, cause = fault.cause(), "the process that was asked to cancel was not told");
                }
            });
        }
        Notice::Cancelled { proof, .. } => built.elsewhere.is_over(&proof),
    }
}

/// The same number in all processes, as far as their clocks agree.
fn round() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis() / Claim::ROUND.as_millis()).unwrap_or(0)
}
