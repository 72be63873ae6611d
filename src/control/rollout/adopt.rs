//! A database another system made becomes one whose schema pgusher keeps.
//!
//! Nothing in it is altered but what pgusher adds: its history says how many of the product's
//! migrations are there already, and its own corner is made. From then on it takes part in every
//! rollout.

use std::time::Duration;

use tokio_postgres::{Client, Transaction};

use super::course::Rollout;
use super::queue::reached;
use super::tenant::TAKEN_OVER;
use crate::control::Refused;
use crate::control::schema::{History, MigrationSet, SchemaError, baseline};
use crate::fault::{Blame, Fault, SqlState, told};
use crate::ident::{Role, TenantId};
use crate::tenant;

/// What was found in a database and done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// Whether it has Prisma's history.
    pub prisma: bool,
    /// The version it was found to have: the product's migrations up to here count as applied.
    pub schema_version: i32,
    /// The newest version; `pgusher migrate tenants` applies what lies between.
    pub newest: i32,
    /// Columns that the product's schema has at that version and the database lacks, as
    /// `table.column`: code that needs them will fail.
    pub columns_missing: Vec<String>,
    /// Whether it was written down, or only looked at.
    pub taken_over: bool,
}

/// A dial and the comparison at most.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Takes over the database of an adopted tenant. `at` says which version it has; without it, the
/// highest one all of whose tables are there. `only_look` changes nothing.
///
/// # Errors
/// [`Refused::NotFound`]; when pgusher made the database itself; when not even the first version's
/// tables are there; when it cannot be reached.
pub async fn adopt(
    rollout: &Rollout,
    id: &TenantId,
    at: Option<i32>,
    only_look: bool,
) -> Result<Adoption, Refused> {
    let found = rollout.registry.tenant(id).await?.ok_or(Refused::NotFound)?;
    if !found.adopted {
        return Err(refusal("pgusher made this database: it is in every rollout already").into());
    }
    let mut client =
        tenant::connect(&found.url(Role::Owner), TIMEOUT).await.map_err(unreachable)?;
    let mut adoption = look(&mut client, &rollout.product, at).await.map_err(unreachable)?;
    if adoption.schema_version == 0 {
        let text = "not even the tables of the first migration are in this database; say \
                    --at-version N if its schema is another product's";
        return Err(refusal(text).into());
    }
    if only_look {
        return Ok(adoption);
    }
    let own = MigrationSet::own();
    write(&mut client, rollout, id, adoption.schema_version, &own).await.map_err(unreachable)?;
    let version = adoption.schema_version.to_string();
    // No migration was run: it proves none.
    let action = format!("adopted at schema {version}");
    reached(&rollout.registry, id, (&version, own.version()), &action).await?;
    adoption.taken_over = true;
    Ok(adoption)
}

fn refusal(text: &'static str) -> Fault {
    Fault::new(Blame::Client, SqlState::INSUFFICIENT_PRIVILEGE, text)
}

fn unreachable(cause: impl Into<SchemaError>) -> Refused {
    let cause = cause.into();
    let text = format!("the tenant's database: {}", told(&cause));
    Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, text).because(cause).into()
}

/// Builds the product's schema beside the database's own, migration by migration, compares, and
/// takes it all back.
async fn look(
    client: &mut Client,
    product: &MigrationSet,
    at: Option<i32>,
) -> Result<Adoption, SchemaError> {
    let failed = |cause| SchemaError::Sql { name: "the comparison".to_owned(), cause };
    let tx = client.transaction().await.map_err(failed)?;
    let sql = "SELECT to_regclass('public._prisma_migrations') IS NOT NULL";
    let prisma = tx.query_one(sql, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    let mut adoption = Adoption { prisma, newest: product.version(), ..Adoption::default() };
    tx.batch_execute(
        "CREATE SCHEMA pgusher_comparison; SET LOCAL search_path = pgusher_comparison",
    )
    .await
    .map_err(failed)?;
    for migration in product.iter() {
        let wrong = |cause| SchemaError::Sql { name: migration.name.clone(), cause };
        if at.is_some_and(|at| migration.number > at) {
            break;
        }
        let before = names(&tx, TABLES).await.map_err(wrong)?;
        tx.batch_execute(&migration.sql).await.map_err(wrong)?;
        let lacking = names(&tx, COLUMNS_MISSING).await.map_err(wrong)?;
        // A table of another make may lack a column and be the same table; a column that this
        // migration would have added to it was not added.
        let added = lacking.iter().filter(|name| !adoption.columns_missing.contains(name));
        let not_added = added
            .filter_map(|name| name.split_once('.'))
            .any(|(table, _)| before.iter().any(|known| known == table));
        let absent = !names(&tx, TABLES_MISSING).await.map_err(wrong)?.is_empty();
        if at.is_none() && (absent || not_added) {
            break;
        }
        adoption.schema_version = migration.number;
        adoption.columns_missing = lacking;
    }
    tx.rollback().await.map_err(failed)?;
    Ok(adoption)
}

const TABLES: &str = "SELECT table_name::text FROM information_schema.tables
    WHERE table_schema = 'pgusher_comparison' ORDER BY 1";

const TABLES_MISSING: &str = "SELECT table_name::text FROM information_schema.tables
    WHERE table_schema = 'pgusher_comparison'
    EXCEPT SELECT table_name::text FROM information_schema.tables
    WHERE table_schema = 'public' ORDER BY 1";

const COLUMNS_MISSING: &str = "SELECT table_name || '.' || column_name
    FROM information_schema.columns WHERE table_schema = 'pgusher_comparison'
    EXCEPT SELECT table_name || '.' || column_name FROM information_schema.columns
    WHERE table_schema = 'public' ORDER BY 1";

async fn names(tx: &Transaction<'_>, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    tx.query(sql, &[]).await?.iter().map(|row| row.try_get(0)).collect()
}

/// The history up to `version`, pgusher's own corner and the mark, in one commit.
async fn write(
    client: &mut Client,
    rollout: &Rollout,
    id: &TenantId,
    version: i32,
    own: &MigrationSet,
) -> Result<(), SchemaError> {
    let corner = History { schema: "pgusher", run_as: None };
    let mark = format!(
        "INSERT INTO pgusher.tenant_mark (tenant_id) VALUES ('{id}') ON CONFLICT DO NOTHING"
    );
    baseline(client, (&rollout.product, TAKEN_OVER, version), (own, corner), &mark).await
}
