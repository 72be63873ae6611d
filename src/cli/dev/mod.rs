//! `pgusher dev`: the embedded default, a whole pgusher on a machine with nothing set up.
//!
//! PostgreSQL is a child process in a group of its own (the terminal's Ctrl-C reaches pgusher
//! alone, which then stops PostgreSQL in order); everything else runs in this process. What the
//! caller may not do, such as running PostgreSQL as root, is worked around here and nowhere else.

mod account;
mod binaries;
mod cluster;
mod error;
mod leftover;
mod place;

pub use account::Account;
pub use binaries::Binaries;
pub use cluster::{Cluster, ClusterSpec};
pub use error::ClusterError;
