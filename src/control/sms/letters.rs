//! A tenant's dead letters: looked at and tried again, by an operator.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};

use super::Store;
use super::store::failed;
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;

/// Dead letters of pgusher's making, in the tenant's `"DeadLetterQueue"`.
#[derive(Debug, Clone)]
pub struct Letters(Store);

/// A message that waits: what it is and why, never what it says or from whom.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// Its id in the tenant's table.
    pub id: String,
    /// The provider it came from.
    pub source: String,
    /// `message` or `receipt`.
    pub kind: String,
    /// How often it was tried.
    pub attempts: i32,
    /// RFC 3339.
    pub created_at: String,
}

/// What a replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Letters that are stored now.
    pub resolved: u32,
    /// Letters that are dead still.
    pub dead: u32,
    /// Letters somebody else resolved or removed meanwhile.
    pub gone: u32,
}

/// Letters read at once. A replay of all goes on from there.
const PAGE: i64 = 500;

/// How long a look, or one try, may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Letters {
    /// The dead letters that `store` reaches.
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    /// Up to 500 letters that wait, after the one with the id `after`.
    ///
    /// # Errors
    /// 3D000 without such a tenant; 08006 when its database cannot be asked.
    pub async fn list(&self, tenant: &TenantId, after: &str) -> Result<Vec<Letter>, Fault> {
        let asked = async {
            let client = self.0.enter(tenant).await?;
            // Only what `pgusher.bury` wrote: the product may keep letters of its own there.
            let sql = r#"SELECT d."id"::text, left(d."source", 64), d."payload" ->> 'kind',
                             d."attempts", to_char(d."createdAt" AT TIME ZONE 'UTC',
                                 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                         FROM public."DeadLetterQueue" d
                         WHERE d."status" = 'pending' AND d."id"::text > $1
                             AND d."payload" ->> 'kind' IN ('message', 'receipt')
                         ORDER BY d."id"::text LIMIT $2"#;
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&after, Type::TEXT), (&PAGE, Type::INT8)];
            let rows = client.query_typed(sql, &parameters).await;
            rows.map_err(|e| failed(tenant, &e))
        };
        let rows = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(slow()))?;
        let letter = |row: &tokio_postgres::Row| -> Result<Letter, tokio_postgres::Error> {
            Ok(Letter {
                id: row.try_get(0)?,
                source: row.try_get(1)?,
                kind: row.try_get(2)?,
                attempts: row.try_get(3)?,
                created_at: row.try_get(4)?,
            })
        };
        rows.iter().map(|row| letter(row).map_err(|e| failed(tenant, &e))).collect()
    }

    /// Tries one letter again.
    ///
    /// # Errors
    /// As [`Letters::list`].
    pub async fn replay(&self, tenant: &TenantId, letter: &str) -> Result<Replayed, Fault> {
        let mut done = Replayed::default();
        self.try_one(tenant, letter, &mut done).await?;
        Ok(done)
    }

    /// Tries every letter that waits again, once.
    ///
    /// # Errors
    /// As [`Letters::list`]; what was resolved until then stays so.
    pub async fn replay_all(&self, tenant: &TenantId) -> Result<Replayed, Fault> {
        let (mut done, mut after) = (Replayed::default(), String::new());
        loop {
            let page = self.list(tenant, &after).await?;
            let Some(last) = page.last() else { return Ok(done) };
            after.clone_from(&last.id);
            for letter in &page {
                self.try_one(tenant, &letter.id, &mut done).await?;
            }
        }
    }

    async fn try_one(
        &self,
        tenant: &TenantId,
        letter: &str,
        done: &mut Replayed,
    ) -> Result<(), Fault> {
        let tried = tokio::time::timeout(PATIENCE, self.0.replay(tenant, letter)).await;
        let said = tried.unwrap_or_else(|_| Err(slow()))?;
        let count = match said.outcome.as_str() {
            "resolved" => &mut done.resolved,
            "gone" => &mut done.gone,
            _ => &mut done.dead,
        };
        *count = count.saturating_add(1);
        Ok(())
    }
}

fn slow() -> Fault {
    let text = "the tenant's database does not answer in time";
    Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, text)
}
