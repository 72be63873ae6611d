//! PostgreSQL's side: dialling, logging in, one server connection, cancelling what it runs.
//!
//! The server is not trusted either: every length it sends is bounded, and any doubt about the
//! protocol ends in a closed connection. This room does not know which client a connection
//! serves.

mod answer;
mod backends;
mod cancel;
mod conn;
mod dial;
mod fail;
mod gate;
mod login;
mod params;
mod prepared;
mod resolve;
mod settings;
mod statements;
mod told;
mod unhurried;

pub use answer::Answer;
pub use cancel::send_cancel;
pub use conn::Server;
pub use dial::{Account, DialSettings, Dialer, Endpoint};
pub use fail::DialError;
pub use gate::{CancelGate, InFlight};
pub use params::Params;
pub use prepared::{Described, Executes, Prepared, StatementId, Subject};
pub use settings::{Settings, quote_literal, quote_text};
pub use statements::{ServerStatements, moment};
pub use told::ToldPid;
