//! A tenant's database, as this room writes it: one session, one call, one transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState as Code;
use tokio_postgres::types::{ToSql, Type};

use super::Corner;
use super::event::{Kind, Parcel};
use crate::control::TenantClient;
use crate::control::seams::{SharedMint, TenantDoor};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;

/// Opens sessions in tenants' rooms and calls what `config/schema/pgusher` laid there. Cheap to
/// clone.
#[derive(Clone)]
pub struct Store {
    door: Arc<dyn TenantDoor>,
    mint: SharedMint,
    corner: Arc<Corner>,
}

/// What a call said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) outcome: String,
    /// Why it is dead.
    pub(super) state: Option<String>,
}

impl Store {
    /// Over a door, a mint of tokens for it, and the hand that lays the corner.
    pub fn new(door: Arc<dyn TenantDoor>, mint: SharedMint, corner: Arc<Corner>) -> Self {
        Self { door, mint, corner }
    }

    /// Takes one event into a tenant's database. When this returns, it is committed there.
    pub(super) async fn take(
        &self,
        provider: &str,
        tenant: &TenantId,
        parcel: &Parcel,
    ) -> Result<Said, Fault> {
        let sql = "SELECT outcome, state FROM pgusher.take_event($1, $2, $3, $4, $5, $6)";
        let kind = match parcel.kind {
            Kind::Message => "message",
            Kind::Receipt => "receipt",
        };
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&provider, Type::TEXT),
            (&parcel.event_id, Type::TEXT),
            (&parcel.message_id, Type::TEXT),
            (&kind, Type::TEXT),
            (&parcel.body, Type::JSONB),
            (&parcel.unfit, Type::TEXT),
        ];
        self.call(tenant, sql, &parameters).await
    }

    /// Tries a dead letter again.
    pub(super) async fn replay(&self, tenant: &TenantId, letter: &str) -> Result<Said, Fault> {
        let sql = "SELECT outcome, state FROM pgusher.replay_letter($1)";
        self.call(tenant, sql, &[(&letter, Type::TEXT)]).await
    }

    /// Applies receipts whose recipient is known by now.
    pub(super) async fn settle(&self, tenant: &TenantId) -> Result<(), Fault> {
        let client = self.enter(tenant).await?;
        let sql = "SELECT pgusher.settle_receipts(2000, interval '1 second')";
        let settled = client.query_typed(sql, &[]).await;
        settled.map(drop).map_err(|e| failed(tenant, &e))
    }

    /// One call; where pgusher's corner is missing or old, it is laid, and the call made again.
    async fn call(
        &self,
        tenant: &TenantId,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Said, Fault> {
        let client = self.enter(tenant).await?;
        match client.query_typed_one(sql, parameters).await {
            Err(error) if is_missing(&error) => {
                self.corner.ensure(tenant, client).await?;
                let client = self.enter(tenant).await?;
                let row = client.query_typed_one(sql, parameters).await;
                read(&row.map_err(|e| failed(tenant, &e))?)
            }
            result => read(&result.map_err(|e| failed(tenant, &e))?),
        }
    }

    /// A session in the tenant's room, as pgusher itself.
    pub(super) async fn enter(&self, tenant: &TenantId) -> Result<TenantClient, Fault> {
        let token = self.mint.sidecar(tenant)?;
        let entered = TenantClient::connect(self.door.open(), tenant, &token).await;
        entered.map_err(|e| failed(tenant, &e))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// The longest word an outcome is.
const WORD_BYTES_MAX: usize = 32;

fn read(row: &tokio_postgres::Row) -> Result<Said, Fault> {
    let word = |column| -> Result<Option<String>, Fault> {
        let word: Option<String> = row.try_get(column).map_err(|e| odd(e.to_string()))?;
        Ok(word.filter(|word| word.len() <= WORD_BYTES_MAX))
    };
    let outcome = word(0)?.ok_or_else(|| odd("no outcome".to_owned()))?;
    Ok(Said { outcome, state: word(1)? })
}

fn odd(cause: String) -> Fault {
    let text = "the tenant's database gave an answer that makes no sense";
    Fault::new(Blame::Tenant, SqlState::CONNECTION_FAILURE, text).because(cause)
}

/// Whether pgusher's corner of the database is not there, or older than the call.
fn is_missing(error: &tokio_postgres::Error) -> bool {
    let codes = [
        &Code::INVALID_SCHEMA_NAME,
        &Code::UNDEFINED_FUNCTION,
        &Code::UNDEFINED_TABLE,
        &Code::INSUFFICIENT_PRIVILEGE,
    ];
    error.code().is_some_and(|code| codes.contains(&code))
}

/// PostgreSQL's own words may quote a number or a text: only its SQLSTATE is told.
pub(super) fn failed(tenant: &TenantId, error: &tokio_postgres::Error) -> Fault {
    let state = error.code().map_or("none", Code::code);
    let (blame, text) = match state.get(..2) {
        Some("42" | "22" | "23" | "3F" | "0A") => {
            (Blame::Tenant, "the tenant's tables are not those messages can be stored in")
        }
        _ => (Blame::Server, "the tenant's database cannot be reached, or cannot answer now"),
    };
    Fault::new(blame, SqlState::CONNECTION_FAILURE, text)
        .because(format!("tenant {tenant}, SQLSTATE {state}"))
}

/// How long the corner may take to be laid.
pub(super) const CORNER_TIMEOUT: Duration = Duration::from_secs(8);
