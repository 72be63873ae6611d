//! pgusher's own client of a tenant's database, which leaves nothing at work behind itself.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio_postgres::{Client, NoTls};

use super::bounded::Bounded;
use crate::ident::TenantId;
use crate::units::Secret;

/// How long a connection may say goodbye: its stream ends in this process, nothing is waited for.
const GOODBYE: Duration = Duration::from_millis(200);

/// A client in a tenant's room. Dropped while an answer is owed, it takes its connection with it,
/// and the room ends the statement; a bare [`Client`] would leave the connection there, waiting
/// for the answer, and the server with its locks.
pub struct TenantClient {
    client: Client,
    /// Dropped after the client.
    _here: oneshot::Sender<()>,
}

impl TenantClient {
    /// Enters the room at the other end of `stream` as pgusher itself.
    pub(super) async fn connect(
        stream: DuplexStream,
        tenant: &TenantId,
        token: &Secret,
    ) -> Result<Self, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.user("pgusher").password(token.expose()).dbname(tenant.database());
        config.application_name("pgusher sidecar");
        // What is in the database is its owner's; how much of it comes here is not.
        let (client, connection) = config.connect_raw(Bounded::new(stream), NoTls).await?;
        let (here, gone) = oneshot::channel();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let has_ended = tokio::select! {
                _ = &mut connection => true,
                _ = gone => false,
            };
            if !has_ended {
                // Owed nothing, it ends at once.
                let _ = tokio::time::timeout(GOODBYE, connection).await;
            }
        });
        Ok(Self { client, _here: here })
    }
}

impl Deref for TenantClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for TenantClient {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl std::fmt::Debug for TenantClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantClient")
    }
}
