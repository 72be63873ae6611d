//! One server: new enough, the provisioner able, the budget within what PostgreSQL has, no door
//! open to everyone.

use prometheus::Registry as Metrics;
use serde_json::{Value, json};

use super::Findings;
use crate::control::provision::{
    ProvisionMetrics, Provisioner, ServerFacts, ServerSettings, VERSION_MIN,
};
use crate::control::schema::MigrationSet;
use crate::fault::told;
use crate::tenant::MasterKey;

/// Looks at one server. What it is, for the answer.
pub(super) async fn look(
    name: &str,
    (settings, held): (&ServerSettings, u32),
    key: MasterKey,
    findings: &mut Findings,
) -> Value {
    if settings.admin_url.is_empty() {
        return json!({ "provisioner": null });
    }
    // A registry of its own: these counts are nobody's.
    let Ok(metrics) = ProvisionMetrics::new(&Metrics::new()) else { return Value::Null };
    // What cannot be built was reported with the rooms.
    let Ok(server) = Provisioner::new(name, settings, MigrationSet::tenant(), key, metrics) else {
        return Value::Null;
    };
    match server.inspect().await {
        Ok(facts) => {
            judge(name, (settings, held), &facts, findings);
            json!(facts)
        }
        Err(fault) => {
            let key = format!("servers.{name}.admin_url");
            findings.note(key, format!("the server does not answer: {}", told(&fault)));
            json!({ "reachable": false })
        }
    }
}

fn judge(
    name: &str,
    (settings, held): (&ServerSettings, u32),
    facts: &ServerFacts,
    findings: &mut Findings,
) {
    let at = |key: &str| format!("servers.{name}{key}");
    if facts.version_number < VERSION_MIN {
        let text = format!("PostgreSQL {}: 15 or newer is needed", facts.version);
        findings.note(at(""), text);
    }
    for (may, power) in
        [(facts.may_create_databases, "CREATEDB"), (facts.may_create_roles, "CREATEROLE")]
    {
        if !may {
            findings.note(at(".admin_url"), format!("the role {} lacks {power}", facts.role));
        }
    }
    let admin = u32::try_from(settings.admin_connections_max).unwrap_or(u32::MAX);
    let admin = admin.saturating_add(held);
    let wanted = settings.budget.saturating_add(admin);
    let there = u32::try_from(facts.connections_max).unwrap_or(0);
    if wanted > there {
        findings.note(
            at(".budget"),
            format!(
                "{} for tenants and {admin} to provision (servers.{name}.admin_connections_max and \
                 warm.held_max) are more than the {there} connections \
                 PostgreSQL has for them (max_connections less those it reserves)",
                settings.budget
            ),
        );
    }
    for database in &facts.open_doors {
        findings.note(
            at(""),
            format!(
                "everyone may enter the database {database}, tenants' roles too: \
                 REVOKE CONNECT, TEMPORARY ON DATABASE \"{}\" FROM PUBLIC",
                database.replace('"', "\"\"")
            ),
        );
    }
}
