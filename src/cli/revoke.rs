//! `pgusher token revoke`: writes the registry, whoever runs hears and cuts.

use clap::Args;
use serde_json::json;

use super::command::Common;
use super::registry::RegistryArguments;
use super::{Answer, Failure};
use crate::control::revocations::Revoker;
use crate::ident::TenantId;

/// What is revoked.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("what").required(true)
    .args(["token_id", "key", "admin", "all"]))]
pub struct RevokeArguments {
    /// The tenant it belongs to.
    #[arg(long, value_name = "ID", value_parser = TenantId::parse)]
    pub tenant: TenantId,
    /// One token, by its `jti`.
    #[arg(long, value_name = "JTI")]
    pub token_id: Option<String>,
    /// One API key, by its id or its user name, for good.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Every token and login of one admin, by the admin's id.
    #[arg(long, value_name = "ADMIN")]
    pub admin: Option<String>,
    /// Everything of the tenant: tokens, logins, API keys.
    #[arg(long)]
    pub all: bool,
    /// Where the registry is.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

/// Who did it, for the audit.
const OPERATOR: &str = "operator";

/// Does it.
///
/// # Errors
/// No such tenant or key; the registry fails.
pub(super) async fn revoke(common: &Common, asked: &RevokeArguments) -> Result<Answer, Failure> {
    let registry = asked.registry.open(common)?;
    let tenant = &asked.tenant;
    if registry.tenant(tenant).await?.is_none() {
        return Err(Failure::new(format!("no such tenant: {tenant}")));
    }
    let revoker = Revoker::new(registry);
    let what = if let Some(id) = &asked.token_id {
        revoker.token(tenant, id, None, OPERATOR).await?;
        format!("token {id}")
    } else if let Some(key) = &asked.key {
        let id = key.strip_prefix("key_").unwrap_or(key);
        revoker.key(tenant, id, OPERATOR).await.map_err(|refused| match refused {
            crate::control::Refused::NotFound => Failure::new(format!("no such key: {key}")),
            other => other.into(),
        })?;
        format!("key {id}")
    } else if let Some(admin) = &asked.admin {
        revoker.admin(tenant, admin, OPERATOR).await?;
        format!("admin {admin}")
    } else {
        revoker.tenant(tenant, OPERATOR).await?;
        "everything".to_owned()
    };
    let json = json!({ "tenantId": tenant.as_str(), "revoked": what });
    Ok(Answer::new(format!("{tenant}: {what} revoked"), json))
}
