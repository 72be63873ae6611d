//! Who may hold how many server connections, and who is next.
//!
//! [`Pools`] has a [`Room`] per tenant and a budget per PostgreSQL server. A client enters with a
//! [`Membership`], asks its room for a server ([`Room::lease`]), and holds a [`Lease`], the right
//! to dial (a [`Slot`]), or a place in line (a [`Ticket`]). All are guards: whatever way a session
//! ends, the books are closed. `ledger` (one tenant) and `budget` (one server) decide, and are
//! pure; the room around them locks and acts.
//!
//! The pool knows no socket ([`Conn`] is all it asks), no token, and no SQL. Lock order:
//! directory, room, till; what follows from a decision is done after the locks (`deeds`).

mod asker;
mod budget;
mod class;
mod closes;
mod common;
mod conn;
mod counters;
mod deeds;
mod figures;
mod holds;
mod keep;
mod lease;
mod ledger;
mod limits;
mod membership;
mod metrics;
mod news;
mod peers;
mod pin;
mod pools;
mod reach;
mod refusal;
mod room;
mod settings;
mod shares;
mod slot;
#[cfg(test)]
mod tests;
mod ticket;
mod till;
mod timeouts;
mod way;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use asker::Asker;
pub use class::Class;
pub use conn::Conn;
pub use figures::{BudgetFigures, RoomFigures, WaitsFor};
pub use lease::Lease;
pub use ledger::{Claim, FullOf, Holder};
pub use limits::{Limits, LimitsSettings, Plans};
pub use membership::Membership;
pub use metrics::PoolMetrics;
pub use news::News;
pub use pin::{Pin, Pins};
pub use pools::Pools;
pub use room::Room;
pub use settings::{PinSettings, PoolSettings};
pub use shares::{Place, Split};
pub use slot::Slot;
pub use ticket::{Attempt, Grant, Ticket};
pub use timeouts::{Timeout, Timeouts};
pub use way::Way;

/// The time, by tokio's clock: tests may pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Locks; a panic elsewhere has been reported there and does not stop every tenant's service.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
