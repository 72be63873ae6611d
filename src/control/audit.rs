//! Who did what to which tenant, for the operator.

use super::{Refused, failed};
use crate::ident::TenantId;
use crate::tenant::Registry;

/// Notes one act.
///
/// # Errors
/// When the registry fails.
pub async fn note(
    registry: &Registry,
    tenant: &TenantId,
    actor: &str,
    action: &str,
) -> Result<(), Refused> {
    let client = registry.client().await?;
    let sql = "INSERT INTO pgusher.audit (tenant_id, actor, action) VALUES ($1, $2, $3)";
    client.execute(sql, &[&tenant.as_str(), &actor, &action]).await.map_err(failed::registry)?;
    Ok(())
}
