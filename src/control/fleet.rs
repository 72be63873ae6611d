//! What an operator does to tenants. Each writes the registry, whose triggers tell every process.

use std::sync::Arc;

use super::provision::Servers;
use super::{Refused, failed};
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::{LimitOverrides, PoolMode, Registry, Status};

/// Operators' hands on the registry.
#[derive(Debug, Clone)]
pub struct Fleet(Registry);

impl Fleet {
    /// The tenants of `registry`.
    pub fn new(registry: Registry) -> Self {
        Self(registry)
    }

    /// Stops serving a tenant: live sessions are cut by the processes that hear of it, which also
    /// call [`apply_tenant`].
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn suspend(&self, tenant: &TenantId, reason: &str) -> Result<(), Refused> {
        let sql = r#"INSERT INTO pgusher.tenants (tenant_id, suspended_at, suspended_reason)
                     SELECT "id", now(), $2 FROM public."Tenant" WHERE "id" = $1
                     ON CONFLICT (tenant_id) DO UPDATE SET updated_at = now(),
                         suspended_at = coalesce(pgusher.tenants.suspended_at, now()),
                         suspended_reason = $2"#;
        let client = self.0.client().await?;
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&tenant.as_str(), &reason];
        found(client.execute(sql, &row).await.map_err(failed::registry)?)?;
        self.audit(tenant, "suspend").await
    }

    /// Serves it again.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn resume(&self, tenant: &TenantId) -> Result<(), Refused> {
        let sql = r#"WITH own AS (UPDATE pgusher.tenants SET suspended_at = NULL,
                         suspended_reason = NULL, updated_at = now() WHERE tenant_id = $1)
                     UPDATE public."Tenant" SET "status" = 'active',
                         "updatedAt" = current_timestamp WHERE "id" = $1"#;
        let client = self.0.client().await?;
        found(client.execute(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?)?;
        self.audit(tenant, "resume").await
    }

    /// Sets a tenant's limits. Those that are `None` stay as they are.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn limit(
        &self,
        tenant: &TenantId,
        limits: LimitOverrides,
        mode: Option<PoolMode>,
    ) -> Result<(), Refused> {
        let sql = r#"INSERT INTO pgusher.tenants AS p (tenant_id, server_max, server_min, weight,
                         client_max, queue_max, queue_timeout_ms, pool_mode, query_timeout_ms,
                         transaction_timeout_ms, idle_in_transaction_timeout_ms,
                         client_idle_timeout_ms)
                     SELECT "id", $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM public."Tenant" WHERE "id" = $1
                     ON CONFLICT (tenant_id) DO UPDATE SET updated_at = now(),
                         server_max = coalesce(excluded.server_max, p.server_max),
                         server_min = coalesce(excluded.server_min, p.server_min),
                         weight = coalesce(excluded.weight, p.weight),
                         client_max = coalesce(excluded.client_max, p.client_max),
                         queue_max = coalesce(excluded.queue_max, p.queue_max),
                         queue_timeout_ms = coalesce(excluded.queue_timeout_ms, p.queue_timeout_ms),
                         query_timeout_ms = coalesce(excluded.query_timeout_ms, p.query_timeout_ms),
                         transaction_timeout_ms =
                             coalesce(excluded.transaction_timeout_ms, p.transaction_timeout_ms),
                         idle_in_transaction_timeout_ms =
                             coalesce(excluded.idle_in_transaction_timeout_ms,
                                      p.idle_in_transaction_timeout_ms),
                         client_idle_timeout_ms =
                             coalesce(excluded.client_idle_timeout_ms, p.client_idle_timeout_ms),
                         pool_mode = coalesce(excluded.pool_mode, p.pool_mode)"#;
        let number = |value: Option<u32>| value.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        let millis = |span: Option<std::time::Duration>| {
            span.map(|t| i64::try_from(t.as_millis()).unwrap_or(i64::MAX))
        };
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
            &tenant.as_str(),
            &number(limits.server_max),
            &number(limits.server_min),
            &number(limits.weight),
            &number(limits.client_max),
            &number(limits.queue_max),
            &millis(limits.queue_timeout),
            &mode.map(PoolMode::as_str),
            &millis(limits.query_timeout),
            &millis(limits.transaction_timeout),
            &millis(limits.idle_in_transaction_timeout),
            &millis(limits.client_idle_timeout),
        ];
        let client = self.0.client().await?;
        found(client.execute(sql, &row).await.map_err(failed::registry)?)?;
        self.audit(tenant, "limits").await
    }

    /// Takes all of a tenant's own limits back: its plan's, or the configuration's, hold again.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn reset_limits(&self, tenant: &TenantId) -> Result<(), Refused> {
        let sql = r#"WITH own AS (UPDATE pgusher.tenants SET server_max = NULL, server_min = NULL,
                         weight = NULL, client_max = NULL, queue_max = NULL,
                         queue_timeout_ms = NULL, pool_mode = NULL, query_timeout_ms = NULL,
                         transaction_timeout_ms = NULL, idle_in_transaction_timeout_ms = NULL,
                         client_idle_timeout_ms = NULL, updated_at = now()
                         WHERE tenant_id = $1)
                     SELECT 1 FROM public."Tenant" WHERE "id" = $1"#;
        let client = self.0.client().await?;
        found(client.execute(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?)?;
        self.audit(tenant, "limits reset").await
    }

    /// Up to `limit` tenants after `after`, by id. Every row of the registry is listed, those
    /// pgusher cannot serve as well.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn list(&self, after: &str, limit: u32) -> Result<Vec<Listed>, Fault> {
        let sql = r#"SELECT t."id"::text, coalesce(t."name", '')::text,
                         coalesce(t."status", '')::text, p.suspended_at IS NOT NULL, p.server,
                         coalesce(t."subscriptionPlan", '')::text, coalesce(p.managed, false)
                     FROM public."Tenant" t LEFT JOIN pgusher.tenants p ON p.tenant_id = t."id"
                     WHERE t."id" > $1::text ORDER BY t."id" LIMIT $2"#;
        let client = self.0.client().await?;
        let rows = client.query(sql, &[&after, &i64::from(limit)]).await;
        let rows = rows.map_err(failed::registry)?;
        rows.iter().map(|row| Listed::read(row).map_err(failed::registry)).collect()
    }

    /// Why a tenant is suspended, as the operator wrote it; `None` where nobody did.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn suspended_because(&self, tenant: &TenantId) -> Result<Option<String>, Fault> {
        let sql = "SELECT suspended_reason FROM pgusher.tenants \
                   WHERE tenant_id = $1 AND suspended_at IS NOT NULL";
        let client = self.0.client().await?;
        let row = client.query_opt(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?;
        let reason = row.map(|row| row.try_get(0)).transpose().map_err(failed::registry)?;
        Ok(reason.flatten())
    }

    /// Takes a tenant out of the registry, then drops its database and logins.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; when its server refuses: run it again.
    pub async fn drop_tenant(&self, tenant: &TenantId, servers: &Servers) -> Result<(), Refused> {
        let client = self.0.client().await?;
        let sql = "SELECT server FROM pgusher.tenants WHERE tenant_id = $1 AND managed";
        let row = client.query_opt(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?;
        let server: Option<String> =
            row.map(|row| row.try_get(0)).transpose().map_err(failed::registry)?.flatten();
        let server = server.ok_or(Refused::NotFound)?;
        let server = servers.get(server.as_str()).map(Arc::clone);
        let server = server.ok_or_else(|| failed::internal("its server is not configured"))?;
        let id = tenant.as_str();
        // Out of the registry first: nobody is sent to a database that is being dropped. Its own
        // row in pgusher.tenants goes last, so that a drop that failed can be run again. A tenant
        // that is not there is refused for that, so its revocation need not be kept for good.
        let sql = r#"WITH keys AS (DELETE FROM pgusher.api_keys WHERE tenant_id = $1),
                     families AS (DELETE FROM pgusher.refresh_families WHERE tenant_id = $1),
                     jobs AS (DELETE FROM pgusher.registrations WHERE tenant_id = $1),
                     cut AS (INSERT INTO pgusher.revocations (kind, value, tenant_id, expires_at)
                             VALUES ('tenant', $1, $1, now() + interval '30 days')
                             ON CONFLICT (kind, value, tenant_id)
                             DO UPDATE SET not_before = now(), expires_at = excluded.expires_at)
                     DELETE FROM public."Church" WHERE "id" =
                         (SELECT "churchId" FROM public."Tenant" WHERE "id" = $1)"#;
        client.execute(sql, &[&id]).await.map_err(failed::registry)?;
        drop(client);
        server.drop_tenant(tenant).await?;
        let client = self.0.client().await?;
        let sql = "DELETE FROM pgusher.tenants WHERE tenant_id = $1";
        client.execute(sql, &[&id]).await.map_err(failed::registry)?;
        drop(client);
        self.audit(tenant, "drop").await
    }

    async fn audit(&self, tenant: &TenantId, action: &str) -> Result<(), Refused> {
        let client = self.0.client().await?;
        let sql = "INSERT INTO pgusher.audit (tenant_id, actor, action) \
                   VALUES ($1, 'operator', $2)";
        client.execute(sql, &[&tenant.as_str(), &action]).await.map_err(failed::registry)?;
        Ok(())
    }
}

/// A tenant in a list.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its id, as the registry has it.
    #[serde(rename = "tenantId")]
    pub id: String,
    /// The organisation's name.
    pub name: String,
    /// Whether it is served.
    pub status: &'static str,
    /// The server's name in the configuration; of an adopted tenant nothing is said here.
    pub server: Option<String>,
    /// `subscriptionPlan`.
    pub plan: String,
    /// Whether its databaseUrl is used as found.
    pub adopted: bool,
}

impl Listed {
    fn read(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        let (id, status): (String, String) = (row.try_get(0)?, row.try_get(2)?);
        let status = if TenantId::parse(&id).is_err() {
            "refused"
        } else if row.try_get(3)? {
            Status::Suspended.as_str()
        } else {
            Status::parse(&status).as_str()
        };
        Ok(Self {
            id,
            status,
            name: row.try_get(1)?,
            server: row.try_get(4)?,
            plan: row.try_get(5)?,
            adopted: !row.try_get::<_, bool>(6)?,
        })
    }
}

/// Makes PostgreSQL agree with the registry about a managed tenant: suspended logins may not log
/// in, and the database's CONNECTION LIMIT is the tenant's cap. For the process that heard of a
/// change, and for the next start.
///
/// # Errors
/// When the server refuses.
pub async fn apply_tenant(
    tenant: &crate::tenant::Tenant,
    servers: &Servers,
    server_max: Option<u32>,
) -> Result<(), Fault> {
    let Some(server) = servers.get(&*tenant.server).filter(|_| !tenant.adopted) else {
        return Ok(());
    };
    let served = tenant.status != Status::Suspended;
    server.allow_logins(&tenant.id, served).await?;
    if let Some(max) = server_max {
        server.limit_connections(&tenant.id, max).await?;
    }
    Ok(())
}

/// Has PostgreSQL hold a managed tenant's cap over all pgusher processes. `false` of an adopted one:
/// its database is its owner's, and nobody holds it there.
///
/// # Errors
/// When the server refuses.
pub async fn hold_cap(
    tenant: &crate::tenant::Tenant,
    servers: &Servers,
    server_max: u32,
) -> Result<bool, Fault> {
    let Some(server) = servers.get(&*tenant.server).filter(|_| !tenant.adopted) else {
        return Ok(false);
    };
    server.limit_connections(&tenant.id, server_max).await?;
    Ok(true)
}

fn found(rows: u64) -> Result<(), Refused> {
    if rows == 0 { Err(Refused::NotFound) } else { Ok(()) }
}
