//! A backend may never end: its query traps the cancel, its host is gone. The slot stays its
//! tenant's, and nobody waits for it.

use std::time::Duration;

use super::bed::{Bed, ask, cap, slot_of, waits};
use super::fake::Fake;
use crate::pool::deeds::Deeds;
use crate::pool::{Asker, Attempt, Claim, Class, Grant, Lease, Limits, Membership, Slot, Ticket};
use crate::units::Span;

/// A tenant with a server that never ends.
fn sticks(bed: &Bed, servers: usize, ms: u64) -> Membership<Fake> {
    let member = bed.enter(0, &cap(20));
    let held: Vec<_> = (0..servers).map(|_| bed.dialed(&member, ms)).collect();
    for lease in held {
        lease.destroy_at(bed.at(ms));
    }
    member
}

#[test]
fn servers_that_never_end_hold_up_no_other_s_move() {
    let bed = Bed::new(20);
    let calm = bed.enter(1, &cap(20));
    let lent: Vec<_> = (0..4).map(|_| bed.dialed(&calm, 0)).collect();
    for lease in lent {
        lease.finish_at(bed.at(1));
    }
    let _stuck = sticks(&bed, 16, 190);
    let others: Vec<_> = (2..20).map(|n| bed.enter(n, &cap(5))).collect();
    let mut line: Vec<_> = others.iter().map(|other| waits(other, bed.at(200))).collect();
    bed.pools.tick(bed.at(250));
    assert_eq!(bed.closing(), 18, "sixteen are about to end");
    bed.pools.tick(bed.at(5_000));
    assert_eq!(bed.closing(), 20, "all of the calm tenant's are moved");
    // Those who came first are the first to be served, promised in vain or not.
    bed.hang_up_but(16, 5_001);
    let served: Vec<_> = line.iter_mut().map(|t| t.claim().is_some()).collect();
    assert!(served.iter().take(4).all(|s| *s), "{served:?}");
}

#[test]
fn a_slot_that_does_not_come_free_is_promised_for_a_turn_only() {
    let bed = Bed::new(2);
    let calm = bed.enter(1, &cap(5));
    let lease = bed.dialed(&calm, 0);
    let _stuck = sticks(&bed, 1, 0);
    lease.finish_at(bed.at(10));
    let other = bed.enter(2, &cap(5));
    let mut ticket = waits(&other, bed.at(20));
    bed.pools.tick(bed.at(150));
    assert_eq!(bed.closing(), 1, "it may end yet");
    bed.pools.tick(bed.at(300));
    assert_eq!(bed.hang_up_but(1, 301), 1, "the idle server is moved");
    drop(slot_of(&mut ticket));
}

#[test]
fn where_no_server_ends_few_are_moved_in_vain() {
    let bed = Bed::new(20);
    let calm = bed.enter(1, &cap(20));
    let lent: Vec<_> = (0..20).map(|_| bed.dialed(&calm, 0)).collect();
    for lease in lent {
        lease.finish_at(bed.at(1));
    }
    let other = bed.enter(2, &Limits { queue_timeout: Span::secs(600), ..cap(5) });
    let mut ticket = waits(&other, bed.at(200));
    for ms in (200..10_000).step_by(50) {
        bed.pools.tick(bed.at(ms));
    }
    let closing = bed.closing();
    assert!((2..=7).contains(&closing), "{closing} in ten seconds");
    bed.hang_up_but(closing - 1, 10_000);
    drop(slot_of(&mut ticket));
}

/// What a tenant's only client is doing.
enum Client {
    Waits(Ticket<Fake>, u64),
    Dials(Slot<Fake>),
    Works(Lease<Fake>, u64),
}

impl Client {
    fn asks(member: &Membership<Fake>, bed: &Bed, ms: u64) -> Self {
        match ask(member, bed.at(ms)) {
            Attempt::Wait(ticket) => Self::Waits(ticket, ms),
            Attempt::Dial(slot) => Self::Dials(slot),
            Attempt::Ready(lease) => Self::Works(lease, ms + 20),
        }
    }

    /// Five milliseconds pass. How long it has waited, if it waits.
    fn step(self, member: &Membership<Fake>, bed: &Bed, ms: u64) -> (Self, u64) {
        match self {
            Self::Waits(mut ticket, since) => match ticket.claim() {
                None => (Self::Waits(ticket, since), ms - since),
                Some(Ok(Grant::Dial(slot))) => (Self::Dials(slot), 0),
                Some(Ok(Grant::Lease(lease))) => (Self::Works(lease, ms + 20), 0),
                Some(Err(fault)) => panic!("refused: {fault:?}"),
            },
            Self::Dials(slot) => (Self::Works(bed.dial(slot, ms), ms + 20), 0),
            Self::Works(lease, until) if until > ms => (Self::Works(lease, until), 0),
            Self::Works(lease, _) => {
                lease.finish_at(bed.at(ms));
                (Self::asks(member, bed, ms), 0)
            }
        }
    }
}

#[test]
fn busy_tenants_take_turns_beside_servers_that_never_end() {
    const STUCK: usize = 3;
    let bed = Bed::new(5);
    let limits = Limits { queue_timeout: Span::secs(600), ..cap(5) };
    let members: Vec<_> = (1..8).map(|n| bed.enter(n, &limits)).collect();
    let _stuck = sticks(&bed, STUCK, 0);
    let mut clients: Vec<_> = members.iter().map(|m| Client::asks(m, &bed, 1)).collect();
    let mut longest = [0; 7];
    for ms in (5..30_000).step_by(5) {
        bed.hang_up_but(STUCK, ms);
        bed.pools.tick(bed.at(ms));
        let step = |(n, client): (usize, Client)| {
            let (client, waited) = client.step(&members[n], &bed, ms);
            longest[n] = waited.max(longest[n]);
            client
        };
        clients = clients.into_iter().enumerate().map(step).collect();
    }
    // Seven on two slots, for 200 ms each.
    assert!(longest.iter().all(|ms| *ms < 1_500), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_is_not_kept_is_taken_back_by_the_housekeeping() {
    let bed = Bed::new(2);
    let keeper = bed.pools.clone();
    let _keeping = tokio::spawn(async move { keeper.keep().await });
    let calm = bed.enter(1, &cap(5));
    let lease = bed.dialed(&calm, 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stuck = bed.enter(0, &cap(5));
    let Ok(Attempt::Dial(slot)) = stuck.room().lease(Class::ONLY, &Asker::STRANGER) else {
        panic!("dials")
    };
    bed.dial(slot, 1).destroy();
    lease.finish();
    let other = bed.enter(2, &cap(5));
    let Ok(Attempt::Wait(mut ticket)) = other.room().lease(Class::ONLY, &Asker::STRANGER) else {
        panic!("waits")
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bed.hang_up_but(1, 301), 1, "the idle server is moved within a turn");
    drop(slot_of(&mut ticket));
}

#[test]
fn a_server_that_never_ends_holds_up_no_other_login_of_its_tenant() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(2));
    let lease = bed.dialed(&member, 0);
    bed.dialed(&member, 0).destroy_at(bed.at(0));
    lease.finish_at(bed.at(1));
    let reader = Class::new(1);
    let attempt = member.room().lease_at(reader, &Asker::STRANGER, bed.at(2)).expect("no refusal");
    let Attempt::Wait(mut ticket) = attempt else { panic!("the cap is reached") };
    bed.pools.tick(bed.at(200));
    assert_eq!(bed.closing(), 1, "it may end yet");
    bed.pools.tick(bed.at(300));
    assert_eq!(bed.hang_up_but(1, 301), 1, "the idle server makes room");
    assert_eq!(slot_of(&mut ticket).class(), reader);
}

#[test]
fn a_server_that_never_ends_is_none_for_another_process() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(4));
    let lease = bed.dialed(&member, 0);
    bed.dialed(&member, 0).destroy_at(bed.at(0));
    lease.finish_at(bed.at(1));
    let claims = |ms| {
        let claim = Claim { from: "a".into(), to: "me".into(), held: 0, wants: 1, round: 0 };
        let mut deeds = Deeds::new();
        member.room().hear_claim(&claim, bed.at(ms), &mut deeds);
        deeds.perform(bed.at(ms));
        bed.closing()
    };
    assert_eq!((claims(100), claims(300)), (1, 2));
}
