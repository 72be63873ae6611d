//! The commands: what an operator types, and what is said back.
//!
//! A command reads its arguments and the configuration, calls the rooms, and ends in an
//! [`Answer`] or a [`Failure`]; only [`run`] prints and knows exit codes (0 done, 1 failed,
//! 2 wrong usage). With `--json` every answer is one JSON value on standard output.

mod answer;
mod check;
mod client;
mod command;
pub mod dev;
mod healthcheck;
mod migrate;
mod registry;
mod revoke;
mod run;
mod serve;
mod tenant;
mod token;
mod version;

pub use answer::{Answer, Failure};
pub use client::{Client, ClientError};
pub use command::{Arguments, Command};
pub use run::run;
