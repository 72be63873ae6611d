//! A client counted into its tenant's room.

use std::sync::Arc;

use super::room::Room;
use super::way::Pass;
use super::{Conn, refusal};
use crate::fault::Fault;

/// Proof that a client was admitted; dropping it counts the client out. A session that moves to
/// another tenant enters the other room first and drops this one then.
pub struct Membership<S: Conn> {
    room: Arc<Room<S>>,
    pass: Pass,
}

impl<S: Conn> Membership<S> {
    /// For a client the room has counted in.
    pub(super) fn new(room: Arc<Room<S>>, pass: Pass) -> Self {
        Self { room, pass }
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room<S>> {
        &self.room
    }

    /// The room's servers are still those the client came for. Asked with a slot in hand,
    /// nothing that is dialled by an old way is lent to others: what the room granted before the
    /// change is closed when it comes back.
    ///
    /// # Errors
    /// 57P03 when the tenant's servers are elsewhere, or entered in another way.
    pub fn check_way(&self) -> Result<(), Fault> {
        if self.pass.is_good() { Ok(()) } else { Err(refusal::moving()) }
    }
}

impl<S: Conn> Drop for Membership<S> {
    fn drop(&mut self) {
        self.room.book().leave();
    }
}
