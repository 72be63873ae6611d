//! `pgusher tenant limits`, `suspend` and `resume`: the registry is written, whoever runs hears.

use serde_json::json;

use super::look::shown;
use super::{LimitArguments, OneTenant, SuspendArguments};
use crate::cli::command::Common;
use crate::cli::{Answer, Failure};
use crate::control::fleet::Fleet;
use crate::pool::LimitsSettings;
use crate::tenant::LimitOverrides;

/// Sets limits and shows what the registry has now.
pub(super) async fn limits(common: &Common, asked: &LimitArguments) -> Result<Answer, Failure> {
    let LimitArguments { server_max, server_min, weight, client_max, queue_max, .. } = *asked;
    let problems = LimitsSettings {
        server_max,
        server_min,
        weight,
        client_max,
        queue_max,
        ..LimitsSettings::default()
    }
    .problems("limits");
    if !problems.is_empty() {
        return Err(Failure::usage(problems.join("\n")));
    }
    let span = |asked: Option<crate::units::Span>| asked.map(crate::units::Span::get);
    let own = LimitOverrides {
        server_max,
        server_min,
        weight,
        client_max,
        queue_max,
        queue_timeout: span(asked.queue_timeout),
        query_timeout: span(asked.query_timeout),
        transaction_timeout: span(asked.transaction_timeout),
        idle_in_transaction_timeout: span(asked.idle_in_transaction_timeout),
        client_idle_timeout: span(asked.client_idle_timeout),
    };
    let registry = asked.tenant.registry.open(common)?;
    let (fleet, id) = (Fleet::new(registry.clone()), &asked.tenant.id);
    if asked.reset {
        fleet.reset_limits(id).await?;
    }
    if own != LimitOverrides::default() || asked.pool_mode.is_some() {
        fleet.limit(id, own, asked.pool_mode).await?;
    }
    shown(&registry, id).await
}

/// Stops serving it.
pub(super) async fn suspend(common: &Common, asked: &SuspendArguments) -> Result<Answer, Failure> {
    let (fleet, id) = (Fleet::new(asked.tenant.registry.open(common)?), &asked.tenant.id);
    fleet.suspend(id, &asked.reason).await?;
    let json = json!({ "tenantId": id.as_str(), "status": "suspended" });
    Ok(Answer::new(format!("{id}: suspended"), json))
}

/// Serves it again.
pub(super) async fn resume(common: &Common, asked: &OneTenant) -> Result<Answer, Failure> {
    let (fleet, id) = (Fleet::new(asked.registry.open(common)?), &asked.id);
    fleet.resume(id).await?;
    let json = json!({ "tenantId": id.as_str(), "status": "active" });
    Ok(Answer::new(format!("{id}: served"), json))
}
