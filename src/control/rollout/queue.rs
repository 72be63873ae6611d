//! Who is behind, by the registry.

use super::report::{RolloutStatus, VersionCount};
use crate::control::failed;
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::Registry;

/// The versions every tenant should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Goal {
    /// `schemaVersion`: the product's.
    pub(super) product: String,
    /// pgusher's own corner.
    pub(super) own: i32,
}

/// Tenants whose schema is pgusher's to migrate: made by it, or taken over.
const OURS: &str = r#"FROM public."Tenant" t JOIN pgusher.tenants p ON p.tenant_id = t."id"
    WHERE (p.managed OR p.own_version IS NOT NULL) AND t."id" ~ '^[a-z0-9_]{1,56}$'"#;

const BEHIND: &str =
    r#"AND (t."schemaVersion" IS DISTINCT FROM $1 OR p.own_version IS DISTINCT FROM $2)"#;

/// Ids of one page.
const PAGE: i64 = 500;

/// Of those behind, so many are named.
const NAMED_MAX: i64 = 100;

impl Goal {
    /// Up to a page of tenants behind it, after `after`, by id.
    pub(super) async fn behind(
        &self,
        registry: &Registry,
        after: &str,
    ) -> Result<Vec<TenantId>, Fault> {
        self.page(registry, after, PAGE).await
    }

    async fn page(
        &self,
        registry: &Registry,
        after: &str,
        limit: i64,
    ) -> Result<Vec<TenantId>, Fault> {
        let sql = format!(
            r#"SELECT t."id"::text {OURS} {BEHIND} AND t."id" > $3::text ORDER BY 1 LIMIT $4"#
        );
        let client = registry.client().await?;
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&self.product, &self.own, &after, &limit];
        let rows = client.query(&sql, &row).await.map_err(failed::registry)?;
        let read = |row: &tokio_postgres::Row| {
            let id: String = row.try_get(0).map_err(failed::registry)?;
            TenantId::parse(&id).map_err(failed::internal)
        };
        rows.iter().map(read).collect()
    }

    /// Whether a rollout brought a tenant here before.
    pub(super) async fn is_proven(&self, registry: &Registry) -> Result<bool, Fault> {
        let sql = "SELECT EXISTS (SELECT FROM pgusher.audit WHERE action = $1)";
        let client = registry.client().await?;
        let row = client.query_one(sql, &[&self.action()]).await;
        row.and_then(|row| row.try_get(0)).map_err(failed::registry)
    }

    /// How many are behind it.
    pub(super) async fn count_behind(&self, registry: &Registry) -> Result<u64, Fault> {
        let sql = format!("SELECT count(*) {OURS} {BEHIND}");
        let client = registry.client().await?;
        let row = client.query_one(&sql, &[&self.product, &self.own]).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(failed::registry)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Writes that a tenant is there.
    pub(super) async fn reached(&self, registry: &Registry, id: &TenantId) -> Result<(), Fault> {
        reached(registry, id, (&self.product, self.own), &self.action()).await
    }

    /// What the audit says of a tenant that a rollout brought here.
    fn action(&self) -> String {
        format!("schema {}", self.product)
    }

    /// Where everybody stands.
    pub(super) async fn status(&self, registry: &Registry) -> Result<RolloutStatus, Fault> {
        let sql = format!(
            r#"SELECT coalesce(t."schemaVersion", '')::text,
                   coalesce(t."schemaVersion" = $1 AND p.own_version = $2, false), count(*)
               {OURS} GROUP BY 1, 2 ORDER BY 1, 2"#
        );
        let client = registry.client().await?;
        let rows = client.query(&sql, &[&self.product, &self.own]).await;
        let mut versions = Vec::new();
        for row in rows.map_err(failed::registry)? {
            let count: i64 = row.try_get(2).map_err(failed::registry)?;
            versions.push(VersionCount {
                schema_version: row.try_get(0).map_err(failed::registry)?,
                newest: row.try_get(1).map_err(failed::registry)?,
                tenants: u64::try_from(count).unwrap_or(0),
            });
        }
        drop(client);
        let behind = self.page(registry, "", NAMED_MAX).await?;
        Ok(RolloutStatus {
            schema_version: self.product.clone(),
            versions,
            behind: behind.iter().map(TenantId::to_string).collect(),
            not_taken_over: not_taken_over(registry).await?,
        })
    }
}

/// Writes the versions a tenant's database has, and to the audit how it came there.
pub(super) async fn reached(
    registry: &Registry,
    id: &TenantId,
    (product, own): (&str, i32),
    action: &str,
) -> Result<(), Fault> {
    let sql = r#"WITH own AS (
                     INSERT INTO pgusher.tenants (tenant_id, own_version) VALUES ($1, $3)
                     ON CONFLICT (tenant_id) DO UPDATE
                     SET own_version = excluded.own_version, updated_at = now()
                 ), noted AS (
                     INSERT INTO pgusher.audit (tenant_id, actor, action)
                     VALUES ($1, 'operator', $4)
                 )
                 UPDATE public."Tenant" SET "schemaVersion" = $2,
                     "updatedAt" = current_timestamp WHERE "id" = $1"#;
    let client = registry.client().await?;
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&id.as_str(), &product, &own, &action];
    client.execute(sql, &row).await.map_err(failed::registry)?;
    Ok(())
}

/// Tenants whose database another system made and nobody has taken over.
pub(super) async fn not_taken_over(registry: &Registry) -> Result<u64, Fault> {
    let sql = r#"SELECT count(*) FROM public."Tenant" t
                 LEFT JOIN pgusher.tenants p ON p.tenant_id = t."id"
                 WHERE NOT coalesce(p.managed, false) AND p.own_version IS NULL"#;
    let client = registry.client().await?;
    let row = client.query_one(sql, &[]).await;
    let count: i64 = row.and_then(|row| row.try_get(0)).map_err(failed::registry)?;
    Ok(u64::try_from(count).unwrap_or(0))
}
