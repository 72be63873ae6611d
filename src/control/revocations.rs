//! What is revoked, as the registry remembers it: for a process that starts, or that was out of
//! touch.

use std::time::SystemTime;

use super::changes::Revoked;
use super::failed;
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
