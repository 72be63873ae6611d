//! A client's hold on a server connection.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use super::Conn;
use super::ledger::Stamp;
use super::pin::{Pin, Pins};
use super::room::Room;
use crate::fault::Fault;

/// A server connection lent to a client. Returned by [`Lease::finish`]; dropped in any other way
/// it is destroyed, because nobody knows what state its server is in.
pub struct Lease<S: Conn> {
    server: Option<S>,
    room: Arc<Room<S>>,
    stamp: Stamp,
    pins: Pins,
}

impl<S: Conn> Lease<S> {
    pub(super) fn new(room: Arc<Room<S>>, server: S, stamp: Stamp, now: Instant) -> Self {
        let stamp = Stamp { lent: now, ..stamp };
        Self { server: Some(server), room, stamp, pins: Pins::default() }
    }

    /// Returns the server: it is between transactions, nothing is outstanding, and it carries no
    /// state of the session. A lease that is still pinned is destroyed instead.
    pub fn finish(self) {
        self.finish_at(super::now());
    }

    pub(super) fn finish_at(mut self, now: Instant) {
        let pinned = !self.pins.is_empty();
        let Some(server) = self.release(now) else { return };
        if pinned {
            self.room.end_lease(server, self.stamp, now);
        } else {
            self.room.finished(server, self.stamp, now);
        }
    }

    /// Ends the server connection: its state is in doubt.
    pub fn destroy(self) {
        self.destroy_at(super::now());
    }

    pub(super) fn destroy_at(mut self, now: Instant) {
        if let Some(server) = self.release(now) {
            self.room.end_lease(server, self.stamp, now);
        }
    }

    /// Holds the server beyond its transaction, for a reason. Pinning again for the same reason
    /// changes nothing.
    ///
    /// # Errors
    /// 53400 when pins have taken their share of the tenant's servers or of the budget.
    pub fn pin(&mut self, reason: Pin) -> Result<(), Fault> {
        self.repin(self.pins.with(reason), super::now())
    }

    /// The reason is gone.
    pub fn unpin(&mut self, reason: Pin) {
        let freed = self.repin(self.pins.without(reason), super::now());
        debug_assert!(freed.is_ok(), "letting go is never refused");
    }

    /// All reasons are gone.
    pub fn unpin_all(&mut self) {
        let freed = self.repin(Pins::default(), super::now());
        debug_assert!(freed.is_ok(), "letting go is never refused");
    }

    /// Why it is pinned.
    pub fn pins(&self) -> Pins {
        self.pins
    }

    pub(super) fn repin(&mut self, after: Pins, now: Instant) -> Result<(), Fault> {
        if after != self.pins {
            self.room.repin(self.pins, after, now)?;
            self.pins = after;
        }
        Ok(())
    }

    /// Takes the server out and its pins off the books.
    fn release(&mut self, now: Instant) -> Option<S> {
        let server = self.server.take()?;
        let freed = self.repin(Pins::default(), now);
        debug_assert!(freed.is_ok(), "letting go is never refused");
        Some(server)
    }
}

impl<S: Conn> Deref for Lease<S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.server.as_ref().expect("invariant: a lease has its server until it ends")
    }
}

impl<S: Conn> DerefMut for Lease<S> {
    fn deref_mut(&mut self) -> &mut S {
        self.server.as_mut().expect("invariant: a lease has its server until it ends")
    }
}

impl<S: Conn> Drop for Lease<S> {
    fn drop(&mut self) {
        let now = super::now();
        if let Some(server) = self.release(now) {
            self.room.end_lease(server, self.stamp, now);
        }
    }
}
