//! What is held back: by an operator, or for other processes.

use std::time::Duration;

use super::bed::{Bed, ask, cap, ready, slot_of, told, waits};
use super::fake::{server, tenant, way};
use crate::fault::SqlState;
use crate::pool::{Asker, Attempt, Class, Limits, Place, Split};

#[test]
fn a_paused_tenant_gives_its_servers_back_and_waits() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(5));
    let (first, second) = (bed.dialed(&member, 0), bed.dialed(&member, 0));
    first.finish_at(bed.at(1));
    bed.pools.pause(Some(&tenant(0)));
    assert_eq!(bed.hang_up(2), 1, "the idle one is closed at once");
    let mut ticket = waits(&member, bed.at(3));
    second.finish_at(bed.at(4));
    assert_eq!(bed.hang_up(5), 1, "the leased one when its lease ends");
    assert!(ticket.claim().is_none());
    assert_eq!(bed.pools.room(&tenant(0)).expect("open").used(), 0);
    bed.pools.unpause(Some(&tenant(0)));
    let lease = bed.dial(slot_of(&mut ticket), 6);
    lease.finish_at(bed.at(7));
    ready(ask(&member, bed.at(8))).finish_at(bed.at(9));
}

#[test]
fn a_pause_of_one_tenant_is_no_pause_of_another() {
    let bed = Bed::new(10);
    let (one, other) = (bed.enter(0, &cap(5)), bed.enter(1, &cap(5)));
    bed.pools.pause(Some(&tenant(0)));
    let _ticket = waits(&one, bed.at(1));
    drop(bed.dialed(&other, 1));
    bed.pools.pause(None);
    bed.pools.unpause(Some(&tenant(0)));
    let mut tickets = (waits(&one, bed.at(2)), waits(&other, bed.at(2)));
    assert!(tickets.0.claim().is_none() && tickets.1.claim().is_none(), "all are paused");
}

#[test]
fn a_pause_outlives_the_room_it_was_put_on() {
    let bed = Bed::new(10);
    bed.pools.pause(Some(&tenant(0)));
    let member = bed.enter(0, &cap(5));
    let mut ticket = waits(&member, bed.at(1));
    assert!(ticket.claim().is_none());
    assert!(bed.pools.room(&tenant(0)).expect("open").paused);
    bed.pools.unpause(Some(&tenant(0)));
    drop(slot_of(&mut ticket));
    assert_eq!(bed.pools.held(&tenant(0)), (false, false));
}

#[test]
fn a_dial_that_fails_behind_a_pause_refuses_nobody() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    let Attempt::Dial(slot) = ask(&member, bed.at(0)) else { panic!("dials") };
    let mut ticket = waits(&member, bed.at(1));
    bed.pools.pause(None);
    slot.failed_at(&crate::pool::refusal::draining(), bed.at(2));
    assert!(ticket.claim().is_none());
    bed.pools.unpause(None);
    bed.pools.tick(bed.at(1_000));
    drop(slot_of(&mut ticket));
}

#[test]
fn a_wait_that_ends_behind_a_pause_says_so() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    bed.pools.pause(None);
    let fault = waits(&member, bed.at(1)).expire(bed.at(31)).err().expect("refused");
    told(&fault, SqlState::CANNOT_CONNECT_NOW, &["30 ms", "position 1 of 1"]);
    let limits = Limits { queue_max: 0, ..cap(1) };
    let other = bed.enter(1, &limits);
    let fault = other
        .room()
        .lease_at(Class::ONLY, &Asker::STRANGER, bed.at(2))
        .err()
        .expect("no place in line");
    assert_eq!(fault.state(), SqlState::TOO_MANY_CONNECTIONS);
}

#[test]
fn a_disabled_tenant_keeps_its_clients_and_gets_no_new_ones() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    bed.pools.disable(&tenant(0));
    let fault = bed.pools.enter(&tenant(0), &way(), &cap(1)).err().expect("refused");
    assert_eq!(fault.state(), SqlState::CANNOT_CONNECT_NOW);
    drop(bed.dialed(&member, 0));
    drop(bed.enter(1, &cap(1)));
    bed.pools.enable(&tenant(0));
    drop(bed.enter(0, &cap(1)));
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_complete_when_the_last_server_is_gone() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(2));
    let lease = bed.dialed(&member, 0);
    let pools = bed.pools.clone();
    pools.pause(None);
    let waiting = tokio::spawn(async move { pools.stilled(None).await });
    let soon = |bed: &Bed| {
        let pools = bed.pools.clone();
        async move {
            let long = Duration::from_secs(3_600);
            tokio::time::timeout(long, pools.stilled(None)).await.is_ok()
        }
    };
    assert!(!soon(&bed).await, "a lease is out");
    lease.finish_at(bed.at(1));
    assert!(!soon(&bed).await, "the end of file has not come");
    bed.hang_up(2);
    assert!(soon(&bed).await);
    waiting.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_pause_taken_back_is_waited_for_no_more() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(2));
    let _lease = bed.dialed(&member, 0);
    bed.pools.pause(None);
    let pools = bed.pools.clone();
    let waiting = tokio::spawn(async move { pools.stilled(None).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "a lease is out");
    bed.pools.unpause(None);
    let done = tokio::time::timeout(Duration::from_secs(3_600), waiting).await;
    done.expect("in time").expect("no panic");
}

#[test]
fn leases_and_transactions_are_counted() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(2));
    bed.dialed(&member, 0).finish_at(bed.at(5));
    ready(ask(&member, bed.at(100))).destroy_at(bed.at(107));
    member.room().count_transactions(3);
    let room = bed.pools.room(&tenant(0)).expect("open");
    assert_eq!((room.leases, room.transactions), (2, 3));
    assert_eq!(room.leased_time, Duration::from_millis(12));
}

#[test]
fn another_process_gets_its_part_of_the_budget_and_leaves_it_behind() {
    let bed = Bed::new(5);
    let member = bed.enter(0, &cap(5));
    bed.pools.set_split(split(1, 2));
    let leases: Vec<_> = (0..2).map(|_| bed.dialed(&member, 0)).collect();
    let mut ticket = waits(&member, bed.at(1));
    assert!(ticket.claim().is_none(), "two of five are this process's");
    let figures = || bed.pools.budgets().remove(0);
    assert_eq!((figures().total, figures().of_all, figures().used), (2, 5, 2));
    bed.pools.set_split(split(0, 1));
    drop(slot_of(&mut ticket));
    drop(leases);
    bed.pools.set_split(split(0, 4));
    bed.pools.set_budget(&server(), 9);
    assert_eq!((figures().total, figures().of_all), (3, 9));
}

fn split(rank: u32, parts: u32) -> Split {
    let place = |rank| Place { rank, parts, ..Place::alone() };
    let others = (0..parts).filter(|n| *n != rank).map(place).collect();
    Split { own: place(rank), others }
}
