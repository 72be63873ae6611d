//! One server: new enough, the provisioner able, the budget within what PostgreSQL has, no door
//! open to everyone.

use std::net::IpAddr;

use prometheus::Registry as Metrics;
use serde_json::{Value, json};

use super::Findings;
use crate::config::Config;
use crate::control::provision::{
    ProvisionMetrics, Provisioner, ServerFacts, ServerSettings, VERSION_MIN,
};
use crate::control::schema::MigrationSet;
use crate::fault::told;
use crate::tenant::{DatabaseUrl, MasterKey};

/// What a process holds of a server beside its budget and its provisioner's connections.
pub(super) struct Beside {
    /// Warm databases it is connected to.
    held: u32,
    /// Where the registry is, and the connections to it: the pool, and the one that listens.
    registry: Option<(DatabaseUrl, u32)>,
}

impl Beside {
    /// By this configuration.
    pub(super) fn of(config: &Config) -> Self {
        let pool = u32::try_from(config.registry.connections_max.max(1)).unwrap_or(u32::MAX);
        // One that cannot be read was reported as such.
        let registry = DatabaseUrl::parse(config.registry.url.expose()).ok();
        Self {
            held: config.warm.held_max.min(config.warm.target),
            registry: registry.map(|url| (url, pool.saturating_add(1))),
        }
    }

    /// Connections to the registry that are this server's, because it is there.
    fn to_registry(&self, settings: &ServerSettings) -> u32 {
        let Some((registry, connections)) = &self.registry else { return 0 };
        let Ok(admin) = DatabaseUrl::parse(settings.admin_url.expose()) else { return 0 };
        let port = if settings.port == 0 { admin.port } else { settings.port };
        let host = if settings.host.is_empty() { &admin.host } else { &settings.host };
        let places = [(&admin.host, admin.port), (host, port)];
        let is_here = places
            .iter()
            .any(|(host, port)| *port == registry.port && machine(host) == machine(&registry.host));
        if is_here { *connections } else { 0 }
    }
}

/// A host's name in one spelling: this machine has several.
fn machine(host: &str) -> String {
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_loopback || host.starts_with('/') {
        return "localhost".to_owned();
    }
    host.to_ascii_lowercase()
}

/// Looks at one server. What it is, for the answer.
pub(super) async fn look(
    name: &str,
    (settings, beside): (&ServerSettings, &Beside),
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
            judge(name, (settings, beside), &facts, findings);
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
    (settings, beside): (&ServerSettings, &Beside),
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
    let admin = admin.saturating_add(beside.held);
    let registry = beside.to_registry(settings);
    let wanted = settings.budget.saturating_add(admin).saturating_add(registry);
    let there = u32::try_from(facts.connections_max).unwrap_or(0);
    if wanted > there {
        findings.note(
            at(".budget"),
            format!(
                "{} for tenants, {admin} to provision (servers.{name}.admin_connections_max and \
                 warm.held_max) and {registry} to the registry, where it is there \
                 (registry.connections_max, and one that listens), are more than the {there} \
                 connections PostgreSQL has for them (max_connections less those it reserves)",
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
