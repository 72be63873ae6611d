//! The registry's schema: made new, or an existing one adopted as it stands.

use std::time::Duration;

use tokio_postgres::Client;

use super::MigrationSet;
use super::apply::{History, SchemaError, Upgrade, apply};
use crate::ident::TenantId;
use crate::tenant::{self, DatabaseUrl};

/// What was found and done.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryReport {
    /// Whether the registry was made by another system.
    pub adopted: bool,
    /// The migrations applied now.
    pub applied: Vec<String>,
    /// Tenants whose ids pgusher cannot serve.
    pub refused_tenants: Vec<String>,
    /// Tenants whose `databaseUrl` cannot be used, with the reason.
    pub unusable_urls: Vec<String>,
}

/// Refused ids named at most; the report says there are more.
const NAMED_MAX: i64 = 1000;

/// Brings the registry up to date. A registry that has `_prisma_migrations` was made by the system
/// being replaced: nothing found in it is altered, and pgusher's history goes to its own schema.
///
/// # Errors
/// When the registry cannot be reached, or a migration fails.
pub async fn migrate_registry(
    url: &DatabaseUrl,
    set: &MigrationSet,
    timeout: Duration,
) -> Result<RegistryReport, SchemaError> {
    let failed = |cause| SchemaError::Sql { name: "the registry".to_owned(), cause };
    let mut client = tenant::connect(url, timeout).await?;
    let adopted = is_adopted(&client).await.map_err(failed)?;
    let schema = if adopted { "pgusher" } else { "public" };
    let sets = [(set, History { schema, run_as: None })];
    let upgrade = Upgrade { sets: &sets, lock_timeout: None, afterwards: "" };
    let applied = apply(&mut client, upgrade).await?;
    let mut report = RegistryReport { adopted, applied, ..RegistryReport::default() };
    judge_tenants(&client, &mut report).await.map_err(failed)?;
    Ok(report)
}

pub(super) async fn is_adopted(client: &Client) -> Result<bool, tokio_postgres::Error> {
    // A history of pgusher's own in public settles it: a tool may add a _prisma_migrations later.
    let sql = "SELECT to_regclass('public._prisma_migrations') IS NOT NULL \
               AND to_regclass('public._pgusher_migrations') IS NULL";
    client.query_one(sql, &[]).await?.try_get(0)
}

pub(super) async fn judge_tenants(
    client: &Client,
    report: &mut RegistryReport,
) -> Result<(), tokio_postgres::Error> {
    let sql = r#"SELECT "id"::text FROM public."Tenant" WHERE "id" !~ '^[a-z0-9_]{1,56}$'
                 ORDER BY 1 LIMIT $1"#;
    for row in client.query(sql, &[&NAMED_MAX]).await? {
        let id: String = row.try_get(0)?;
        if TenantId::parse(&id).is_err() {
            report.refused_tenants.push(id);
        }
    }
    if !report.adopted {
        return Ok(());
    }
    let sql = r#"SELECT "id"::text, "databaseUrl" FROM public."Tenant" ORDER BY 1"#;
    for row in client.query(sql, &[]).await? {
        let (id, url): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if let Err(why) = DatabaseUrl::parse(&url) {
            report.unusable_urls.push(format!("{id}: {why}"));
        }
    }
    Ok(())
}
