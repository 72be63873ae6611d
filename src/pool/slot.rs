//! The right to one server connection, from its dial to its end of file.

use std::sync::Arc;
use std::time::Instant;

use super::deeds::Deeds;
use super::ledger::{FullOf, Stamp, WaiterId};
use super::room::Room;
use super::{Class, Conn, Lease, Ticket};
use crate::fault::Fault;

/// What a slot's connection is doing while the slot is held by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Dialing,
    /// Since then.
    Closing(Instant),
}

/// For whom a slot was granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub id: WaiterId,
    pub class: Class,
    pub asked: Instant,
}

/// A place among the tenant's and the server's connections, taken before the dial and given back
/// after the end of file. Dropping it says that PostgreSQL does not count the connection any more;
/// until then nobody else gets the place.
pub struct Slot<S: Conn> {
    room: Option<Arc<Room<S>>>,
    phase: Phase,
    class: Class,
    order: Option<Order>,
    stamp: Stamp,
}

impl<S: Conn> Slot<S> {
    pub(super) fn dialing(room: Arc<Room<S>>, order: Order, class: Class, stamp: Stamp) -> Self {
        Self { room: Some(room), phase: Phase::Dialing, class, order: Some(order), stamp }
    }

    pub(super) fn closing(room: Arc<Room<S>>, class: Class, stamp: Stamp, began: Instant) -> Self {
        Self { room: Some(room), phase: Phase::Closing(began), class, order: None, stamp }
    }

    /// When it was granted.
    pub(super) fn since(&self) -> Instant {
        self.stamp.since
    }

    /// The login to dial with. Plain, although a flavour was asked for, where servers have to do
    /// for everybody of the login.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The dial succeeded. `server` must be of [`Slot::class`].
    pub fn opened(self, server: S) -> Lease<S> {
        self.opened_at(server, super::now())
    }

    pub(super) fn opened_at(mut self, server: S, now: Instant) -> Lease<S> {
        debug_assert_eq!(server.class(), self.class, "dialed with another login");
        let room = self.room.take().expect("invariant: a slot has its room until it ends");
        room.opened(server, self.stamp, now)
    }

    /// The dial failed, for a reason other than PostgreSQL being full. Those in line with the same
    /// login learn of it if no server of the tenant is left to wait for; the next dial is tried
    /// alone, after a short pause.
    pub fn failed(self, why: &Fault) {
        self.failed_at(why, super::now());
    }

    pub(super) fn failed_at(mut self, why: &Fault, now: Instant) {
        if let Some(room) = self.room.take() {
            room.dial_failed(self.class, why, now);
        }
    }

    /// PostgreSQL refused the dial with 53300: the caller waits in line again, in its old place.
    /// Dials pause until one of the tenant's servers is closed, or for a short time.
    pub fn refused_full(self, of: FullOf) -> Ticket<S> {
        self.refused_full_at(of, super::now())
    }

    pub(super) fn refused_full_at(mut self, of: FullOf, now: Instant) -> Ticket<S> {
        let room = self.room.take().expect("invariant: a slot has its room until it ends");
        let order = self.order.expect("invariant: a slot that dials was granted to somebody");
        room.refused_full(order, of, now)
    }

    /// Gives the place back.
    pub(super) fn end(mut self, now: Instant, deeds: &mut Deeds<S>) {
        if let Some(room) = self.room.take() {
            room.slot_ended(self.phase, now, deeds);
        }
    }
}

impl<S: Conn> Drop for Slot<S> {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            let (now, mut deeds) = (super::now(), Deeds::new());
            room.slot_ended(self.phase, now, &mut deeds);
            deeds.perform(now);
        }
    }
}
