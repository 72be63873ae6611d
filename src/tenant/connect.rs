//! The one place a connection of pgusher's own (registry, provisioner) is dialled.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::task::JoinHandle;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Error, Socket, config};

use super::DatabaseUrl;
use crate::net::tls::{ClientTls, ClientTlsSettings, PgTls, PgTlsStream, SslMode};
use crate::units::Secret;

/// What a connection brings beside answers: notices and notifications. The connection lives as
/// long as this is polled.
pub type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

/// Where pgusher itself connects, and how.
#[derive(Clone)]
pub struct Dial {
    config: Config,
    timeout: Duration,
    ssl_mode: SslMode,
    root_cert: Option<PathBuf>,
}

/// How long nothing is said before TCP asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What is sent and not acknowledged for so long ends the connection: a host that is gone without a
/// word would otherwise hold it for a quarter of an hour.
const GONE_AFTER: Duration = Duration::from_secs(20);

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// PostgreSQL cannot be reached, or refuses.
    #[error(transparent)]
    Postgres(#[from] Error),
    /// It took too long.
    #[error("no answer in time")]
    Slow,
}

/// Registry and provisioner show no certificate of their own; they log in with a password.
static TLS: LazyLock<Result<ClientTls, String>> =
    LazyLock::new(|| ClientTls::new(ClientTlsSettings::default()));

impl Dial {
    /// To `url`, within `timeout`.
    pub fn new(url: &DatabaseUrl, timeout: Duration) -> Self {
        let mut config = Config::new();
        config.host(&url.host).port(url.port).dbname(&url.database).connect_timeout(timeout);
        config.application_name("pgusher").keepalives_idle(KEEPALIVE);
        config
            .keepalives_interval(KEEPALIVE / 3)
            .keepalives_retries(3)
            .tcp_user_timeout(GONE_AFTER);
        config.user(url.user.as_deref().unwrap_or("postgres"));
        if let Some(password) = url.password.as_ref().map(Secret::expose) {
            config.password(password);
        }
        config.ssl_mode(match url.ssl_mode {
            SslMode::Disable => config::SslMode::Disable,
            SslMode::Prefer => config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => config::SslMode::Require,
        });
        let root_cert = url.root_cert.as_ref().filter(|path| *path != "system").map(PathBuf::from);
        Self { config, timeout, ssl_mode: url.ssl_mode, root_cert }
    }

    /// With these command-line options, as in libpq's `options`.
    #[must_use]
    pub fn options(mut self, options: &str) -> Self {
        self.config.options(options);
        self
    }

    /// A client and its messages, for the caller to poll.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn connect(&self) -> Result<(Client, Messages), DialError> {
        // The config's own timeout covers the socket only, not TLS and the login.
        let dialled = Box::pin(tokio::time::timeout(self.timeout, self.dialled())).await;
        Ok(dialled.map_err(|_| DialError::Slow)??)
    }

    async fn dialled(&self) -> Result<(Client, Messages), Error> {
        let tls = LateTls { mode: self.ssl_mode, root_cert: self.root_cert.clone() };
        let (client, mut connection) = self.config.connect(tls).await?;
        let messages = stream::poll_fn(move |cx| connection.poll_message(cx));
        Ok((client, Box::pin(messages)))
    }

    /// A pool of at most `size` such connections, dialled when first asked for.
    ///
    /// # Errors
    /// When the pool cannot be built.
    pub fn pool(self, size: usize) -> Result<Pool, String> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let (config, timeout) = (self.config.clone(), Some(self.timeout));
        Pool::builder(Manager::from_connect(config, self, recycling))
            .max_size(size.max(1))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: timeout, create: timeout, recycle: timeout })
            .build()
            .map_err(|e| e.to_string())
    }
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

/// A client whose connection is driven by a task of its own.
///
/// # Errors
/// [`DialError`].
pub async fn connect(url: &DatabaseUrl, timeout: Duration) -> Result<Client, DialError> {
    let (client, messages) = Dial::new(url, timeout).connect().await?;
    drop(drive(messages));
    Ok(client)
}

/// Polls a connection to its end.
fn drive(mut messages: Messages) -> JoinHandle<()> {
    tokio::spawn(async move { while let Some(Ok(_)) = messages.next().await {} })
}

impl deadpool_postgres::Connect for Dial {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(async move {
            // The pool has a deadline of its own.
            let (client, messages) = self.dialled().await?;
            Ok((client, drive(messages)))
        })
    }
}

/// TLS whose files are read when a server has said yes to it, off the async threads.
struct LateTls {
    mode: SslMode,
    root_cert: Option<PathBuf>,
}

/// The same, for one connection.
struct LateTlsConnect {
    mode: SslMode,
    root_cert: Option<PathBuf>,
    host: String,
}

impl MakeTlsConnect<Socket> for LateTls {
    type Stream = PgTlsStream<Socket>;
    type TlsConnect = LateTlsConnect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<LateTlsConnect> {
        let root_cert = self.root_cert.clone();
        Ok(LateTlsConnect { mode: self.mode, root_cert, host: host.to_owned() })
    }
}

impl TlsConnect<Socket> for LateTlsConnect {
    type Stream = PgTlsStream<Socket>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<PgTlsStream<Socket>>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let tls = TLS.as_ref().map_err(|e| io::Error::other(e.as_str()))?;
            let mut tls = PgTls::new(tls, self.mode, self.root_cert.as_deref()).await?;
            let connect = MakeTlsConnect::<Socket>::make_tls_connect(&mut tls, &self.host)?;
            connect.connect(socket).await
        })
    }
}
