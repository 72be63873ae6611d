//! Nobody stands beside what is there for want of somebody to hand it out.

use std::time::Instant;

use super::bed::{Bed, cap, lease_of, slot_of, waits};
use super::fake::Fake;
use crate::fault::{Blame, Fault, SqlState};
use crate::pool::{Asker, Attempt, Class, Lease, Membership, Slot, Ticket};

fn ask_as(member: &Membership<Fake>, login: usize, now: Instant) -> Attempt<Fake> {
    member.room().lease_at(Class::new(login), &Asker::STRANGER, now).expect("not refused")
}

fn waits_as(member: &Membership<Fake>, login: usize, now: Instant) -> Ticket<Fake> {
    let Attempt::Wait(ticket) = ask_as(member, login, now) else { panic!("expected to wait") };
    ticket
}

fn dials_as(member: &Membership<Fake>, login: usize, now: Instant) -> Slot<Fake> {
    let Attempt::Dial(slot) = ask_as(member, login, now) else { panic!("expected to dial") };
    slot
}

fn unreachable() -> Fault {
    Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, "refused")
}

#[test]
fn who_stands_behind_a_granted_dial_gets_the_idle_server_that_fits() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(5));
    let lease = bed.dialed(&member, 0);
    dials_as(&member, 1, bed.at(1)).failed_at(&unreachable(), bed.at(2));
    let mut other = waits_as(&member, 1, bed.at(3));
    lease.finish_at(bed.at(4));
    let mut app = [waits(&member, bed.at(5)), waits(&member, bed.at(6))];
    assert!(app[0].claim().is_none(), "first come, first served");
    bed.pools.tick(bed.at(1_000));
    let slot = slot_of(&mut other);
    let lease = lease_of(&mut app[0]);
    assert!(app[1].claim().is_none(), "there was one only");
    drop((slot, lease));
}

#[test]
fn a_failed_dial_is_told_to_those_of_its_login_without_a_server() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(5));
    let lease: Lease<Fake> = bed.dialed(&member, 0);
    dials_as(&member, 1, bed.at(1)).failed_at(&unreachable(), bed.at(2));
    let mut probe = waits_as(&member, 1, bed.at(3));
    lease.finish_at(bed.at(4));
    bed.pools.tick(bed.at(1_000));
    let slot = slot_of(&mut probe);
    let mut same = waits_as(&member, 1, bed.at(1_001));
    let mut app = [waits(&member, bed.at(1_002)), waits(&member, bed.at(1_003))];
    let mut third = waits_as(&member, 2, bed.at(1_004));
    slot.failed_at(&unreachable(), bed.at(1_005));
    assert!(matches!(same.claim(), Some(Err(_))), "its login failed");
    let lease = lease_of(&mut app[0]);
    lease.finish_at(bed.at(1_006));
    let lease = lease_of(&mut app[1]);
    assert!(third.claim().is_none(), "its login has not failed");
    bed.pools.tick(bed.at(3_000));
    drop((slot_of(&mut third), lease));
}
