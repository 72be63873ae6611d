//! Tenants whose servers are elsewhere from one moment to the next, or entered in another way.

use std::sync::Arc;

use super::bed::{Bed, ask, cap, ready};
use super::fake::{tenant, way};
use crate::fault::SqlState;
use crate::ident::ServerKey;
use crate::pool::{Attempt, Way};

fn marked(mark: u64, read: u64) -> Way {
    Way { mark, read, ..way() }
}

#[test]
fn servers_of_an_old_way_are_lent_to_nobody() {
    let bed = Bed::new(10);
    let old = bed.enter(0, &cap(4));
    let (busy, idle) = (bed.dialed(&old, 0), bed.dialed(&old, 0));
    let Attempt::Dial(dialing) = ask(&old, bed.at(0)) else { panic!("dials") };
    idle.finish_at(bed.at(1));
    assert!(bed.pools.reroute(&tenant(0), &marked(1, 5)), "the same way, read again");
    assert!(old.check_way().is_ok());
    assert_eq!(bed.hang_up(2), 0);
    assert!(bed.pools.reroute(&tenant(0), &marked(2, 6)));
    assert_eq!(bed.hang_up(3), 1, "what is idle is closed");
    assert!(old.check_way().is_err());
    let new = bed.pools.enter(&tenant(0), &marked(2, 7), &cap(4)).expect("admitted");
    assert!(new.check_way().is_ok());
    busy.finish_at(bed.at(4));
    bed.dial(dialing, 5).finish_at(bed.at(6));
    assert_eq!(bed.hang_up(7), 2, "what was leased or dialled then is closed as it comes back");
    let own = bed.dialed(&new, 8);
    let id = own.id;
    own.finish_at(bed.at(9));
    assert_eq!(ready(ask(&new, bed.at(10))).id, id);
}

#[test]
fn a_sweep_that_comes_late_takes_no_other_room_away() {
    let bed = Bed::new(10);
    let member = bed.enter(0, &cap(4));
    let room = Arc::clone(member.room());
    drop(member);
    bed.pools.sweep(bed.at(1));
    let elsewhere = Way { server: ServerKey::new("other:5432"), ..marked(2, 2) };
    let _member = bed.pools.enter(&tenant(0), &elsewhere, &cap(4)).expect("the old one is empty");
    bed.pools.drop_vacant(&room, bed.at(3_600_000));
    assert_eq!(bed.pools.room(&tenant(0)).map(|room| room.clients), Some(1));
}

#[test]
fn who_read_its_way_later_is_right() {
    let bed = Bed::new(10);
    let early = bed.pools.enter(&tenant(0), &marked(1, 10), &cap(4)).expect("admitted");
    let late = bed.pools.enter(&tenant(0), &marked(2, 12), &cap(4)).expect("nobody has to wait");
    assert!(early.check_way().is_err() && late.check_way().is_ok());
    let stale = bed.pools.enter(&tenant(0), &marked(1, 11), &cap(4)).err().expect("refused");
    assert_eq!(stale.state(), SqlState::CANNOT_CONNECT_NOW);
    assert!(!bed.pools.reroute(&tenant(0), &marked(1, 11)));
    assert!(late.check_way().is_ok());
    assert!(bed.pools.reroute(&tenant(1), &marked(1, 1)), "it has no room");
}
