//! Brings a database up to a set of migrations.

use tokio_postgres::Client;

use super::{Migration, MigrationSet};
use crate::control::sql::ident;
use crate::tenant::DialError;

/// Where a database remembers what was applied to it.
#[derive(Debug, Clone, Copy)]
pub struct History {
    /// The schema of the table `_pgusher_migrations`.
    pub schema: &'static str,
    /// The role the migrations run as; the history stays the caller's.
    pub run_as: Option<&'static str>,
}

/// Why a database could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// PostgreSQL refused.
    #[error("migration {name}: {cause}")]
    Sql {
        /// Which one.
        name: String,
        /// Why.
        cause: tokio_postgres::Error,
    },
    /// The database cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A file was edited after it was applied.
    #[error("migration {0} was changed after it was applied; add a new one instead")]
    Changed(String),
    /// The database is ahead of the files.
    #[error("the database is at migration {found}, newer than the newest known here, {known}")]
    Newer {
        /// The database's.
        found: i32,
        /// Ours.
        known: i32,
    },
}

/// A key for `pg_advisory_xact_lock`: one runner at a time in a database.
const LOCK: i64 = 0x7067_7573_6865_7201;

/// Applies what is missing, one transaction each, and says what that was. May be run by several
/// processes at once and again after a crash.
///
/// # Errors
/// [`SchemaError`]; what was applied before it stays applied.
pub async fn apply(
    client: &mut Client,
    set: &MigrationSet,
    history: History,
) -> Result<Vec<String>, SchemaError> {
    let mut done = Vec::new();
    ensure_history(client, history).await?;
    let newest = newest(client, history).await?;
    if newest > set.version() {
        return Err(SchemaError::Newer { found: newest, known: set.version() });
    }
    for migration in set.iter() {
        if apply_one(client, migration, history).await? {
            done.push(migration.name.clone());
        }
    }
    Ok(done)
}

async fn ensure_history(client: &mut Client, history: History) -> Result<(), SchemaError> {
    let failed = |cause| SchemaError::Sql { name: "the history".to_owned(), cause };
    let schema = ident(history.schema);
    // CREATE … IF NOT EXISTS is not safe against itself: two at once may both try.
    let sql = format!(
        "BEGIN; SELECT pg_advisory_xact_lock({LOCK});
         CREATE SCHEMA IF NOT EXISTS {schema};
         CREATE TABLE IF NOT EXISTS {schema}._pgusher_migrations (
             number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,
             applied_at timestamptz NOT NULL DEFAULT now());
         COMMIT"
    );
    let result = client.batch_execute(&sql).await.map_err(failed);
    if result.is_err() {
        drop(client.batch_execute("ROLLBACK").await);
    }
    result
}

async fn newest(client: &Client, history: History) -> Result<i32, SchemaError> {
    let sql = format!(
        "SELECT coalesce(max(number), 0) FROM {}._pgusher_migrations",
        ident(history.schema)
    );
    let row = client.query_one(&sql, &[]).await;
    let row = row.and_then(|row| row.try_get(0));
    row.map_err(|cause| SchemaError::Sql { name: "the history".to_owned(), cause })
}

/// Whether it had to be applied.
async fn apply_one(
    client: &mut Client,
    migration: &Migration,
    history: History,
) -> Result<bool, SchemaError> {
    let failed = |cause| SchemaError::Sql { name: migration.name.clone(), cause };
    let table = format!("{}._pgusher_migrations", ident(history.schema));
    let tx = client.transaction().await.map_err(failed)?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failed)?;
    let sql = format!("SELECT digest FROM {table} WHERE number = $1");
    let digest = migration.digest();
    if let Some(row) = tx.query_opt(&sql, &[&migration.number]).await.map_err(failed)? {
        let applied: String = row.try_get(0).map_err(failed)?;
        if applied == digest {
            return Ok(false);
        }
        return Err(SchemaError::Changed(migration.name.clone()));
    }
    if let Some(role) = history.run_as {
        tx.batch_execute(&format!("SET LOCAL ROLE {}", ident(role))).await.map_err(failed)?;
    }
    tx.batch_execute(&migration.sql).await.map_err(failed)?;
    tx.batch_execute("RESET ROLE").await.map_err(failed)?;
    let sql = format!("INSERT INTO {table} (number, name, digest) VALUES ($1, $2, $3)");
    tx.execute(&sql, &[&migration.number, &migration.name, &digest]).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(true)
}
