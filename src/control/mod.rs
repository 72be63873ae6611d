//! The tenants' life: registered, provisioned, logged in, changed, dropped.
//!
//! Everything here runs on the control runtime. Every step that touches PostgreSQL is an
//! `ensure_*` that may be run again; a job row says how far a registration is, and the janitor
//! finishes or undoes what a crash left.

pub mod provision;
pub mod schema;
mod sql;
mod verifier;
