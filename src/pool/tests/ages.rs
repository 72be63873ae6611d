//! How long a server connection may idle, and how old it may grow; what guarantees are worth.

use super::bed::{Bed, ask, cap, ready};
use crate::pool::Limits;
use crate::units::Span;

#[test]
fn an_idle_server_is_kept_for_as_long_as_the_limit_says() {
    let bed = Bed::new(10);
    let limits = Limits { server_idle_timeout: Span::secs(5), ..cap(2) };
    let member = bed.enter(0, &limits);
    bed.dialed(&member, 0).finish_at(bed.at(100));
    bed.pools.sweep(bed.at(5_000));
    assert_eq!(bed.hang_up(5_000), 0, "it was idle for 4.9 s");
    bed.pools.sweep(bed.at(5_100));
    assert_eq!(bed.hang_up(5_100), 1);
}

#[test]
fn a_server_that_is_too_old_is_closed_idle_or_at_the_end_of_its_lease() {
    let bed = Bed::new(10);
    let limits = Limits { server_lifetime: Span::secs(10), ..cap(2) };
    let member = bed.enter(0, &limits);
    let (idle, busy) = (bed.dialed(&member, 0), bed.dialed(&member, 0));
    idle.finish_at(bed.at(1));
    // Give or take a tenth: those made together do not end together.
    bed.pools.sweep(bed.at(8_900));
    assert_eq!(bed.hang_up(8_900), 0);
    bed.pools.sweep(bed.at(11_100));
    assert_eq!(bed.hang_up(11_100), 1, "the idle one");
    busy.finish_at(bed.at(11_200));
    assert_eq!(bed.hang_up(11_200), 1, "the other when its lease ends");
}

#[test]
fn a_changed_limit_holds_for_servers_that_are_there() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(2));
    bed.dialed(&member, 0).finish_at(bed.at(1));
    let limits = Limits { server_idle_timeout: Span::secs(1), ..cap(2) };
    bed.pools.relimit(member.room().tenant(), &limits);
    ready(ask(&member, bed.at(500))).finish_at(bed.at(600));
    bed.pools.sweep(bed.at(1_700));
    assert_eq!(bed.hang_up(1_700), 1);
}

#[test]
fn guarantees_beyond_the_budget_are_scaled_down_and_reported() {
    let bed = Bed::new(10);
    let limits = Limits { server_min: 9, ..cap(10) };
    let members: Vec<_> = (0..3).map(|n| bed.enter(n, &limits)).collect();
    assert_eq!(bed.pools.budgets()[0].guaranteed, 27, "of ten");
    for member in &members {
        let (share, ..) = member.room().till_figures();
        assert_eq!(share.guaranteed, 3, "nine tenths of the budget, in equal parts");
    }
}
