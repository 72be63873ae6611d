//! `pgusher dev`: the embedded default, a whole pgusher on a machine with nothing set up.
//!
//! PostgreSQL is a child process in a group of its own (the terminal's Ctrl-C reaches pgusher
//! alone, which then stops PostgreSQL in order); everything else runs in this process. What the
//! caller may not do, such as running PostgreSQL as root, is worked around here and nowhere else.

mod account;
mod arguments;
mod binaries;
mod cluster;
mod error;
mod keys;
mod leftover;
mod place;
mod ready;
mod run;
mod samples;
mod settle;
mod socket;

pub use account::Account;
pub use arguments::DevArguments;
pub use binaries::Binaries;
pub use cluster::{Cluster, ClusterSpec};
pub use error::ClusterError;
pub use ready::{Ready, ReadyServer};
pub(super) use run::dev;
pub use samples::{ApiKey, Sample, SampleError, Samples};
