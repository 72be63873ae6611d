//! `pgusher tenant list` and `show`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{ListArguments, OneTenant};
use crate::cli::command::Common;
use crate::cli::{Answer, Failure};
use crate::control::fleet::{Fleet, Listed};
use crate::http::rfc3339;
use crate::ident::TenantId;
use crate::tenant::{PoolMode, Registry, Tenant};

/// Rows read at once.
const PAGE: u32 = 1000;

/// Every tenant there is.
pub(super) async fn list(common: &Common, asked: &ListArguments) -> Result<Answer, Failure> {
    let fleet = Fleet::new(asked.registry.open(common)?);
    let wanted = asked.limit.unwrap_or(u32::MAX);
    let (mut found, mut after) = (Vec::new(), asked.after.clone());
    loop {
        let have = u32::try_from(found.len()).unwrap_or(u32::MAX);
        let page = fleet.list(&after, PAGE.min(wanted.saturating_sub(have))).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        found.extend(page);
    }
    let json = json!({ "tenants": found });
    Ok(Answer::new(table(&found), json))
}

fn table(rows: &[Listed]) -> String {
    let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0).clamp(6, 56);
    let mut text =
        format!("{:width$}  {:12}  {:12}  {:12}  NAME", "TENANT", "STATUS", "PLAN", "SERVER");
    for row in rows {
        let server = row.server.as_deref().unwrap_or("(adopted)");
        // A String takes whatever is written to it.
        _ = write!(
            text,
            "\n{:width$}  {:12}  {:12}  {server:12}  {}",
            printable(&row.id),
            row.status,
            printable(&row.plan),
            printable(&row.name)
        );
    }
    text
}

/// Without what a terminal would obey: names are tenants' own words.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// One tenant.
pub(super) async fn show(common: &Common, asked: &OneTenant) -> Result<Answer, Failure> {
    let registry = asked.registry.open(common)?;
    shown(&registry, &asked.id).await
}

/// The tenant as the registry has it now.
pub(super) async fn shown(registry: &Registry, id: &TenantId) -> Result<Answer, Failure> {
    let tenant = registry.tenant(id).await?;
    let tenant = tenant.ok_or_else(|| Failure::new(format!("no such tenant: {id}")))?;
    let reason = Fleet::new(registry.clone()).suspended_because(id).await?;
    let view = view(&tenant, reason.as_deref());
    Ok(Answer::new(lines(&view), view))
}

fn view(tenant: &Tenant, reason: Option<&str>) -> Value {
    let limits = &tenant.limits;
    json!({
        "tenantId": tenant.id.as_str(),
        "name": tenant.name,
        "status": tenant.status.as_str(),
        "suspendedReason": reason.filter(|text| !text.is_empty()),
        "server": &*tenant.server,
        "host": tenant.route.host,
        "port": tenant.route.port,
        "databaseName": tenant.database,
        "adopted": tenant.adopted,
        "subscriptionPlan": tenant.plan,
        "subscriptionStatus": tenant.subscription,
        "trialEndsAt": tenant.trial_ends_at.map(rfc3339),
        "schemaVersion": tenant.schema_version,
        "poolMode": tenant.pool_mode.map(PoolMode::as_str),
        "limits": {
            "serverMax": limits.server_max,
            "serverMin": limits.server_min,
            "weight": limits.weight,
            "clientMax": limits.client_max,
            "queueMax": limits.queue_max,
            "queueTimeoutMs": millis(limits.queue_timeout),
            "queryTimeoutMs": millis(limits.query_timeout),
            "transactionTimeoutMs": millis(limits.transaction_timeout),
            "idleInTransactionTimeoutMs": millis(limits.idle_in_transaction_timeout),
            "clientIdleTimeoutMs": millis(limits.client_idle_timeout),
        },
    })
}

fn millis(span: Option<std::time::Duration>) -> Option<u64> {
    span.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}

/// The order people read a tenant in.
const ORDER: [&str; 15] = [
    "tenantId",
    "name",
    "status",
    "suspendedReason",
    "databaseName",
    "server",
    "host",
    "port",
    "adopted",
    "schemaVersion",
    "subscriptionPlan",
    "subscriptionStatus",
    "trialEndsAt",
    "poolMode",
    "limits",
];

/// `key: value` lines of a view; what is not set is left out, its own limits excepted.
fn lines(view: &Value) -> String {
    let mut text = String::new();
    let word = |value: &Value| match value {
        Value::String(text) => printable(text),
        Value::Null => "as its plan has it".to_owned(),
        other => other.to_string(),
    };
    for (key, value) in ORDER.iter().map(|key| (key, &view[*key])) {
        let newline = if text.is_empty() { "" } else { "\n" };
        match value {
            Value::Null => {}
            Value::Object(limits) => {
                _ = write!(text, "{newline}{key}:");
                for (key, value) in limits {
                    _ = write!(text, "\n  {key}: {}", word(value));
                }
            }
            value => _ = write!(text, "{newline}{key}: {}", word(value)),
        }
    }
    text
}
