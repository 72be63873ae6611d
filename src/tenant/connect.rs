//! The one place a connection of pgusher's own (registry, provisioner) is dialled.

use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, config};

use super::DatabaseUrl;
use crate::net::tls::SslMode;
use crate::units::Secret;

/// What a connection brings beside answers: notices and notifications. The connection lives as
/// long as this is polled.
pub type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

/// A client whose connection is driven by a task of its own.
///
/// # Errors
/// When PostgreSQL cannot be reached or refuses the login.
pub async fn connect(url: &DatabaseUrl, timeout: Duration) -> Result<Client, Error> {
    let (client, messages) = connect_with(&configured(url, timeout)).await?;
    drop(drive(messages));
    Ok(client)
}

/// A client and its messages, for the caller to poll.
///
/// # Errors
/// As [`connect`].
pub async fn connect_with(config: &Config) -> Result<(Client, Messages), Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let messages = stream::poll_fn(move |cx| connection.poll_message(cx));
    Ok((client, Box::pin(messages)))
}

/// A string as tokio-postgres takes it.
pub fn configured(url: &DatabaseUrl, timeout: Duration) -> Config {
    let mut config = Config::new();
    config.host(&url.host).port(url.port).dbname(&url.database).connect_timeout(timeout);
    config.application_name("pgusher").keepalives_idle(Duration::from_secs(30));
    config.user(url.user.as_deref().unwrap_or("postgres"));
    if let Some(password) = url.password.as_ref().map(Secret::expose) {
        config.password(password);
    }
    config.ssl_mode(match url.ssl_mode {
        SslMode::Disable => config::SslMode::Disable,
        SslMode::Prefer => config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => config::SslMode::Require,
    });
    config
}

/// Polls a connection to its end.
pub fn drive(mut messages: Messages) -> JoinHandle<()> {
    tokio::spawn(async move { while let Some(Ok(_)) = messages.next().await {} })
}

/// A pool of at most `size` such connections, dialled when first asked for.
///
/// # Errors
/// When the pool cannot be built.
pub fn pool(config: Config, size: usize, timeout: Duration) -> Result<Pool, String> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_connect(config, Dial, recycling))
        .max_size(size.max(1))
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts { wait: Some(timeout), create: Some(timeout), recycle: Some(timeout) })
        .build()
        .map_err(|e| e.to_string())
}

/// How deadpool dials.
struct Dial;

impl deadpool_postgres::Connect for Dial {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let config = config.clone();
        Box::pin(async move {
            let (client, messages) = connect_with(&config).await?;
            Ok((client, drive(messages)))
        })
    }
}
