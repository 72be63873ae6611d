//! A client's hold on a server connection.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::Stamp;
use super::pin::{Pin, Pins};
use super::room::{Return, Room};
use super::{Asker, Conn};
use crate::fault::Fault;

/// A server connection lent to a client. Returned by [`Lease::finish`]; dropped in any other way
/// it is destroyed, because nobody knows what state its server is in.
pub struct Lease<S: Conn> {
    server: Option<S>,
    room: Arc<Room<S>>,
    stamp: Stamp,
    pins: Pins,
    is_return: bool,
}

impl<S: Conn> Lease<S> {
    pub(super) fn new(room: Arc<Room<S>>, server: S, stamp: Stamp, now: Instant) -> Self {
        let stamp = Stamp { lent: now, ..stamp };
        let pins = Pins::default();
        Self { server: Some(server), room, stamp, pins, is_return: false }
    }

    pub(super) fn returned(mut self, is_return: bool) -> Self {
        self.is_return = is_return;
        self
    }

    /// When it was lent.
    pub fn lent(&self) -> Instant {
        self.stamp.lent
    }

    /// Whether the client had this very server last, and nobody else has had it since: what
    /// PostgreSQL keeps for a session is the client's own.
    pub fn is_return(&self) -> bool {
        self.is_return
    }

    /// The session has left something in the server's process that no command undoes. The server
    /// is closed when the session ends.
    pub fn wear(&mut self) {
        self.stamp.is_worn = true;
    }

    /// Whether it is closed when the session ends.
    pub fn is_worn(&self) -> bool {
        self.stamp.is_worn
    }

    /// Returns the server: it is between transactions, nothing is outstanding, and it carries no
    /// state of the session. A lease that is still pinned is destroyed instead, and so is a worn
    /// server.
    pub fn finish(self) {
        self.finish_at(super::now());
    }

    /// As [`Lease::finish`], of a session that goes on: it finds this server again while nobody
    /// else has taken it. With `hold`, nobody else may for a moment. How long it was lent is the
    /// answer.
    pub fn finish_for(self, asker: &mut Asker, hold: bool) -> Duration {
        self.finish_for_at(asker, hold, super::now())
    }

    pub(super) fn finish_for_at(self, asker: &mut Asker, hold: bool, now: Instant) -> Duration {
        let lent = now.saturating_duration_since(self.stamp.lent);
        let end = Return { session: asker.session, hold, lent };
        asker.place = self.end(end, now);
        asker.is_held = hold && asker.place.is_some();
        asker.is_introduced = false;
        lent
    }

    pub(super) fn finish_at(self, now: Instant) {
        let lent = now.saturating_duration_since(self.stamp.lent);
        self.end(Return { session: 0, hold: false, lent }, now);
    }

    fn end(mut self, end: Return, now: Instant) -> Option<u32> {
        let pinned = !self.pins.is_empty();
        let server = self.release(now)?;
        if pinned {
            self.room.end_lease(server, self.stamp, now);
            return None;
        }
        self.room.finished(server, self.stamp, end, now)
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
        if self.server.is_none() {
            return;
        }
        let now = super::now();
        if let Some(server) = self.release(now) {
            self.room.end_lease(server, self.stamp, now);
        }
    }
}
