//! What is left to do once the locks are released.
//!
//! Under a lock the pool only decides; closing sockets, waking clients and calling on other rooms
//! happens here, one deed after the other, so that no lock is held twice and no call nests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::room::Room;
use super::till::Till;
use super::{Conn, Grant, Slot};
use crate::fault::Fault;

/// How to reach a waiting client.
pub(super) type Reach<S> = oneshot::Sender<Result<Grant<S>, Fault>>;

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
pub(super) struct Deeds<S: Conn>(VecDeque<Deed<S>>);

impl<S: Conn> Deeds<S> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn push(&mut self, deed: Deed<S>) {
        self.0.push_back(deed);
    }

    /// Does everything, and what follows from it. Call it without a lock.
    pub(super) fn perform(mut self, now: Instant) {
        while let Some(deed) = self.0.pop_front() {
            match deed {
                Deed::Grant(room) => room.granted(now, &mut self),
                Deed::Shut(server, slot) => server.close(slot),
                Deed::Hand(reach, grant) => {
                    // The client left in this very moment: what it was to get goes on.
                    if let Err(Ok(grant)) = reach.send(Ok(grant)) {
                        grant.pass_on(now, &mut self);
                    }
                }
                Deed::Refuse(reach, fault) => drop(reach.send(Err(fault))),
                Deed::Evict(till) => till.evict(now, &mut self),
                Deed::Alarm(room, at) => room.set_alarm(at),
            }
        }
    }
}
