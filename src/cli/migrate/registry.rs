//! `pgusher migrate registry`: its schema brought up to date, or looked at.

use std::time::Duration;

use clap::Args;

use crate::cli::command::Common;
use crate::cli::registry::RegistryArguments;
use crate::cli::{Answer, Failure};
use crate::control::schema::{MigrationSet, SchemaError, migrate_registry, registry_status};
use crate::fault::told;

/// How.
#[derive(Debug, Clone, Args)]
pub struct MigrateArguments {
    /// Only says what is applied and what is missing; exits with 1 when something is.
    #[arg(long)]
    pub status: bool,
    /// Where the registry is.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

/// The least time a migration's connection is given: a registry may be far away.
const CONNECT_MIN: Duration = Duration::from_secs(10);

/// Does it.
///
/// # Errors
/// When the registry cannot be reached or a migration fails; the registry is as it was.
pub(super) async fn registry(common: &Common, asked: &MigrateArguments) -> Result<Answer, Failure> {
    let (config, url) = asked.registry.url(common)?;
    let timeout = config.registry.connect_timeout.get().max(CONNECT_MIN);
    let set = MigrationSet::registry();
    let failed = |e: SchemaError| Failure::new(format!("registry: {}", told(&e)));
    if asked.status {
        let status = registry_status(&url, &set, timeout).await.map_err(failed)?;
        let text =
            format!("applied: {}\nmissing: {}", listed(&status.applied), listed(&status.pending));
        let wrong = [&status.pending, &status.changed, &status.unknown];
        if wrong.iter().all(|names| names.is_empty()) {
            return Ok(Answer::new(text, status));
        }
        let (changed, unknown) = (listed(&status.changed), listed(&status.unknown));
        let text = format!("{text}\nchanged since: {changed}\nof a newer pgusher: {unknown}");
        return Err(Failure::with(text, status));
    }
    let report = Box::pin(migrate_registry(&url, &set, timeout)).await.map_err(failed)?;
    let mut text = match report.applied.as_slice() {
        [] => "the registry is up to date".to_owned(),
        names => format!("applied: {}", names.join(", ")),
    };
    if report.adopted {
        text.push_str("\nadopted: another system made it; nothing found in it was altered");
    }
    for (what, names) in [
        ("tenants that cannot be served, for their id", &report.refused_tenants),
        ("tenants whose databaseUrl cannot be used", &report.unusable_urls),
    ] {
        if !names.is_empty() {
            text = format!("{text}\n{what}: {}", listed(names));
        }
    }
    Ok(Answer::new(text, report))
}

pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
