//! Clients that wait for too long, by the room's alarm.

use super::bed::{Bed, ask, cap, lease_of, slot_of, told, waits};
use super::fake::Fake;
use crate::fault::{Fault, SqlState};
use crate::pool::{Asker, Attempt, Class, Grant, Limits, Ticket};
use crate::units::Span;

fn patience(ms: u64) -> Limits {
    Limits { queue_timeout: Span::millis(ms), ..cap(1) }
}

fn refused(ticket: &mut Ticket<Fake>) -> Fault {
    match ticket.claim() {
        Some(Err(fault)) => fault,
        Some(Ok(Grant::Lease(_) | Grant::Dial(_))) => panic!("served"),
        None => panic!("still in line"),
    }
}

#[test]
fn all_whose_time_is_up_are_told_and_no_others() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &patience(100));
    let lease = bed.dialed(&member, 0);
    let mut line: Vec<_> = [0, 10, 10, 30].map(|ms| waits(&member, bed.at(ms))).into();
    bed.pools.tick(bed.at(99));
    assert!(line.iter_mut().all(|ticket| ticket.claim().is_none()));
    bed.pools.tick(bed.at(110));
    for (n, ms) in [(0, 110), (1, 100), (2, 100)] {
        let parts = [format!("waited {ms} ms"), format!("position 1 of {}", 4 - n)];
        let parts = parts.each_ref().map(String::as_str);
        told(&refused(&mut line[n]), SqlState::TOO_MANY_CONNECTIONS, &parts);
    }
    assert!(line[3].claim().is_none());
    lease.finish_at(bed.at(120));
    let last = lease_of(&mut line[3]);
    assert_eq!(member.room().book().counts().waiting, 0);
    drop(last);
}

#[test]
fn a_room_that_is_dropped_takes_its_alarm_along() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &patience(60_000));
    let lease = bed.dialed(&member, 0);
    let mut line = waits(&member, bed.at(0));
    lease.finish_at(bed.at(1));
    lease_of(&mut line).destroy();
    assert_eq!(bed.hang_up(1), 1);
    bed.pools.sweep(bed.at(2));
    assert_eq!(bed.pools.next_alarm(), Some(bed.at(60_000)), "the room is there yet");
    drop((line, member));
    for ms in [3, 600_000] {
        bed.pools.sweep(bed.at(ms));
    }
    assert_eq!((bed.pools.rooms().len(), bed.pools.next_alarm()), (0, None));
}

#[test]
fn a_line_that_moves_on_is_looked_at_again_in_time() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &patience(100));
    let lease = bed.dialed(&member, 0);
    let mut first = waits(&member, bed.at(0));
    let mut second = waits(&member, bed.at(60));
    lease.finish_at(bed.at(61));
    let held = lease_of(&mut first);
    // The alarm was set for the one that has been served.
    bed.pools.tick(bed.at(100));
    assert!(second.claim().is_none());
    assert_eq!(bed.pools.next_alarm(), Some(bed.at(160)));
    bed.pools.tick(bed.at(160));
    told(&refused(&mut second), SqlState::TOO_MANY_CONNECTIONS, &["waited 100 ms"]);
    drop(held);
}

#[test]
fn a_line_that_is_never_empty_sets_no_more_alarms_than_it_needs() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &patience(5_000));
    let mut lease = bed.dialed(&member, 0);
    let mut line = std::collections::VecDeque::new();
    let mut asker = Asker::new();
    asker.set_returns(true);
    let mut most = 0;
    for now in (0..40_000).step_by(5) {
        // Somebody always waits, as long as they may.
        if now % 100 == 0 {
            line.push_back(waits(&member, bed.at(now)));
        }
        // Put aside for its session for a moment, so that the line has to be looked at again.
        lease.finish_for_at(&mut asker, true, bed.at(now));
        lease = match member.room().lease_at(Class::ONLY, &asker, bed.at(now)) {
            Ok(Attempt::Ready(lease)) => lease,
            _ => panic!("it has its server again"),
        };
        (now..now + 5).for_each(|ms| bed.pools.tick(bed.at(ms)));
        line.retain_mut(|ticket| ticket.claim().is_none());
        most = most.max(bed.pools.0.common.alarms());
    }
    assert!(most < 150, "{most} alarms");
}

#[test]
fn a_server_that_died_while_it_was_put_aside_is_not_given_to_the_line() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    let mut lease = bed.dialed(&member, 0);
    let mut ticket = waits(&member, bed.at(0));
    lease.is_alive = false;
    lease.finish_for_at(&mut Asker::new(), true, bed.at(1));
    assert!(ticket.claim().is_none());
    bed.pools.tick(bed.at(52));
    assert_eq!((ticket.position(), bed.hang_up(53)), (Some(0), 1));
    drop(slot_of(&mut ticket));
}

#[test]
fn a_changed_patience_is_that_of_those_who_wait_too() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &patience(0));
    let lease = bed.dialed(&member, 0);
    let mut ticket = waits(&member, bed.at(0));
    assert_eq!(bed.pools.next_alarm(), None, "for ever");
    let mut deeds = crate::pool::deeds::Deeds::new();
    member.room().relimit(&patience(50), bed.at(10), &mut deeds);
    deeds.perform(bed.at(10));
    assert_eq!(bed.pools.next_alarm(), Some(bed.at(50)));
    bed.pools.tick(bed.at(50));
    told(&refused(&mut ticket), SqlState::TOO_MANY_CONNECTIONS, &["waited 50 ms"]);
    drop(lease);
}

#[test]
fn who_is_refused_by_postgresql_has_waited_all_the_while() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &patience(100));
    let Attempt::Dial(slot) = ask(&member, bed.at(0)) else { panic!("dials") };
    let mut ticket = slot.refused_full_at(crate::pool::FullOf::Tenant, bed.at(90));
    bed.pools.tick(bed.at(100));
    let why = ["tenant's database", "waited 100 ms"];
    told(&refused(&mut ticket), SqlState::TOO_MANY_CONNECTIONS, &why);
}

#[test]
fn a_pause_hides_no_wait_that_is_over() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &patience(100));
    bed.pools.pause(None);
    let mut ticket = waits(&member, bed.at(0));
    bed.pools.tick(bed.at(100));
    told(&refused(&mut ticket), SqlState::CANNOT_CONNECT_NOW, &["100 ms", "position 1 of 1"]);
    bed.pools.unpause(None);
    let Attempt::Dial(slot) = ask(&member, bed.at(101)) else { panic!("dials") };
    drop(slot);
    let mut next = match ask(&member, bed.at(102)) {
        Attempt::Wait(ticket) => ticket,
        Attempt::Dial(slot) => return drop(slot),
        Attempt::Ready(_) => panic!("nothing is idle"),
    };
    drop(slot_of(&mut next));
}
