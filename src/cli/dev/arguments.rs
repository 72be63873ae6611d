//! The flags of `pgusher dev`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::ClusterSpec;

/// The most sample tenants one start makes: each is a database of 9 MB.
const TENANTS_MAX: u16 = 1000;

/// What `pgusher dev` can be told. Port 0 takes any free one.
#[derive(Debug, Clone, Args)]
pub struct DevArguments {
    /// Everything is kept in this directory.
    #[arg(long, value_name = "DIR", default_value = ".pgusher")]
    pub data: PathBuf,
    /// Where PostgreSQL clients connect [default: 127.0.0.1:6432].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Where the HTTP API listens [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Where metrics and health are [default: 127.0.0.1:9432].
    #[arg(long, value_name = "ADDR")]
    pub ops: Option<SocketAddr>,
    /// The port of the PostgreSQL behind it; by default that of the last start, else a free one.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub pg_port: Option<u16>,
    /// The directory of PostgreSQL's programs; by default the newest found.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// Never wait for the disk, as for tests: when the machine itself crashes, the data may be lost.
    #[arg(long)]
    pub no_sync: bool,
    /// How many sample tenants.
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(..=i64::from(TENANTS_MAX)))]
    pub tenants: u16,
}

impl DevArguments {
    /// The cluster these flags ask for.
    pub fn cluster(&self) -> ClusterSpec {
        ClusterSpec {
            data: self.data.clone(),
            binaries: self.pg_bin.clone(),
            port: self.pg_port,
            no_sync: self.no_sync,
        }
    }
}
