//! pgusher's own way into a tenant's database: a session in the tenant's room, like everybody's.

use std::sync::Arc;
use std::time::Duration;

use super::Refused;
use super::client::TenantClient;
use super::seams::{SharedMint, TenantDoor};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;

/// How long the tenant's database may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Opens sessions as pgusher itself.
#[derive(Clone)]
pub struct Road {
    door: Arc<dyn TenantDoor>,
    mint: SharedMint,
}

impl Road {
    /// Through `door`, with tokens of `mint`.
    pub fn new(door: Arc<dyn TenantDoor>, mint: SharedMint) -> Self {
        Self { door, mint }
    }

    /// A session in the tenant's room.
    ///
    /// # Errors
    /// 08006 when the tenant's database cannot be reached in time.
    pub async fn enter(&self, tenant: &TenantId) -> Result<TenantClient, Refused> {
        let token = self.mint.sidecar(tenant)?;
        let entered = TenantClient::connect(self.door.open(), tenant, &token);
        Ok(in_time(entered).await?)
    }
}

impl std::fmt::Debug for Road {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Road")
    }
}

/// An answer of the tenant's database, if it comes in time.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    let answered = tokio::time::timeout(TIMEOUT, answer).await;
    answered.map_err(|e| closed(e.into()))?.map_err(|e| closed(e.into()))
}

/// As [`in_time`], but an answer that PostgreSQL refused is the caller's to judge.
pub(super) async fn judged<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<Result<T, tokio_postgres::error::SqlState>, Fault> {
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(value)) => Ok(Ok(value)),
        Ok(Err(error)) => match error.code() {
            Some(state) => Ok(Err(state.clone())),
            None => Err(closed(error.into())),
        },
        Err(late) => Err(closed(late.into())),
    }
}

fn closed(cause: Box<dyn std::error::Error + Send + Sync>) -> Fault {
    let message = "the tenant's database cannot be reached";
    Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, message).because(cause)
}
