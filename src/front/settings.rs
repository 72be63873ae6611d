//! `[listen]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::net::TcpOptions;

/// `[listen]`: where PostgreSQL clients come in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontSettings {
    /// TCP addresses to listen on.
    pub addresses: Vec<SocketAddr>,
    /// A unix socket to listen on as well, such as `/run/pgusher/.s.PGSQL.6432`.
    pub unix_socket: Option<PathBuf>,
    /// The unix socket's file mode.
    pub unix_socket_mode: u32,
    /// Connections at most, logged in or not.
    pub connections_max: usize,
    /// Connections at most that have not logged in yet; the oldest of them gives way.
    pub half_open_max: usize,
    /// How TCP sockets behave.
    pub tcp: TcpOptions,
}

impl Default for FrontSettings {
    fn default() -> Self {
        Self {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 6432))],
            unix_socket: None,
            unix_socket_mode: 0o777,
            connections_max: 100_000,
            half_open_max: 1_000,
            tcp: TcpOptions::default(),
        }
    }
}
