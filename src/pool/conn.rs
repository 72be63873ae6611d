//! What the pool asks of a server connection.

use super::{Class, Slot};

/// A server connection as the pool sees it. The pool never reads or writes it.
pub trait Conn: Sized + Send + 'static {
    /// The login it was made with.
    fn class(&self) -> Class;

    /// Whether an idle connection is still good: nothing has been received, not even an end of
    /// file. Called before every reuse, so it must cost no system call when nothing has come.
    fn is_alive(&mut self) -> bool;

    /// Ends the connection and holds `slot` until PostgreSQL's end of file has been read (or the
    /// socket is known to be dead): only then is the connection gone from the server's count.
    /// Must not block; called without any lock of the pool held.
    fn close(self, slot: Slot<Self>);
}
