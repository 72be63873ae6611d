//! A pool on a simulated clock, and short words for what a client does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fake::{Fake, Postgres, fake, tenant, way};
use crate::fault::{Fault, SqlState};
use crate::pool::deeds::Deeds;
use crate::pool::{
    Asker, Attempt, Class, Grant, Lease, Limits, Membership, PinSettings, PoolSettings, Pools,
    Slot, Ticket, lock,
};

pub(super) struct Bed {
    pub(super) pools: Pools<Fake>,
    postgres: Arc<Postgres>,
    start: Instant,
}

impl Bed {
    pub(super) fn new(budget: u32) -> Self {
        let pool = PoolSettings { server_budget: budget, ..PoolSettings::default() };
        let pools = Pools::new(pool, PinSettings::default()).expect("fine");
        Self { pools, postgres: Postgres::slow(), start: Instant::now() }
    }

    pub(super) fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    pub(super) fn enter(&self, n: usize, limits: &Limits) -> Membership<Fake> {
        self.pools.enter_at(&tenant(n), &way(), limits, self.start).expect("admitted")
    }

    pub(super) fn dial(&self, slot: Slot<Fake>, ms: u64) -> Lease<Fake> {
        let hold = self.postgres.connect("any", 1_000, 1_000);
        let class = slot.class();
        slot.opened_at(fake(class, hold), self.at(ms))
    }

    /// A lease that must be had by dialing.
    pub(super) fn dialed(&self, member: &Membership<Fake>, ms: u64) -> Lease<Fake> {
        match ask(member, self.at(ms)) {
            Attempt::Dial(slot) => self.dial(slot, ms),
            _ => panic!("expected the right to dial"),
        }
    }

    /// How many connections have not reached theirs.
    pub(super) fn closing(&self) -> usize {
        lock(&self.postgres.closing).len()
    }

    /// All closing connections reach their end of file.
    pub(super) fn hang_up(&self, ms: u64) -> usize {
        self.hang_up_but(0, ms)
    }

    /// All but the `stuck` ones that were closed first.
    pub(super) fn hang_up_but(&self, stuck: usize, ms: u64) -> usize {
        let mut closing = lock(&self.postgres.closing);
        let stuck = stuck.min(closing.len());
        let ended = closing.split_off(stuck);
        drop(closing);
        let count = ended.len();
        for (hold, slot) in ended {
            drop(hold);
            let mut deeds = Deeds::new();
            slot.end(self.at(ms), &mut deeds);
            deeds.perform(self.at(ms));
        }
        count
    }
}

pub(super) fn ask(member: &Membership<Fake>, now: Instant) -> Attempt<Fake> {
    member.room().lease_at(Class::ONLY, &Asker::STRANGER, now).expect("not refused")
}

pub(super) fn waits(member: &Membership<Fake>, now: Instant) -> Ticket<Fake> {
    match ask(member, now) {
        Attempt::Wait(ticket) => ticket,
        _ => panic!("expected a place in line"),
    }
}

pub(super) fn ready(attempt: Attempt<Fake>) -> Lease<Fake> {
    match attempt {
        Attempt::Ready(lease) => lease,
        _ => panic!("expected an idle server"),
    }
}

pub(super) fn lease_of(ticket: &mut Ticket<Fake>) -> Lease<Fake> {
    match ticket.claim() {
        Some(Ok(Grant::Lease(lease))) => lease,
        _ => panic!("expected a server"),
    }
}

pub(super) fn slot_of(ticket: &mut Ticket<Fake>) -> Slot<Fake> {
    match ticket.claim() {
        Some(Ok(Grant::Dial(slot))) => slot,
        _ => panic!("expected the right to dial"),
    }
}

pub(super) fn cap(server_max: u32) -> Limits {
    Limits { server_max, ..Limits::default() }
}

pub(super) fn told(fault: &Fault, state: SqlState, parts: &[&str]) {
    assert_eq!(fault.state(), state, "{fault:?}");
    let detail = fault.detail_text().unwrap_or_default();
    for part in parts {
        assert!(detail.contains(part), "`{part}` is not in `{detail}`");
    }
}
