//! The tenants' life: registered, provisioned, logged in, changed, dropped.
//!
//! Everything here runs on the control runtime. Every step that touches PostgreSQL is an
//! `ensure_*` that may be run again; a job row says how far a registration is, and the janitor
//! finishes or undoes what a crash left.

mod admins;
mod adopted;
mod api_url;
pub mod audit;
mod bounded;
pub mod changes;
mod client;
mod email;
mod failed;
pub mod fleet;
pub mod health;
pub mod keys;
pub mod login;
pub mod mfa;
mod pace;
mod password;
pub mod peers;
mod percent;
pub mod phone;
mod presence;
pub mod provision;
mod refused;
pub mod registration;
pub mod revocations;
mod road;
pub mod rollout;
pub mod schema;
pub mod seams;
mod sessions;
pub mod sms;
mod sql;
pub mod stripe;
pub mod telnyx;
mod verifier;

pub use adopted::{AdoptedLogin, adopted_logins};
pub use client::TenantClient;
pub use email::{EmailIndex, LegacyEmailHash};
pub use pace::Pace;
pub use password::{Match, PasswordSettings, Passwords};
pub use presence::Presence;
pub use refused::{FieldProblem, Refused};
pub use road::Road;
pub use sessions::{RefreshSettings, Sessions, Tokens};
