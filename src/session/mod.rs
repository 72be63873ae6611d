//! A client's life: greeting → login → arrival → idle ⇄ relay → farewell.
//!
//! One file per phase. A phase hands the next one what it needs and is gone; what outlives all of
//! them stands in [`Shared`]. This room decides nothing about limits (that is `pool`'s) and knows
//! no certificate or key (that is `net`'s and `auth`'s).

mod arrival;
mod cancel;
mod clock;
mod console;
mod cut;
mod deferred;
mod door;
mod farewell;
mod functions;
mod greeting;
mod habit;
mod half_open;
mod keeping;
mod known;
mod lengths;
pub mod lexer;
mod live;
mod login;
mod metrics;
mod oauth;
mod probe;
mod relay;
mod roster;
mod routines;
mod schema;
mod settings;
mod shared;
mod startup;
mod statements;
mod taking;
mod timeouts;
mod transact;
mod welcomes;

pub use cancel::{LostCancel, LostCancels};
pub use cut::Cut;
pub use door::Door;
pub use half_open::{HalfOpen, HalfOpenSeat};
pub use metrics::SessionMetrics;
pub use relay::trim_stock;
pub use roster::{Card, Roster};
pub use settings::{DatabaseNames, SessionSettings, TokenExpiry, TokenMethod};
pub use shared::{Console, LimitRules, RefusedDial, Shared, SharedParts, way_of};

use crate::net::Stream;
use std::sync::Arc;

/// Runs one client from its first byte to its last. Never fails: whatever goes wrong is told to
/// the client and to the log here.
///
/// `seat` is given back at login; until then it may be needed for somebody else.
///
/// Dropping the future closes the socket and returns what was held.
pub async fn serve(shared: Arc<Shared>, stream: Stream, seat: Option<HalfOpenSeat>) {
    // Each phase in a box of its own: while the client is idle the others take no memory.
    let ended = match Box::pin(greeting::enter(shared, stream, seat)).await {
        Ok(live) => live::run(live).await,
        Err(farewell) => farewell,
    };
    Box::pin(farewell::end(ended)).await;
}
