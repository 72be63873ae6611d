//! Brings a database up to sets of migrations, all of it in one transaction.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Transaction};

use super::{Migration, MigrationSet};
use crate::control::sql::ident;
use crate::tenant::DialError;

/// Where a database remembers what was applied to it.
#[derive(Debug, Clone, Copy)]
pub struct History {
    /// The schema of the table `_pgusher_migrations`.
    pub schema: &'static str,
    /// The role the migrations run as; the history is its, too.
    pub run_as: Option<&'static str>,
}

/// What a database is to be brought to.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade<'a> {
    /// The sets, in the order they are applied, each with its history.
    pub sets: &'a [(&'a MigrationSet, History)],
    /// How long a statement may wait for a lock: a migration in line for one holds up everybody
    /// who comes after it. `None`: as the server is set.
    pub lock_timeout: Option<Duration>,
    /// SQL that ends it, run whether or not something was missing.
    pub afterwards: &'a str,
}

/// Why a database could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// PostgreSQL refused.
    #[error("migration {name}")]
    Sql {
        /// Which one.
        name: String,
        /// Why.
        #[source]
        cause: tokio_postgres::Error,
    },
    /// The database cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The tenant's logins could not be put right.
    #[error("the tenant's logins: {0}")]
    Login(String),
    /// A file was edited after it was applied.
    #[error("migration {0} was changed after it was applied; add a new one instead")]
    Changed(String),
    /// A file holds COMMIT, ROLLBACK or the like.
    #[error("migration {0} ends the transaction it runs in; take its COMMIT or ROLLBACK out")]
    EndsTransaction(String),
    /// The database is ahead of the files.
    #[error("the database is at migration {found}, newer than the newest known here, {known}")]
    Newer {
        /// The database's.
        found: i32,
        /// Ours.
        known: i32,
    },
}

impl SchemaError {
    /// Whether the same may go well a moment later: a lock, a full house, a server that restarts.
    pub fn may_pass(&self) -> bool {
        let cause = match self {
            Self::Sql { cause, .. } | Self::Dial(DialError::Postgres(cause)) => cause,
            Self::Dial(DialError::Slow) => return true,
            _ => return false,
        };
        let Some(code) = cause.code() else { return true };
        let passing = [
            &SqlState::LOCK_NOT_AVAILABLE,
            &SqlState::T_R_DEADLOCK_DETECTED,
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::TOO_MANY_CONNECTIONS,
            &SqlState::CANNOT_CONNECT_NOW,
            &SqlState::ADMIN_SHUTDOWN,
            &SqlState::CRASH_SHUTDOWN,
        ];
        passing.contains(&code)
    }
}

impl SchemaError {
    /// Whether whoever owns the database may have brought it about alone: by a lock that is held, a
    /// history that says what is not so, a right taken away, a login shut. It says little about the
    /// migration then, and nothing about other tenants.
    pub fn may_be_its_owners(&self) -> bool {
        let cause = match self {
            Self::Changed(_) | Self::Newer { .. } => return true,
            Self::Sql { cause, .. } | Self::Dial(DialError::Postgres(cause)) => cause,
            _ => return false,
        };
        let owners = [
            &SqlState::LOCK_NOT_AVAILABLE,
            &SqlState::T_R_DEADLOCK_DETECTED,
            &SqlState::INSUFFICIENT_PRIVILEGE,
            &SqlState::INVALID_PASSWORD,
            &SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            &SqlState::TOO_MANY_CONNECTIONS,
        ];
        cause.code().is_some_and(|code| owners.contains(&code))
    }
}

/// A key for `pg_advisory_xact_lock`: one runner at a time in a database.
const LOCK: i64 = 0x7067_7573_6865_7201;

/// Applies what is missing and says what that was: all of it is committed, or none. May be run by
/// several processes at once, and again after a crash.
///
/// # Errors
/// [`SchemaError`]; the database is as it was.
///
/// # Cancel safety
/// Dropped, the transaction is rolled back; cut off at the commit, it was made or was not.
pub async fn apply(client: &mut Client, upgrade: Upgrade<'_>) -> Result<Vec<String>, SchemaError> {
    let failed = |cause| SchemaError::Sql { name: "the history".to_owned(), cause };
    let tx = client.transaction().await.map_err(failed)?;
    if let Some(wait) = upgrade.lock_timeout {
        let sql = format!("SET LOCAL lock_timeout = {}", wait.as_millis());
        tx.batch_execute(&sql).await.map_err(failed)?;
    }
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failed)?;
    let mut done = Vec::new();
    for (set, history) in upgrade.sets {
        apply_set(&tx, set, *history, &mut done).await?;
    }
    tx.batch_execute(upgrade.afterwards).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(done)
}

/// Writes in a database that was made elsewhere that the migrations of a set up to `version` are
/// there, applies pgusher's `own`, and runs `afterwards`: one commit. What its history says already
/// stays.
///
/// # Errors
/// [`SchemaError`]; the database is as it was.
pub async fn baseline(
    client: &mut Client,
    (product, history, version): (&MigrationSet, History, i32),
    (own, corner): (&MigrationSet, History),
    afterwards: &str,
) -> Result<(), SchemaError> {
    let failed = |cause| SchemaError::Sql { name: "the history".to_owned(), cause };
    let tx = client.transaction().await.map_err(failed)?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failed)?;
    ensure_history(&tx, history).await?;
    if newest(&tx, history).await? == 0 {
        for migration in product.iter().filter(|migration| migration.number <= version) {
            note(&tx, migration, history).await?;
        }
    }
    apply_set(&tx, own, corner, &mut Vec::new()).await?;
    tx.batch_execute(afterwards).await.map_err(failed)?;
    tx.commit().await.map_err(failed)
}

async fn apply_set(
    tx: &Transaction<'_>,
    set: &MigrationSet,
    history: History,
    done: &mut Vec<String>,
) -> Result<(), SchemaError> {
    let failed = |cause| SchemaError::Sql { name: "the history".to_owned(), cause };
    if let Some(role) = history.run_as {
        tx.batch_execute(&format!("SET LOCAL ROLE {}", ident(role))).await.map_err(failed)?;
    }
    ensure_history(tx, history).await?;
    let newest = newest(tx, history).await?;
    if newest > set.version() {
        return Err(SchemaError::Newer { found: newest, known: set.version() });
    }
    for migration in set.iter() {
        if apply_one(tx, migration, history).await? {
            done.push(migration.name.clone());
        }
    }
    tx.batch_execute("RESET ROLE").await.map_err(failed)
}

/// Makes the history where there is none. The caller holds the lock: two at once may both try.
async fn ensure_history(tx: &Transaction<'_>, history: History) -> Result<(), SchemaError> {
    let failed = |cause| SchemaError::Sql { name: "the history".to_owned(), cause };
    let schema = ident(history.schema);
    let sql = "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($1 || '._pgusher_migrations') \
               IS NOT NULL";
    let there = tx.query_one(sql, &[&schema]).await.map_err(failed)?;
    // IF NOT EXISTS would ask for the right to make what is there already.
    if !there.try_get::<_, bool>(0).map_err(failed)? {
        tx.batch_execute(&format!("CREATE SCHEMA {schema}")).await.map_err(failed)?;
    }
    if there.try_get::<_, bool>(1).map_err(failed)? {
        return Ok(());
    }
    let sql = format!(
        "CREATE TABLE {schema}._pgusher_migrations (
             number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,
             applied_at timestamptz NOT NULL DEFAULT now())"
    );
    tx.batch_execute(&sql).await.map_err(failed)
}

async fn newest(tx: &Transaction<'_>, history: History) -> Result<i32, SchemaError> {
    let sql = format!(
        "SELECT coalesce(max(number), 0) FROM {}._pgusher_migrations",
        ident(history.schema)
    );
    let row = tx.query_one(&sql, &[]).await;
    let row = row.and_then(|row| row.try_get(0));
    row.map_err(|cause| SchemaError::Sql { name: "the history".to_owned(), cause })
}

/// Whether it had to be applied.
async fn apply_one(
    tx: &Transaction<'_>,
    migration: &Migration,
    history: History,
) -> Result<bool, SchemaError> {
    let failed = |cause| SchemaError::Sql { name: migration.name.clone(), cause };
    let table = format!("{}._pgusher_migrations", ident(history.schema));
    // The history of a product is the tenant's own table: it may hold anything.
    let sql = format!("SELECT left(digest::text, 128) FROM {table} WHERE number = $1");
    let row = tx.query_opt(&sql, &[&migration.number]).await.map_err(failed)?;
    if let Some(row) = row {
        let applied: String = row.try_get(0).map_err(failed)?;
        if applied == migration.digest() {
            return Ok(false);
        }
        return Err(SchemaError::Changed(migration.name.clone()));
    }
    // The mark is gone when the file itself ended the transaction.
    tx.batch_execute("SET LOCAL pgusher.migrating = 'on'").await.map_err(failed)?;
    tx.batch_execute(&migration.sql).await.map_err(failed)?;
    let sql = "SELECT coalesce(current_setting('pgusher.migrating', true), '') = 'on'";
    let whole: bool =
        tx.query_one(sql, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    if !whole {
        return Err(SchemaError::EndsTransaction(migration.name.clone()));
    }
    note(tx, migration, history).await?;
    Ok(true)
}

/// Writes that a migration is applied.
async fn note(
    tx: &Transaction<'_>,
    migration: &Migration,
    history: History,
) -> Result<(), SchemaError> {
    let schema = ident(history.schema);
    let sql = format!(
        "INSERT INTO {schema}._pgusher_migrations (number, name, digest) VALUES ($1, $2, $3)"
    );
    let digest = migration.digest();
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&migration.number, &migration.name, &digest];
    let done = tx.execute(&sql, &row).await;
    done.map_err(|cause| SchemaError::Sql { name: migration.name.clone(), cause })?;
    Ok(())
}
