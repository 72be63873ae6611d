//! From an address to a connection that is ready for queries.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::TcpKeepalive;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::backends::Backends;
use super::resolve::Resolver;
use super::{DialError, Server, Settings, login};
use crate::auth::scram::KeyCache;
use crate::net::tls::{ClientTls, SslMode};
use crate::net::{Socket, Stream};
use crate::pool::Class;
use crate::units::{Secret, Span};
use crate::wire::Writer;

/// `[dial]`: how pgusher connects to PostgreSQL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DialSettings {
    /// The longest a dial may take: name lookup, TCP, TLS and login together.
    pub connect_timeout: Span,
    /// Idle time after which TCP keepalive probes start.
    pub tcp_keepalive: Span,
    /// How many prepared statements one server connection keeps.
    pub prepared_statements_max: usize,
}

impl Default for DialSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Span::secs(15),
            tcp_keepalive: Span::secs(30),
            prepared_statements_max: 200,
        }
    }
}

/// Between two keepalive probes that stay unanswered.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How many may.
const KEEPALIVE_PROBES: u32 = 3;

/// Where one tenant's PostgreSQL is and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name, an address, or a directory with a unix socket when it starts with `/`.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How much TLS.
    pub ssl_mode: SslMode,
    /// PEM file of the authorities to trust; `None` for the system's.
    pub ca_file: Option<String>,
}

/// As whom to log in, and where.
#[derive(Debug, Clone)]
pub struct Account {
    /// The database.
    pub database: String,
    /// The PostgreSQL role.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Whether the server may be shown the password, where it asks for that in place of a proof (SCRAM).
    pub shows_password: bool,
    /// Which clients may share the connection.
    pub class: Class,
    /// Settings for the startup packet: what `RESET` will return to. Those of a client that has
    /// the connection for itself, or of all clients that share it.
    pub startup: Settings,
}

impl Account {
    /// The same login for connections of `class`, with nothing in the startup packet.
    #[must_use]
    pub fn plain(&self, class: Class) -> Self {
        Self { class, startup: Settings::default(), ..self.clone() }
    }
}

/// Dials servers. One for the process; cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    settings: Arc<DialSettings>,
    tls: ClientTls,
    keys: KeyCache,
    resolver: Resolver,
    backends: Arc<Backends>,
}

impl Dialer {
    /// A dialler with its caches.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(settings: DialSettings, tls: ClientTls) -> Result<Self, String> {
        let keys = KeyCache::new(10_000).map_err(|e| e.to_string())?;
        let (settings, resolver) = (Arc::new(settings), Resolver::new());
        Ok(Self { settings, tls, keys, resolver, backends: Arc::default() })
    }

    /// The longest a dial may take.
    pub fn connect_timeout(&self) -> Duration {
        self.settings.connect_timeout.get()
    }

    /// How many prepared statements one server connection keeps.
    pub fn prepared_statements_max(&self) -> usize {
        self.settings.prepared_statements_max
    }

    pub(super) fn keys(&self) -> &KeyCache {
        &self.keys
    }

    pub(super) fn backends(&self) -> &Arc<Backends> {
        &self.backends
    }

    /// A new connection, logged in and ready for queries, with nothing set by any client.
    ///
    /// # Errors
    /// [`DialError`]. Dropping the future closes the socket.
    pub async fn dial(
        &self,
        endpoint: &Arc<Endpoint>,
        account: &Account,
    ) -> Result<Box<Server>, DialError> {
        let dial = async {
            let stream = self.connect(endpoint).await?;
            login::log_in(self, stream, endpoint, account).await
        };
        tokio::time::timeout(self.connect_timeout(), dial).await.map_err(|_| DialError::Timeout)?
    }

    /// Only the transport: TCP or unix socket, and TLS as the endpoint asks.
    pub(super) async fn connect(&self, endpoint: &Endpoint) -> Result<Stream, DialError> {
        if endpoint.host.starts_with('/') {
            let path = format!("{}/.s.PGSQL.{}", endpoint.host, endpoint.port);
            return Ok(Stream::Plain(Socket::connect_unix(path.as_ref()).await?));
        }
        let socket = self.connect_tcp(endpoint).await?;
        self.encrypt(socket, endpoint).await
    }

    async fn connect_tcp(&self, endpoint: &Endpoint) -> io::Result<Socket> {
        let addresses = self.resolver.resolve(&endpoint.host, endpoint.port).await?;
        let mut last = None;
        for address in addresses {
            match Socket::connect_tcp(address).await {
                Ok(socket) => {
                    self.prepare(&socket)?;
                    return Ok(socket);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address")))
    }

    fn prepare(&self, socket: &Socket) -> io::Result<()> {
        let Some(options) = socket.options() else { return Ok(()) };
        options.set_tcp_nodelay(true)?;
        if let Some(idle) = self.settings.tcp_keepalive.nonzero() {
            // A peer that is gone is known to be gone half a minute later.
            let keepalive = TcpKeepalive::new()
                .with_time(idle)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_PROBES);
            options.set_tcp_keepalive(&keepalive)?;
        }
        Ok(())
    }

    /// SSLRequest and its one-byte answer, read alone: what a server sends behind it in the clear
    /// must not be read as if it had come through TLS (CVE-2021-23222).
    async fn encrypt(&self, mut socket: Socket, endpoint: &Endpoint) -> Result<Stream, DialError> {
        if !endpoint.ssl_mode.asks() {
            return Ok(Stream::Plain(socket));
        }
        let mut request = Writer::new();
        request.ssl_request();
        socket.write_all(request.bytes()).await?;
        match socket.read_u8().await? {
            b'S' => {
                let ca = endpoint.ca_file.as_deref().map(std::path::Path::new);
                Ok(self.tls.connect(socket, &endpoint.host, endpoint.ssl_mode, ca).await?)
            }
            b'N' if !endpoint.ssl_mode.insists() => Ok(Stream::Plain(socket)),
            b'N' => Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "the server does not offer TLS and sslmode demands it",
            )
            .into()),
            _ => Err(DialError::Protocol("unexpected answer to SSLRequest")),
        }
    }
}
