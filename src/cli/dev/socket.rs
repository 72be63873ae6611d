//! The unix socket of `pgusher dev`, beside its TCP listener.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::net::Listener;

/// The port in its name where the listener takes any free one.
const PORT: u16 = 6432;

/// Has clients come in by a unix socket as well: the one that is configured, else one in `home`,
/// which is the caller's. `dev` goes without where that cannot be, and says why.
pub(super) fn settle(config: &mut Config, home: &Path) -> Result<PathBuf, String> {
    if let Some(path) = &config.listen.unix_socket {
        return Ok(path.clone());
    }
    let port = config.listen.addresses.first().map(std::net::SocketAddr::port);
    let port = port.filter(|port| *port != 0).unwrap_or(PORT);
    let path = home.join(format!(".s.PGSQL.{port}"));
    // Whoever owns the directory's lock is alone here: what can be opened now can be again.
    match Listener::unix(&path, config.listen.unix_socket_mode) {
        Ok(probe) => drop(probe),
        Err(error) => {
            let why = match error.kind() {
                ErrorKind::InvalidInput => "its path would be too long".to_owned(),
                _ => error.to_string(),
            };
            tracing::warn!(path = %path.display(), why, "no unix socket");
            return Err(why);
        }
    }
    config.listen.unix_socket = Some(path.clone());
    Ok(path)
}

/// How to use it, for people.
pub(super) fn told(socket: &Result<PathBuf, String>) -> String {
    let path = match socket {
        Ok(path) => path,
        Err(why) => return format!("none: {why}"),
    };
    let port = path.file_name().and_then(|name| name.to_str()?.strip_prefix(".s.PGSQL."));
    match (path.parent(), port) {
        (Some(place), Some(port)) => {
            format!("psql -h '{}' -p {port} -U app app  # takes a token", place.display())
        }
        _ => path.display().to_string(),
    }
}
