//! Nobody stands beside what is there for want of somebody to hand it out.

use std::time::Instant;

use super::bed::{Bed, ask, cap, lease_of, slot_of, waits};
use super::fake::{Fake, tenant};
use crate::fault::{Blame, Fault, SqlState};
use crate::pool::{Asker, Attempt, Class, FullOf, Grant, Lease, Membership, Slot, Ticket};

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

fn idle(bed: &Bed) -> u32 {
    bed.pools.room(&tenant(0)).expect("open").idle
}

#[test]
fn an_idle_server_of_another_login_makes_room_at_postgresqls_limit() {
    let bed = Bed::new(20);
    let member = bed.enter(0, &cap(10));
    let mut leases: Vec<_> = (0..9).map(|_| bed.dialed(&member, 0)).collect();
    let mut other = dials_as(&member, 1, bed.at(1)).refused_full_at(FullOf::Tenant, bed.at(2));
    let mut app = waits(&member, bed.at(3));
    leases.drain(..4).for_each(|lease| lease.finish_at(bed.at(4)));
    assert_eq!((bed.closing(), idle(&bed)), (1, 3), "one makes room, and no more than one");
    assert_eq!(bed.hang_up(5), 1);
    let theirs = bed.dial(slot_of(&mut other), 6);
    drop((lease_of(&mut app), theirs, leases));
}

/// The login itself may have a limit, or somebody else take what comes free.
#[test]
fn servers_that_would_make_room_in_vain_are_kept() {
    let bed = Bed::new(20);
    let member = bed.enter(0, &cap(10));
    let leases: Vec<_> = (0..9).map(|_| bed.dialed(&member, 0)).collect();
    for lease in leases {
        lease.finish_at(bed.at(0));
    }
    let mut other = dials_as(&member, 1, bed.at(1)).refused_full_at(FullOf::Tenant, bed.at(1));
    let mut more: Vec<_> = (0..5).map(|_| waits_as(&member, 1, bed.at(2))).collect();
    let (mut closed, mut by_second) = (0, Vec::new());
    for ms in 2..6_002 {
        closed += bed.hang_up(ms);
        bed.pools.tick(bed.at(ms));
        for ticket in more.iter_mut().chain([&mut other]) {
            if let Some(Ok(Grant::Dial(slot))) = ticket.claim() {
                *ticket = slot.refused_full_at(FullOf::Tenant, bed.at(ms));
            }
        }
        if ms % 1_000 == 0 {
            by_second.push(closed);
        }
    }
    assert!(by_second[0] == 1 && by_second[5] <= 3, "{by_second:?}");
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

#[test]
fn who_was_refused_for_fullness_after_a_suspension_is_told_of_it() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    let Attempt::Dial(slot) = ask(&member, bed.at(0)) else { panic!("dials") };
    bed.pools.suspend(&tenant(0));
    let mut ticket = slot.refused_full_at(FullOf::Tenant, bed.at(1));
    let Some(Err(fault)) = ticket.claim() else { panic!("refused") };
    assert_eq!(fault.state(), SqlState::CANNOT_CONNECT_NOW);
    drop(ticket);
    let room = bed.pools.room(&tenant(0)).expect("open");
    assert_eq!((room.waiting, room.used()), (0, 0));
}

#[test]
fn promised_slots_leave_half_of_the_dials_to_others() {
    let bed = Bed::new(20);
    let (before, after, other) =
        (bed.enter(0, &cap(20)), bed.enter(1, &cap(20)), bed.enter(2, &cap(5)));
    let held: Vec<_> = (0..20).map(|_| bed.dialed(&before, 0)).collect();
    let mut line: Vec<_> = (0..20).map(|_| waits(&after, bed.at(1))).collect();
    for lease in held {
        lease.destroy_at(bed.at(2));
    }
    assert_eq!(bed.hang_up(3), 20);
    let mut slots: Vec<_> = line.iter_mut().filter_map(granted).collect();
    assert_eq!(slots.len(), 8, "half of pool.dial_max");
    let Attempt::Dial(theirs) = ask(&other, bed.at(4)) else { panic!("half is left") };
    let mut leases = Vec::new();
    while let Some(slot) = slots.pop() {
        leases.push(bed.dial(slot, 5));
        slots.extend(line.iter_mut().filter_map(granted));
    }
    assert_eq!(leases.len(), 19, "no slot is lost by waiting");
    drop(theirs);
}

fn granted(ticket: &mut Ticket<Fake>) -> Option<Slot<Fake>> {
    match ticket.claim()? {
        Ok(Grant::Dial(slot)) => Some(slot),
        _ => panic!("expected the right to dial"),
    }
}
