//! Who is logged in: for cutting sessions, for cancel requests, for the console.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use futures_util::task::AtomicWaker;

use super::cancel::Pace;
use super::clock::{Clock, Overdue};
use super::cut::Cut;
use super::known::{Known, MadeUp};
use crate::auth::Identity;
use crate::ident::{Role, TenantId};
use crate::pool::{Timeout, Timeouts};
use crate::server::{CancelGate, InFlight, ToldPid};
use crate::wire::CancelKey;

/// One live session as seen from outside.
#[derive(Debug)]
pub struct Card {
    identity: Identity,
    role: Role,
    /// By which way its servers are dialled.
    mark: u64,
    key: CancelKey,
    peer: Option<SocketAddr>,
    since: SystemTime,
    /// 0, or one more than the place of the reason in [`Cut::ALL`].
    cut: AtomicU8,
    waker: AtomicWaker,
    /// The server that runs this client's query now.
    serving: Mutex<Option<Arc<CancelGate>>>,
    clock: Clock,
    timeouts: Arc<Timeouts>,
    cancels: Pace,
    /// Since when it waits for a server.
    waits: Mutex<Option<Instant>>,
}

/// Each cancel costs PostgreSQL a fork: a session may send one every so often, in the long run, and
/// so many at once.
const CANCELS: (Duration, u64) = (Duration::from_millis(50), 20);

impl Card {
    /// Whether its token has expired.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.identity.expires_at().is_some_and(|end| end <= now)
    }

    /// Whose session it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// As which role it works; less than its token says where its tenant has not paid.
    pub fn role(&self) -> Role {
        self.role
    }

    /// By which way its servers are dialled; see [`crate::pool::Way`].
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// Where it comes from; `None` for a unix socket or the sidecar.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// When it logged in.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// The process id the client was told.
    pub fn pid(&self) -> i32 {
        self.key.pid
    }

    /// The server that runs its query or transaction now, if it has one.
    pub fn server(&self) -> Option<Arc<CancelGate>> {
        self.serving().clone()
    }

    /// Since when it has waited for a server, if it does.
    pub fn waits_since(&self) -> Option<Instant> {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It begins to wait, or does so no more.
    pub(super) fn waits(&self, since: Option<Instant>) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// What the client must show to cancel.
    pub(super) fn key(&self) -> &CancelKey {
        &self.key
    }

    /// Ends the session. The first reason given stands, but for one that may pass.
    pub fn cut(&self, why: Cut) {
        let stands = |code| Cut::of_code(code).is_some_and(|first| !first.may_pass());
        let code = |first: u8| (!stands(first)).then_some(why.code());
        let _ = self.cut.fetch_update(Ordering::AcqRel, Ordering::Acquire, code);
        self.waker.wake();
    }

    /// The reason has passed; another that was given since stands.
    pub(super) fn pardon(&self, why: Cut) {
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let _ = self.cut.compare_exchange(why.code(), 0, order.0, order.1);
    }

    /// What the session is at.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What of it takes too long now.
    pub(super) fn overdue(&self) -> Option<Overdue> {
        if self.timeouts.any() { self.clock.overdue(&self.timeouts) } else { None }
    }

    /// The reason the session has to end, if there is one.
    pub(super) fn pending_cut(&self) -> Option<Cut> {
        Cut::of_code(self.cut.load(Ordering::Acquire))
    }

    /// Wakes the task when there is another than was `seen`.
    pub(super) fn watch_cut(&self, cx: &mut Context<'_>, seen: Option<Cut>) {
        self.waker.register(cx.waker());
        if self.pending_cut() != seen {
            cx.waker().wake_by_ref();
        }
    }

    /// The reason a session that is not idle has to end, once there is one. That its token has
    /// expired is none where it `outlives` that.
    pub(super) fn poll_cut(&self, cx: &mut Context<'_>, outlives: bool) -> Poll<Cut> {
        loop {
            let cut = self.pending_cut();
            match cut {
                // It was idle when it was looked.
                Some(why @ Cut::Overdue(Timeout::ClientIdle | Timeout::IdleInTransaction)) => {
                    self.pardon(why);
                }
                Some(why) if !(outlives && why == Cut::Expired) => return Poll::Ready(why),
                _ => {
                    self.watch_cut(cx, cut);
                    return Poll::Pending;
                }
            }
        }
    }

    /// From now on a cancel of this session goes to `gate`'s server.
    pub(super) fn served_by(&self, gate: &Arc<CancelGate>) {
        gate.go_by(self.pid());
        *self.serving() = Some(Arc::clone(gate));
    }

    /// From now on a cancel of this session goes nowhere. A cancel that was let through before
    /// shows on the gate.
    pub(super) fn served_by_nobody(&self) {
        *self.serving() = None;
    }

    /// The server to cancel on, counted in while the session surely holds it.
    pub(super) fn begin_cancel(&self) -> Option<(Arc<CancelGate>, InFlight)> {
        let serving = self.serving();
        let gate = serving.as_ref()?;
        Some((Arc::clone(gate), gate.enter()))
    }

    /// Whether a cancel of this session is due, and not one of a flood.
    pub(super) fn may_cancel(&self) -> bool {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.cancels.allows(now, CANCELS)
    }

    fn serving(&self) -> MutexGuard<'_, Option<Arc<CancelGate>>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Shard = HashMap<i32, Vec<Arc<Card>>>;

/// All live sessions of the process, by the process id their clients were told.
#[derive(Debug)]
pub struct Roster {
    shards: Vec<Mutex<Shard>>,
    hash: RandomState,
    made_up: MadeUp,
}

/// Logins and logouts take one of these locks for a moment.
const SHARDS: usize = 64;

impl Default for Roster {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hash: RandomState::new(), made_up: MadeUp::default() }
    }
}

impl Roster {
    /// Enters a session. One on a server of its own is told that one's process id whoever else
    /// is known by it, on another PostgreSQL; no other two have the same.
    pub(super) fn enter(
        self: &Arc<Self>,
        (identity, role, mark): (Identity, Role, u64),
        peer: Option<SocketAddr>,
        known: Known,
        secret: Box<[u8]>,
        timeouts: Arc<Timeouts>,
    ) -> Entry {
        let (mut shard, pid, told) = self.place(known);
        let card = Arc::new(Card {
            identity,
            role,
            mark,
            key: CancelKey { pid, secret },
            peer,
            since: SystemTime::now(),
            cut: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            serving: Mutex::new(None),
            clock: Clock::default(),
            timeouts,
            cancels: Pace::default(),
            waits: Mutex::new(None),
        });
        shard.entry(pid).or_default().push(Arc::clone(&card));
        drop(shard);
        Entry { roster: Arc::clone(self), card, _told: told }
    }

    /// Where a session goes, and as whom. The shard is locked: nobody else is given that id.
    fn place(&self, known: Known) -> (MutexGuard<'_, Shard>, i32, Option<ToldPid>) {
        match known {
            Known::As(pid) => return (self.shard(pid), pid, None),
            Known::By(told) => {
                let (shard, pid) = (self.shard(told.pid()), told.pid());
                if !shard.contains_key(&pid) {
                    return (shard, pid, Some(told));
                }
            }
            Known::Otherwise => {}
        }
        loop {
            let pid = self.made_up.next();
            let shard = self.shard(pid);
            if !shard.contains_key(&pid) {
                return (shard, pid, None);
            }
        }
    }

    /// The session whose client was given this key. Secrets are compared in constant time.
    pub(super) fn find(&self, pid: i32, secret: &[u8]) -> Option<Arc<Card>> {
        let shard = self.shard(pid);
        let same = |card: &&Arc<Card>| verify_slices_are_equal(&card.key.secret, secret).is_ok();
        shard.get(&pid)?.iter().find(same).cloned()
    }

    /// The session with this process id whose secret `proves` it.
    pub(super) fn find_by(&self, pid: i32, proves: impl Fn(&[u8]) -> bool) -> Option<Arc<Card>> {
        let shard = self.shard(pid);
        shard.get(&pid)?.iter().find(|card| proves(&card.key.secret)).cloned()
    }

    /// Ends every session `which` picks; returns how many.
    pub fn cut(&self, why: Cut, which: impl Fn(&Card) -> bool) -> usize {
        let mut count = 0;
        self.each(|card| {
            if which(card) {
                card.cut(why);
                count += 1;
            }
        });
        count
    }

    /// Ends every session of a tenant; returns how many.
    pub fn cut_tenant(&self, why: Cut, tenant: &TenantId) -> usize {
        self.cut(why, |card| card.identity.tenant() == tenant)
    }

    /// Shows every session to `look`, shard by shard under its lock: keep it short.
    pub fn each(&self, mut look: impl FnMut(&Arc<Card>)) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().flatten().for_each(&mut look);
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        let mut count = 0;
        self.each(|_| count += 1);
        count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, pid: i32) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(self.hash.hash_one(pid) % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, card: &Arc<Card>) {
        let mut shard = self.shard(card.key.pid);
        if let Some(cards) = shard.get_mut(&card.key.pid) {
            cards.retain(|other| !Arc::ptr_eq(other, card));
            if cards.is_empty() {
                shard.remove(&card.key.pid);
            }
        }
        // Memory goes back after a storm.
        if shard.capacity() > 64 && shard.len() * 4 < shard.capacity() {
            shard.shrink_to_fit();
        }
    }
}

/// A session's place in the roster; left when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    roster: Arc<Roster>,
    card: Arc<Card>,
    /// Kept for as long as the client goes by it.
    _told: Option<ToldPid>,
}

impl Entry {
    pub(super) fn card(&self) -> &Arc<Card> {
        &self.card
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.roster.leave(&self.card);
    }
}

#[cfg(test)]
mod tests;
