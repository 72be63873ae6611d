//! One promise of the pool a test.

use super::bed::{Bed, ask, cap, lease_of, ready, slot_of, told, waits};
use super::fake::{tenant, way};
use crate::fault::{Blame, Fault, SqlState};
use crate::pool::{Asker, Attempt, Class, FullOf, Limits, Pin, PoolMetrics, Way};

#[test]
fn the_warmest_idle_server_is_lent_first() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(5));
    let (first, second) = (bed.dialed(&member, 0), bed.dialed(&member, 1));
    let id = second.id;
    first.finish_at(bed.at(2));
    second.finish_at(bed.at(3));
    assert_eq!(ready(ask(&member, bed.at(4))).id, id);
    assert_eq!(bed.pools.room(&tenant(0)).expect("open").idle, 1);
}

#[test]
fn a_dead_idle_server_is_not_lent() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(5));
    let mut lease = bed.dialed(&member, 0);
    lease.is_alive = false;
    lease.finish_at(bed.at(1));
    assert!(matches!(ask(&member, bed.at(2)), Attempt::Dial(_)));
    assert_eq!(bed.hang_up(3), 1);
}

#[test]
fn a_slot_is_held_until_the_end_of_file() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    bed.dialed(&member, 0).destroy_at(bed.at(1));
    let mut ticket = waits(&member, bed.at(2));
    assert!(ticket.claim().is_none(), "the old connection is still there");
    bed.hang_up(3);
    drop(slot_of(&mut ticket));
}

#[test]
fn clients_of_a_tenant_are_served_in_the_order_they_came() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    let mut lease = bed.dialed(&member, 0);
    let mut line: Vec<_> = (1..6).map(|ms| waits(&member, bed.at(ms))).collect();
    line.remove(2);
    for ticket in &mut line {
        assert_eq!(ticket.position(), Some(0));
        lease.finish_at(bed.at(10));
        lease = lease_of(ticket);
    }
}

#[test]
fn the_client_cap_refuses_with_its_figures() {
    let bed = Bed::new(10);
    let limits = Limits { client_max: 2, ..Limits::default() };
    let _present = (bed.enter(0, &limits), bed.enter(0, &limits));
    let fault = bed.pools.enter(&tenant(0), &way(), &limits).err().expect("refused");
    told(&fault, SqlState::TOO_MANY_CONNECTIONS, &["client_max: 2 of 2"]);
    assert_eq!(fault.blame(), Blame::Tenant);
}

#[test]
fn a_full_line_refuses_with_its_figures() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &Limits { queue_max: 1, ..cap(1) });
    let _lease = bed.dialed(&member, 0);
    let _ticket = waits(&member, bed.at(1));
    let fault =
        member.room().lease_at(Class::ONLY, &Asker::STRANGER, bed.at(2)).err().expect("refused");
    told(&fault, SqlState::TOO_MANY_CONNECTIONS, &["queue_max: 1 of 1", "1 of 1 server"]);
}

#[test]
fn a_wait_that_ends_at_the_tenants_cap_says_so() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(2));
    let _leases = (bed.dialed(&member, 0), bed.dialed(&member, 0));
    let _first = waits(&member, bed.at(1));
    let fault = waits(&member, bed.at(2)).expire(bed.at(502)).err().expect("refused");
    let parts = ["server_max: 2 of 2", "waited 500 ms", "position 2 of 2"];
    told(&fault, SqlState::TOO_MANY_CONNECTIONS, &parts);
    assert!(fault.hint_text().is_some());
}

#[test]
fn a_wait_that_ends_at_the_servers_budget_says_so() {
    let bed = Bed::new(2);
    let (one, other) = (bed.enter(0, &cap(5)), bed.enter(1, &cap(5)));
    let _leases = (bed.dialed(&one, 0), bed.dialed(&one, 0));
    let fault = waits(&other, bed.at(1)).expire(bed.at(31)).err().expect("refused");
    let parts = ["server_budget: 2 of 2", "0 by this tenant", "1 tenants are waiting", "30 ms"];
    told(&fault, SqlState::CONFIGURATION_LIMIT_EXCEEDED, &parts);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_times_out_by_itself() {
    let bed = Bed::new(10);
    let keeper = bed.pools.clone();
    let _keeping = tokio::spawn(async move { keeper.keep().await });
    let member = bed.enter(0, &cap(1));
    let _lease = bed.dialed(&member, 0);
    let Ok(Attempt::Wait(ticket)) = member.room().lease(Class::ONLY, &Asker::STRANGER) else {
        panic!("waits")
    };
    let fault = ticket.wait().await.err().expect("refused");
    told(&fault, SqlState::TOO_MANY_CONNECTIONS, &["waited 30"]);
    assert_eq!(bed.pools.room(&tenant(0)).expect("open").waiting, 0);
}

#[test]
fn what_was_on_its_way_to_a_client_that_left_goes_to_the_next() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    let lease = bed.dialed(&member, 0);
    let (first, mut second) = (waits(&member, bed.at(1)), waits(&member, bed.at(2)));
    lease.finish_at(bed.at(3));
    assert!(second.claim().is_none());
    drop(first);
    drop(lease_of(&mut second));
}

#[test]
fn another_class_gets_a_server_of_its_own() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(1));
    bed.dialed(&member, 0).finish_at(bed.at(1));
    let attempt =
        member.room().lease_at(Class::new(1), &Asker::STRANGER, bed.at(2)).expect("not refused");
    let Attempt::Wait(mut ticket) = attempt else { panic!("the cap is reached") };
    assert_eq!(bed.hang_up(3), 1, "the idle server of the other class makes room");
    assert_eq!(slot_of(&mut ticket).class(), Class::new(1));
}

#[test]
fn an_idle_server_of_the_tenant_furthest_above_its_share_is_evicted() {
    let bed = Bed::new(4);
    let (big, small, new) = (bed.enter(0, &cap(5)), bed.enter(1, &cap(5)), bed.enter(2, &cap(5)));
    let held: Vec<_> = (0..3).map(|_| bed.dialed(&big, 0)).collect();
    let held_small = bed.dialed(&small, 0);
    for lease in held {
        lease.finish_at(bed.at(1));
    }
    held_small.finish_at(bed.at(1));
    let mut ticket = waits(&new, bed.at(5_000));
    assert_eq!(bed.hang_up(5_001), 1);
    drop(slot_of(&mut ticket));
    let figures = |n| bed.pools.room(&tenant(n)).expect("open").idle;
    assert_eq!((figures(0), figures(1)), (2, 1));
}

#[test]
fn a_guaranteed_share_is_left_alone_and_is_given_first() {
    let bed = Bed::new(2);
    let sure = Limits { server_min: 1, ..cap(5) };
    let (sure, other) = (bed.enter(0, &sure), bed.enter(1, &cap(5)));
    bed.dialed(&sure, 0).finish_at(bed.at(1));
    let theirs = bed.dialed(&other, 2);
    let mut more = waits(&other, bed.at(500));
    bed.pools.tick(bed.at(900));
    assert_eq!(bed.hang_up(900), 0, "within its guaranteed share");
    bed.pools.tick(bed.at(1_100));
    assert_eq!(bed.hang_up(1_100), 1, "but not for ever");
    let slot = slot_of(&mut more);
    // Now the guaranteed one has none, and so goes before one that has waited longer.
    let _third = waits(&other, bed.at(1_101));
    let mut mine = waits(&sure, bed.at(1_102));
    theirs.finish_at(bed.at(1_103));
    bed.hang_up(1_104);
    drop((slot_of(&mut mine), slot));
}

#[test]
fn a_busy_tenant_gives_a_server_up_when_its_turn_is_over() {
    let bed = Bed::new(1);
    let (busy, other) = (bed.enter(0, &cap(5)), bed.enter(1, &cap(5)));
    let mut lease = bed.dialed(&busy, 0);
    let mut theirs = waits(&other, bed.at(1));
    let mut mine = waits(&busy, bed.at(2));
    lease.finish_at(bed.at(50));
    lease = lease_of(&mut mine);
    let mut mine = waits(&busy, bed.at(51));
    lease.finish_at(bed.at(1_000));
    assert!(mine.claim().is_none(), "its turn is over");
    bed.hang_up(1_001);
    let slot = slot_of(&mut theirs);
    let lease = bed.dial(slot, 1_002);
    let mut theirs = waits(&other, bed.at(1_003));
    lease.finish_at(bed.at(1_050));
    let lease = lease_of(&mut theirs);
    lease.finish_at(bed.at(2_500));
    bed.pools.tick(bed.at(2_800));
    bed.hang_up(2_801);
    drop(slot_of(&mut mine));
}

#[test]
fn lowered_limits_take_effect_at_once_and_as_leases_end() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(4));
    let mut leases: Vec<_> = (0..4).map(|_| bed.dialed(&member, 0)).collect();
    leases.remove(0).finish_at(bed.at(1));
    bed.pools.relimit(&tenant(0), &cap(2));
    assert_eq!(bed.hang_up(2), 1, "the idle one at once");
    leases.remove(0).finish_at(bed.at(3));
    assert_eq!(bed.hang_up(4), 1, "the excess as its lease ends");
    leases.remove(0).finish_at(bed.at(5));
    assert_eq!(bed.hang_up(6), 0);
    drop(ready(ask(&member, bed.at(7))));
}

#[test]
fn a_suspended_tenant_is_refused_and_keeps_nothing_idle() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(2));
    let lease = bed.dialed(&member, 0);
    bed.dialed(&member, 0).finish_at(bed.at(1));
    let busy = ready(ask(&member, bed.at(1)));
    let mut ticket = waits(&member, bed.at(1));
    bed.pools.suspend(&tenant(0));
    let Some(Err(fault)) = ticket.claim() else { panic!("refused") };
    assert_eq!(fault.state(), SqlState::CANNOT_CONNECT_NOW);
    let refused =
        member.room().lease_at(Class::ONLY, &Asker::STRANGER, bed.at(2)).err().expect("refused");
    assert_eq!(refused.state(), SqlState::CANNOT_CONNECT_NOW);
    assert!(bed.pools.enter(&tenant(0), &way(), &cap(2)).is_err());
    lease.finish_at(bed.at(3));
    busy.finish_at(bed.at(3));
    assert_eq!(bed.hang_up(4), 2);
    bed.pools.resume(&tenant(0));
    drop(bed.dialed(&member, 5));
}

#[test]
fn recycled_servers_are_not_lent_again() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(3));
    let busy = bed.dialed(&member, 0);
    bed.dialed(&member, 0).finish_at(bed.at(1));
    bed.pools.recycle(&tenant(0));
    assert_eq!(bed.hang_up(2), 1);
    busy.finish_at(bed.at(3));
    assert_eq!(bed.hang_up(4), 1);
}

#[test]
fn postgresql_being_full_puts_the_client_back_at_the_head() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(2));
    let held = bed.dialed(&member, 0);
    let Attempt::Dial(slot) = ask(&member, bed.at(1)) else { panic!("dials") };
    let mut second = waits(&member, bed.at(2));
    let mut first = slot.refused_full_at(FullOf::Tenant, bed.at(3));
    assert!(first.claim().is_none() && second.claim().is_none(), "dials pause");
    assert_eq!((first.position(), second.position()), (Some(0), Some(1)));
    held.finish_at(bed.at(4));
    let held = lease_of(&mut first);
    bed.pools.tick(bed.at(1_000));
    let slot = slot_of(&mut second);
    let ticket = slot.refused_full_at(FullOf::Tenant, bed.at(1_001));
    let fault = ticket.expire(bed.at(1_002)).err().expect("refused");
    told(&fault, SqlState::TOO_MANY_CONNECTIONS, &["tenant's database", "1 connections are held"]);
    drop(held);
}

#[test]
fn a_dead_postgresql_is_tried_by_one_at_a_time_and_all_in_line_are_told() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(3));
    let dial = |ms| match ask(&member, bed.at(ms)) {
        Attempt::Dial(slot) => slot,
        _ => panic!("dials"),
    };
    let slots = [dial(0), dial(0), dial(0)];
    let mut line = [waits(&member, bed.at(1)), waits(&member, bed.at(1))];
    let why = Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, "connection refused");
    let [a, b, c] = slots;
    a.failed_at(&why, bed.at(2));
    for ticket in &mut line {
        let Some(Err(fault)) = ticket.claim() else { panic!("told") };
        told(&fault, SqlState::CONNECTION_FAILURE, &["connection refused"]);
    }
    b.failed_at(&why, bed.at(2));
    c.failed_at(&why, bed.at(2));
    let mut line = [waits(&member, bed.at(3)), waits(&member, bed.at(3))];
    bed.pools.tick(bed.at(2_000));
    let probe = slot_of(&mut line[0]);
    assert!(line[1].claim().is_none(), "one at a time");
    let lease = bed.dial(probe, 2_001);
    drop(slot_of(&mut line[1]));
    lease.finish_at(bed.at(2_002));
}

#[test]
fn pins_take_their_share_and_no_more() {
    let bed = Bed::new(4);
    let member = bed.enter(0, &cap(4));
    let mut leases: Vec<_> = (0..3).map(|_| bed.dialed(&member, 0)).collect();
    leases[0].pin(Pin::TempTable).expect("1 of 2");
    leases[0].pin(Pin::Listen).expect("the same lease");
    leases[1].pin(Pin::Listen).expect("2 of 2");
    let fault = leases[2].pin(Pin::Listen).expect_err("beyond the share");
    told(&fault, SqlState::CONFIGURATION_LIMIT_EXCEEDED, &["budget_share: 2 of 2"]);
    let figures = bed.pools.room(&tenant(0)).expect("open");
    assert_eq!((figures.pinned, figures.pins[Pin::Listen.index()]), (2, 2));
    leases[0].unpin(Pin::TempTable);
    assert!(leases[2].pin(Pin::Listen).is_err(), "still pinned by LISTEN");
    leases[0].unpin(Pin::Listen);
    leases[2].pin(Pin::Listen).expect("there is room now");
    drop(leases);
    assert_eq!(bed.pools.budgets()[0].pinned, 0);
}

#[test]
fn a_storm_of_one_tenant_does_not_delay_anothers_first_connection() {
    let bed = Bed::new(90);
    let (storm, other) = (bed.enter(0, &cap(50)), bed.enter(1, &cap(5)));
    let mut attempts: Vec<_> = (0..100).map(|_| ask(&storm, bed.at(0))).collect();
    let dials = attempts.iter().filter(|a| matches!(a, Attempt::Dial(_))).count();
    assert_eq!(dials, 8, "half of pool.dial_max");
    assert!(matches!(ask(&other, bed.at(1)), Attempt::Dial(_)));
    attempts.clear();
}

#[test]
fn a_moved_tenant_gets_its_new_server_once_the_old_one_is_empty() {
    let bed = Bed::new(4);
    let member = bed.enter(0, &cap(4));
    let server = crate::ident::ServerKey::new("pg2:5432");
    let elsewhere = Way { server, mark: 2, read: 2 };
    let refused = bed.pools.enter(&tenant(0), &elsewhere, &cap(4)).err().expect("refused");
    assert_eq!(refused.state(), SqlState::CANNOT_CONNECT_NOW);
    drop(member);
    let member = bed.pools.enter(&tenant(0), &elsewhere, &cap(4)).expect("moved");
    assert_eq!(member.room().server(), &elsewhere.server);
}

#[test]
fn an_empty_room_is_dropped_after_a_while() {
    let bed = Bed::new(4);
    let member = bed.enter(0, &cap(4));
    bed.dialed(&member, 0).finish_at(bed.at(1));
    drop(member);
    bed.pools.sweep(bed.at(1_000));
    assert!(bed.pools.room(&tenant(0)).is_some());
    bed.pools.sweep(bed.at(700_000));
    assert_eq!(bed.hang_up(700_001), 1, "idle for ten minutes");
    bed.pools.sweep(bed.at(700_002));
    bed.pools.sweep(bed.at(800_000));
    assert!(bed.pools.room(&tenant(0)).is_none());
    drop(bed.enter(0, &cap(4)));
}

#[test]
fn metrics_have_a_bounded_number_of_tenants() {
    use prometheus::core::Collector;
    let bed = Bed::new(40);
    let members: Vec<_> = (0..10).map(|n| bed.enter(n, &cap(4))).collect();
    let _busy = bed.dialed(&members[7], 0);
    let metrics = PoolMetrics::new(bed.pools.clone(), 3).expect("fine");
    let families = metrics.collect();
    let clients = families.iter().find(|f| f.name() == "pgusher_pool_clients").expect("there");
    let label = |m: &prometheus::proto::Metric| m.get_label()[0].value().to_owned();
    let labels: Vec<_> = clients.get_metric().iter().map(label).collect();
    assert_eq!(labels.len(), 4, "{labels:?}");
    assert!(labels.contains(&"t7".to_owned()) && labels.contains(&"_other".to_owned()));
    let sum: f64 = clients.get_metric().iter().map(|m| m.get_gauge().get_value()).sum();
    assert!((sum - 10.0).abs() < f64::EPSILON);
    let registry = prometheus::Registry::new();
    bed.pools.register(&registry, 3).expect("once");
    assert!(registry.gather().iter().all(|f| f.name().starts_with("pgusher_pool_")));
}
