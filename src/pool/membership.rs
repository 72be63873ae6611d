//! A client counted into its tenant's room.

use std::sync::Arc;

use super::Conn;
use super::room::Room;

/// Proof that a client was admitted; dropping it counts the client out. A session that moves to
/// another tenant enters the other room first and drops this one then.
pub struct Membership<S: Conn> {
    room: Arc<Room<S>>,
}

impl<S: Conn> Membership<S> {
    /// For a client the room has counted in.
    pub(super) fn new(room: Arc<Room<S>>) -> Self {
        Self { room }
    }

    /// The room.
    pub fn room(&self) -> &Arc<Room<S>> {
        &self.room
    }
}

impl<S: Conn> Drop for Membership<S> {
    fn drop(&mut self) {
        self.room.book().leave();
    }
}
