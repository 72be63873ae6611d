//! How often an admin has tried a code: counted in the registry, for all processes together, and
//! before the code is looked at, so that tries side by side are counted too.

use std::time::Duration;

use super::MfaSettings;
use crate::control::{Refused, failed};
use crate::ident::TenantId;
use crate::tenant::Registry;

#[derive(Debug, Clone)]
pub(super) struct Attempts {
    registry: Registry,
    max: i32,
    window: Duration,
}

impl Attempts {
    pub(super) fn new(registry: Registry, settings: &MfaSettings) -> Self {
        let max = i32::try_from(settings.attempts_max).unwrap_or(i32::MAX).max(1);
        Self { registry, max, window: settings.attempts_window.get() }
    }

    /// Counts one try.
    pub(super) async fn take(&self, tenant: &TenantId, admin: &str) -> Result<(), Refused> {
        let sql = "INSERT INTO pgusher.mfa_attempts AS a (tenant_id, subject) VALUES ($1, $2)
                   ON CONFLICT (tenant_id, subject) DO UPDATE SET
                       attempts = CASE WHEN a.began_at > now() - make_interval(secs => $3)
                                       THEN a.attempts + 1 ELSE 1 END,
                       began_at = CASE WHEN a.began_at > now() - make_interval(secs => $3)
                                       THEN a.began_at ELSE now() END
                   RETURNING attempts, extract(epoch FROM
                       began_at + make_interval(secs => $3) - now())::float8";
        let client = self.registry.client().await?;
        let (id, window) = (tenant.as_str(), self.window.as_secs_f64());
        let row = client.query_one(sql, &[&id, &admin, &window]).await;
        let row = row.map_err(failed::registry)?;
        let attempts: i32 = row.try_get(0).map_err(failed::registry)?;
        let left: f64 = row.try_get(1).map_err(failed::registry)?;
        if attempts <= self.max {
            return Ok(());
        }
        tracing::warn!(tenant = id, "an admin's codes were tried too often");
        let left = Duration::try_from_secs_f64(left).unwrap_or(self.window);
        Err(Refused::TooMany { retry_after: left })
    }

    /// One was right: the count begins anew.
    pub(super) async fn forget(&self, tenant: &TenantId, admin: &str) -> Result<(), Refused> {
        let client = self.registry.client().await?;
        let sql = "DELETE FROM pgusher.mfa_attempts WHERE tenant_id = $1 AND subject = $2";
        client.execute(sql, &[&tenant.as_str(), &admin]).await.map_err(failed::registry)?;
        Ok(())
    }
}
