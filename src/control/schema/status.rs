//! How far the registry's schema is, looked at and not touched.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Client;

use super::registry::{is_adopted, judge_tenants};
use super::{MigrationSet, RegistryReport, SchemaError};
use crate::tenant::{self, DatabaseUrl};

/// Where a registry stands.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryStatus {
    /// Whether it was made by another system.
    pub adopted: bool,
    /// Migrations that were applied.
    pub applied: Vec<String>,
    /// Migrations still to be applied.
    pub pending: Vec<String>,
    /// Migrations that were changed after they were applied.
    pub changed: Vec<String>,
    /// Migrations applied by a newer pgusher.
    pub unknown: Vec<String>,
    /// Tenants whose ids pgusher cannot serve.
    pub refused_tenants: Vec<String>,
    /// Tenants whose `databaseUrl` cannot be used, with the reason.
    pub unusable_urls: Vec<String>,
}

/// Looks at the registry behind `url`.
///
/// # Errors
/// When it cannot be reached or asked.
pub async fn registry_status(
    url: &DatabaseUrl,
    set: &MigrationSet,
    timeout: Duration,
) -> Result<RegistryStatus, SchemaError> {
    let failed = |cause| SchemaError::Sql { name: "the registry".to_owned(), cause };
    let client = tenant::connect(url, timeout).await?;
    look(&client, set).await.map_err(failed)
}

async fn look(
    client: &Client,
    set: &MigrationSet,
) -> Result<RegistryStatus, tokio_postgres::Error> {
    let (adopted, mut history) = history(client).await?;
    let mut status = RegistryStatus { adopted, ..RegistryStatus::default() };
    for migration in set.iter() {
        match history.remove(&migration.number) {
            None => status.pending.push(migration.name.clone()),
            Some((_, digest)) if digest == migration.digest() => {
                status.applied.push(migration.name.clone());
            }
            Some((name, _)) => status.changed.push(name),
        }
    }
    status.unknown = history.into_values().map(|(name, _)| name).collect();
    let sql = r#"SELECT to_regclass('public."Tenant"') IS NOT NULL"#;
    if client.query_one(sql, &[]).await?.try_get(0)? {
        let mut report = RegistryReport { adopted, ..RegistryReport::default() };
        judge_tenants(client, &mut report).await?;
        status.refused_tenants = report.refused_tenants;
        status.unusable_urls = report.unusable_urls;
    }
    Ok(status)
}

/// The migrations of `set` that this registry has not had yet: their names.
///
/// # Errors
/// When it cannot be asked.
pub async fn missing(
    client: &Client,
    set: &MigrationSet,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let (_, history) = history(client).await?;
    let missing = set.iter().filter(|migration| !history.contains_key(&migration.number));
    Ok(missing.map(|migration| migration.name.clone()).collect())
}

/// Whether the registry was made by another system, and its history.
async fn history(client: &Client) -> Result<(bool, Applied), tokio_postgres::Error> {
    let adopted = is_adopted(client).await?;
    let history = applied(client, if adopted { "pgusher" } else { "public" }).await?;
    Ok((adopted, history))
}

/// By number: name and digest.
type Applied = BTreeMap<i32, (String, String)>;

/// Empty where there is none yet.
async fn applied(client: &Client, schema: &str) -> Result<Applied, tokio_postgres::Error> {
    let table = format!("{schema}._pgusher_migrations");
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    if !client.query_one(sql, &[&table]).await?.try_get(0)? {
        return Ok(BTreeMap::new());
    }
    let sql = format!("SELECT number, name, digest FROM {table}");
    let rows = client.query(&sql, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}
