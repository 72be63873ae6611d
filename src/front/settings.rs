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
    /// The unix socket's file mode: `0o770` in octal, as TOML writes it.
    pub unix_socket_mode: u32,
    /// Connections at most, logged in or not.
    pub connections_max: usize,
    /// Connections at most that have not logged in yet; beyond that the oldest gives way, first one
    /// from an address that has more than an eighth of them.
    pub half_open_max: usize,
    /// How TCP sockets behave.
    pub tcp: TcpOptions,
}

/// Read, write and execute, for everybody.
const MODE_MAX: u32 = 0o777;

impl FrontSettings {
    /// What is wrong with it: the key, and why.
    pub fn problems(&self) -> Option<(&'static str, String)> {
        let mode = self.unix_socket_mode;
        // Octal digits without TOML's prefix are a decimal number that gives other rights.
        let meant = u32::from_str_radix(&mode.to_string(), 8).ok().filter(|m| *m <= MODE_MAX);
        let text = match meant {
            _ if mode <= MODE_MAX => return None,
            Some(meant) => {
                format!("{mode} is decimal: write 0o{mode} in a file, {meant} anywhere else")
            }
            None => format!("{mode} is 0o{mode:o}: a file mode is 0o777 at most"),
        };
        Some(("listen.unix_socket_mode", text))
    }
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
