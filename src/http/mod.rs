//! The HTTP doors: the public API and, on a listener of its own, the operators'.
//!
//! Thin: a handler reads fields, calls `control` and renders the answer. Every refusal is an
//! RFC 9457 problem body. The tenant always comes from the token, never from a path.

mod auth;
mod body;
mod connection;
mod door;
mod limits;
mod mfa;
mod numbers;
mod openapi;
mod ops;
mod ops_texting;
mod patient;
mod problem;
mod progress;
mod proxies;
mod public;
mod registrations;
mod revoke;
mod seats;
mod settings;
mod signup;
mod stripe;
mod tenant;
mod texting;
mod time;
mod webhooks;

pub use connection::ConnectionSettings;
pub use door::serve;
pub use ops::{Figures, OperatorGate, Ops};
pub use problem::Problem;
pub use public::Public;
pub use settings::{HttpSettings, OpsSettings, RateSettings};
pub use texting::Texting;
pub use time::{rfc3339, rfc3339_of};
