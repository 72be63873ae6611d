//! What is revoked: written here, heard by every process, and read again by one that starts or
//! was out of touch.

use std::time::{Duration, SystemTime};

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::changes::Revoked;
use super::{Refused, audit, failed};
use crate::auth::TENANT_REVOCATIONS_MAX as SINGLE_MAX;
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::Registry;

/// A revocation in force.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What.
    pub what: Revoked,
    /// Whose, where it says so.
    pub tenant: Option<TenantId>,
    /// What was issued until then is stopped.
    pub issued_until: SystemTime,
    /// Everything it stops has expired then.
    pub expires_at: SystemTime,
}

/// Every revocation in force.
///
/// # Errors
/// 57P03 when the registry cannot be asked.
pub async fn standing(registry: &Registry) -> Result<Vec<Standing>, Fault> {
    let client = registry.client().await?;
    let sql = "SELECT kind, value, tenant_id, not_before, expires_at \
               FROM pgusher.revocations WHERE expires_at > now()";
    let rows = client.query(sql, &[]).await.map_err(failed::registry)?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let kind: String = row.try_get(0).map_err(failed::registry)?;
        let value: String = row.try_get(1).map_err(failed::registry)?;
        let tenant: Option<String> = row.try_get(2).map_err(failed::registry)?;
        // A kind that a newer pgusher knows stops nothing that this one could name.
        let Some(what) = Revoked::read(&kind, value) else { continue };
        all.push(Standing {
            what,
            tenant: tenant.and_then(|id| TenantId::parse(&id).ok()),
            issued_until: row.try_get(3).map_err(failed::registry)?,
            expires_at: row.try_get(4).map_err(failed::registry)?,
        });
    }
    Ok(all)
}

/// Until when a revocation is kept when nobody knows how long the tokens it stops live: an issuer of
/// the operator's may give out tokens for years. There is one row per admin and per tenant.
pub(super) const FOR_GOOD: &str = "'9999-12-31'::timestamptz";

/// Draws one line for each tenant that holds more single revocations than a process would keep of
/// it: its API keys go on, and nobody else is touched. For the janitor.
///
/// # Errors
/// When the registry fails.
pub(super) async fn settle(registry: &Registry) -> Result<(), Fault> {
    let sql = format!(
        "WITH heavy AS (
             SELECT tenant_id FROM pgusher.revocations
             WHERE kind IN ('token', 'admin') AND tenant_id <> '' GROUP BY 1 HAVING count(*) > $1
         ), gone AS (
             DELETE FROM pgusher.revocations r USING heavy
             WHERE r.tenant_id = heavy.tenant_id AND r.kind IN ('token', 'admin'))
         INSERT INTO pgusher.revocations (kind, value, tenant_id, expires_at)
         SELECT 'tokens', tenant_id, tenant_id, {FOR_GOOD} FROM heavy
         ON CONFLICT (kind, value, tenant_id) DO UPDATE SET not_before = now()"
    );
    let most = i64::try_from(SINGLE_MAX).unwrap_or(i64::MAX);
    let client = registry.client().await?;
    let settled = client.execute(&sql, &[&most]).await.map_err(failed::registry)?;
    if settled > 0 {
        tracing::warn!(tenants = settled, "tenants revoked too much: all their tokens are stopped");
    }
    Ok(())
}

/// Revokes. Each act is one commit, whose NOTIFY reaches every process.
#[derive(Debug, Clone)]
pub struct Revoker(Registry);

impl Revoker {
    /// In `registry`.
    pub fn new(registry: Registry) -> Self {
        Self(registry)
    }

    /// Stops one token, by its id, until `expires_at` where that is known, and for good otherwise.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn token(
        &self,
        tenant: &TenantId,
        id: &str,
        expires_at: Option<SystemTime>,
        by: &str,
    ) -> Result<(), Refused> {
        revoke_token(&*self.0.client().await?, tenant, id, expires_at).await?;
        audit::note(&self.0, tenant, by, "token revoked").await
    }

    /// Stops one API key for good.
    ///
    /// # Errors
    /// [`Refused::NotFound`] for a key of another tenant, too.
    pub async fn key(&self, tenant: &TenantId, id: &str, by: &str) -> Result<(), Refused> {
        let sql = "UPDATE pgusher.api_keys SET revoked_at = now()
                   WHERE id = $1 AND tenant_id = $2 AND revoked_at IS NULL";
        if self.execute(sql, &[&id, &tenant.as_str()]).await? == 0 {
            return Err(Refused::NotFound);
        }
        audit::note(&self.0, tenant, by, "key revoked").await
    }

    /// Stops every token of an admin that was issued until now, and ends every login. API keys
    /// are their tenant's and go on.
    ///
    /// Returns when a token of the next login is not mistaken for one of before: tokens say in
    /// whole seconds when they were issued.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn admin(&self, tenant: &TenantId, id: &str, by: &str) -> Result<(), Refused> {
        let sql = format!(
            "WITH families AS (
                 UPDATE pgusher.refresh_families SET revoked_at = now(),
                     revoked_reason = 'revoked'
                 WHERE tenant_id = $1 AND subject = $2 AND revoked_at IS NULL)
             INSERT INTO pgusher.revocations (kind, value, tenant_id, expires_at)
             VALUES ('admin', $2, $1, {FOR_GOOD})
             ON CONFLICT (kind, value, tenant_id) DO UPDATE
                 SET not_before = now(), expires_at = excluded.expires_at"
        );
        self.execute(&sql, &[&tenant.as_str(), &id]).await?;
        audit::note(&self.0, tenant, by, "admin's sessions revoked").await?;
        next_second().await;
        Ok(())
    }

    /// Stops everything of a tenant: every token issued until now, every login, every API key.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn tenant(&self, tenant: &TenantId, by: &str) -> Result<(), Refused> {
        let sql = format!(
            "WITH families AS (
                 UPDATE pgusher.refresh_families SET revoked_at = now(),
                     revoked_reason = 'revoked'
                 WHERE tenant_id = $1 AND revoked_at IS NULL),
             keys AS (UPDATE pgusher.api_keys SET revoked_at = now()
                 WHERE tenant_id = $1 AND revoked_at IS NULL)
             INSERT INTO pgusher.revocations (kind, value, tenant_id, expires_at)
             VALUES ('tenant', $1, $1, {FOR_GOOD})
             ON CONFLICT (kind, value, tenant_id) DO UPDATE
                 SET not_before = now(), expires_at = excluded.expires_at"
        );
        self.execute(&sql, &[&tenant.as_str()]).await?;
        audit::note(&self.0, tenant, by, "everything revoked").await?;
        next_second().await;
        Ok(())
    }

    /// Whether somebody of this id has logged in to the tenant, however long ago that admin was
    /// deleted.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn knows(&self, tenant: &TenantId, id: &str) -> Result<bool, Refused> {
        let sql = "SELECT EXISTS (SELECT FROM pgusher.refresh_families
                                  WHERE tenant_id = $1 AND subject = $2)";
        let client = self.0.client().await?;
        let row = client.query_one(sql, &[&tenant.as_str(), &id]).await;
        Ok(row.and_then(|row| row.try_get(0)).map_err(failed::registry)?)
    }

    async fn execute(&self, sql: &str, row: &[&(dyn ToSql + Sync)]) -> Result<u64, Fault> {
        let client = self.0.client().await?;
        client.execute(sql, row).await.map_err(failed::registry)
    }
}

/// Stops one token. Its row outlives it by a day: clocks differ, and a token is good for a moment
/// longer than it says (`auth.tokens.leeway`).
pub(super) async fn revoke_token(
    client: &Client,
    tenant: &TenantId,
    id: &str,
    expires_at: Option<SystemTime>,
) -> Result<(), Fault> {
    let sql = format!(
        "INSERT INTO pgusher.revocations (kind, value, tenant_id, expires_at)
         VALUES ('token', $1, $2, coalesce($3::timestamptz + interval '1 day', {FOR_GOOD}))
         ON CONFLICT DO NOTHING"
    );
    let row: [&(dyn ToSql + Sync); 3] = [&id, &tenant.as_str(), &expires_at];
    client.execute(&sql, &row).await.map(drop).map_err(failed::registry)
}

/// Waits until the second that has begun is over.
async fn next_second() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_nanos(1_000_000_000 - u64::from(now.subsec_nanos()));
    tokio::time::sleep(left).await;
}
