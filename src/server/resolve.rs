//! Names to addresses, remembered for a while.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use moka::future::Cache;

/// Looks names up off the data runtime's threads (the lookup runs on the blocking pool) and keeps
/// the answer for 15 s, as PgBouncer's `dns_max_ttl` does.
#[derive(Debug, Clone)]
pub(super) struct Resolver(Cache<(Box<str>, u16), Vec<SocketAddr>>);

impl Resolver {
    pub(super) fn new() -> Self {
        let live = Duration::from_secs(15);
        Self(Cache::builder().max_capacity(10_000).time_to_live(live).build())
    }

    /// All addresses of `host`, at least one.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let lookup = async {
            let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            }
            Ok(found)
        };
        let key = (host.into(), port);
        self.0
            .try_get_with(key, lookup)
            .await
            .map_err(|e: std::sync::Arc<io::Error>| io::Error::new(e.kind(), e.to_string()))
    }
}
