//! What is left to do once the locks are released.
//!
//! Under a lock the pool only decides; closing sockets, waking clients and calling on other rooms
//! happens here, one deed after the other, so that no lock is held twice and no call nests.

use std::sync::Arc;
use std::time::Instant;

use super::reach::Reach;
use super::room::Room;
use super::till::Till;
use super::{Conn, Grant, Slot};
use crate::fault::Fault;

/// One thing to do.
pub(super) enum Deed<S: Conn> {
    /// The budget granted this room a slot.
    Grant(Arc<Room<S>>),
    /// Close a server.
    Shut(S, Slot<S>),
    /// Give a client what it waited for.
    Hand(Reach<S>, Grant<S>),
    /// Tell a client that it waits in vain.
    Refuse(Reach<S>, Fault),
    /// Look for idle servers to close.
    Evict(Arc<Till<S>>),
    /// Look at this room again at that time.
    Alarm(Arc<Room<S>>, Instant),
}

/// Things to do, in order. Allocates nothing while empty.
pub(super) struct Deeds<S: Conn>(Vec<Deed<S>>);

impl<S: Conn> Deeds<S> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, deed: Deed<S>) {
        self.0.push(deed);
    }

    /// Gives a client what it waited for. Call it without a lock.
    pub(super) fn hand(&mut self, reach: Reach<S>, grant: Grant<S>, now: Instant) {
        // The client left in this very moment: what it was to get goes on.
        if let Err(Ok(grant)) = reach.answer(Ok(grant)) {
            grant.pass_on(now, self);
        }
    }

    /// Does everything, and what follows from it. Call it without a lock.
    pub(super) fn perform(mut self, now: Instant) {
        // What follows is done behind what was there before.
        while !self.0.is_empty() {
            for deed in std::mem::take(&mut self.0) {
                self.perform_one(deed, now);
            }
        }
    }

    fn perform_one(&mut self, deed: Deed<S>, now: Instant) {
        match deed {
            Deed::Grant(room) => room.granted(now, self),
            Deed::Shut(server, slot) => server.close(slot),
            Deed::Hand(reach, grant) => self.hand(reach, grant, now),
            Deed::Refuse(reach, fault) => drop(reach.answer(Err(fault))),
            Deed::Evict(till) => till.evict(now, self),
            Deed::Alarm(room, at) => room.set_alarm(at),
        }
    }
}
