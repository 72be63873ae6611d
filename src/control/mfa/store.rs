//! Second factors in the tenant's own tables.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState as State;
use tokio_postgres::types::ToSql;

use crate::control::road;
use crate::control::sql::slim;
use crate::control::{Refused, failed};
use crate::fault::{Blame, Fault, SqlState};

/// What is read of a row, where it has it: names of the switch, of the secret, and the counter.
const COLUMNS: [&str; 7] =
    ["isEnabled", "enabled", "mfaEnabled", "secret", "totpSecret", "mfaSecret", "lastCounter"];

/// An admin's row of `"AdminMFA"`.
pub(super) struct Factor {
    pub(super) secret: String,
    pub(super) enabled: bool,
    /// The last step whose code was taken.
    pub(super) used: Option<i64>,
}

/// One admin's rows.
pub(super) struct Store<'a> {
    pub(super) client: &'a Client,
    pub(super) admin: &'a str,
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Store<'_> {
    /// The row, read as JSON: an adopted database may call a column otherwise. One without such a
    /// table has no second factors.
    pub(super) async fn factor(&self) -> Result<Option<Factor>, Refused> {
        if self.admin.contains('\0') {
            return Ok(None);
        }
        let row = slim("m");
        let sql = format!(r#"SELECT {row} FROM "AdminMFA" m WHERE m."adminId"::text = $1 LIMIT 1"#);
        let of: Parameters<'_> = &[&self.admin, &COLUMNS];
        let found = match road::judged(self.client.query_opt(&sql, of)).await? {
            Ok(row) => row,
            Err(State::UNDEFINED_TABLE | State::UNDEFINED_COLUMN) => None,
            Err(state) => return Err(other(&state)),
        };
        let Some(row) = found else { return Ok(None) };
        let row: Option<serde_json::Value> = row.try_get(0).map_err(failed::internal)?;
        let row = row.unwrap_or_default();
        let [enabled, secret] = [&COLUMNS[..3], &COLUMNS[3..6]];
        let enabled = enabled.iter().find_map(|k| row.get(*k)?.as_bool());
        let secret = secret.iter().find_map(|k| row.get(*k)?.as_str());
        Ok(Some(Factor {
            secret: secret.unwrap_or_default().to_owned(),
            // A row that does not say counts: better asked for a code than let in without.
            enabled: enabled.unwrap_or(true),
            used: row.get("lastCounter").and_then(serde_json::Value::as_i64),
        }))
    }

    /// Writes a secret that waits for its first code; not over one that is confirmed.
    pub(super) async fn offer(&self, sealed: &str) -> Result<bool, Refused> {
        let sql = r#"INSERT INTO "AdminMFA" AS m ("adminId", "secret") VALUES ($1, $2)
                     ON CONFLICT ("adminId") DO UPDATE SET "secret" = excluded."secret",
                         "lastCounter" = NULL, "verifiedAt" = NULL, "updatedAt" = now()
                     WHERE NOT m."isEnabled""#;
        self.execute(sql, &[&self.admin, &sealed]).await
    }

    /// From now on a login takes a code.
    pub(super) async fn enable(&self, secret: &str, step: i64) -> Result<bool, Refused> {
        let sql = r#"UPDATE "AdminMFA" SET "isEnabled" = true, "verifiedAt" = now(),
                         "updatedAt" = now(), "lastCounter" = $3
                     WHERE "adminId" = $1 AND "secret" = $2 AND NOT "isEnabled""#;
        self.execute(sql, &[&self.admin, &secret, &step]).await
    }

    /// Takes a step; false when another was faster with it, or with a later one.
    pub(super) async fn spend_step(
        &self,
        secret: &str,
        resealed: Option<&str>,
        step: i64,
    ) -> Result<bool, Refused> {
        let sql = r#"UPDATE "AdminMFA" SET "lastCounter" = $3, "secret" = coalesce($4, "secret"),
                         "updatedAt" = now()
                     WHERE "adminId" = $1 AND "secret" = $2
                     AND ("lastCounter" IS NULL OR "lastCounter" < $3)"#;
        self.execute(sql, &[&self.admin, &secret, &step, &resealed]).await
    }

    /// Takes a recovery code; false when there is none, or it was taken.
    pub(super) async fn spend_code(&self, hash: &str) -> Result<bool, Refused> {
        let sql = r#"UPDATE "MFARecoveryCode" SET "usedAt" = now()
                     WHERE "adminId" = $1 AND "codeHash" = $2 AND "usedAt" IS NULL"#;
        self.execute(sql, &[&self.admin, &hash]).await
    }

    /// Recovery codes that were not used yet.
    pub(super) async fn codes_left(&self) -> Result<i64, Refused> {
        let sql = r#"SELECT count(*) FROM "MFARecoveryCode"
                     WHERE "adminId"::text = $1 AND "usedAt" IS NULL"#;
        match road::judged(self.client.query_one(sql, &[&self.admin])).await? {
            Ok(row) => Ok(row.try_get(0).map_err(failed::internal)?),
            Err(State::UNDEFINED_TABLE | State::UNDEFINED_COLUMN) => Ok(0),
            Err(state) => Err(other(&state)),
        }
    }

    /// These recovery codes and no others, in one statement.
    pub(super) async fn replace_codes(&self, hashes: &[String]) -> Result<(), Refused> {
        let sql = r#"WITH gone AS (DELETE FROM "MFARecoveryCode" WHERE "adminId" = $1)
                     INSERT INTO "MFARecoveryCode" ("adminId", "codeHash")
                     SELECT $1, hash FROM unnest($2::text[]) AS hash"#;
        self.execute(sql, &[&self.admin, &hashes]).await.map(drop)
    }

    /// The factor and its recovery codes.
    pub(super) async fn remove(&self) -> Result<(), Refused> {
        let sql = r#"WITH codes AS (DELETE FROM "MFARecoveryCode" WHERE "adminId" = $1)
                     DELETE FROM "AdminMFA" WHERE "adminId" = $1"#;
        self.execute(sql, &[&self.admin]).await.map(drop)
    }

    async fn execute(&self, sql: &str, row: Parameters<'_>) -> Result<bool, Refused> {
        match road::judged(self.client.execute(sql, row)).await? {
            Ok(rows) => Ok(rows > 0),
            Err(state) => Err(other(&state)),
        }
    }
}

/// PostgreSQL refused: an adopted database whose tables are of another shape, or one made
/// read-only.
fn other(state: &State) -> Refused {
    tracing::warn!(state = state.code(), "a tenant's tables of second factors cannot be used");
    Refused::Conflict {
        kind: "mfa-unavailable",
        title: "The tenant's database has no place for second factors",
    }
}

/// A factor that is in force and cannot be read.
pub(super) fn unreadable() -> Refused {
    let text = "the admin's second factor cannot be read";
    Fault::new(Blame::Tenant, SqlState::CONNECTION_FAILURE, text).into()
}
