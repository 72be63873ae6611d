//! `pgusher migrate tenants`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::num::NonZeroUsize;

use clap::Args;
use tokio::runtime::Handle;

use super::bar::Bar;
use super::registry::listed;
use crate::boot::Built;
use crate::cli::command::Common;
use crate::cli::registry::RegistryArguments;
use crate::cli::{Answer, Failure};
use crate::config::Config;
use crate::control::rollout::{Course, Rollout, RolloutReport, RolloutStatus};
use crate::ident::TenantId;
use crate::units::Span;

/// How.
#[derive(Debug, Clone, Args)]
pub struct TenantsArguments {
    /// Only says where every tenant stands; exits with 1 when one is behind.
    #[arg(long)]
    pub status: bool,
    /// A tenant to begin with, alone; may be repeated. When one fails nobody else is touched.
    /// Without any, one after another by id until one comes through, five at most, unless a run
    /// before this one brought somebody up already.
    #[arg(long, value_name = "ID", value_parser = TenantId::parse)]
    pub canary: Vec<TenantId>,
    /// Tenants at once; more than `admin_connections_max` of a server is cut down to that.
    #[arg(long, value_name = "N", default_value = "3")]
    pub at_once: NonZeroUsize,
    /// How long a migration may wait for a lock before it steps aside and tries again.
    #[arg(long, value_name = "TIME", default_value = "3s")]
    pub lock_timeout: Span,
    /// How long one tenant may take.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub timeout: Span,
    /// After so many failures it stops. Those that a tenant's owner may have brought about alone (a
    /// lock held, a history that is not true, a right taken away) are named and do not count.
    #[arg(long, value_name = "N", default_value = "10")]
    pub failures_max: NonZeroUsize,
    /// Where the registry is.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

/// Does it.
pub(super) async fn tenants(common: &Common, asked: &TenantsArguments) -> Result<Answer, Failure> {
    let config = asked.registry.settle(common)?;
    let rollout = open(&config)?;
    if asked.status {
        return told_status(&rollout.status().await?);
    }
    let reserve = config.servers.values().map(|server| server.admin_connections_max).min();
    let course = Course {
        canaries: asked.canary.clone(),
        at_once: asked.at_once.get().min(reserve.unwrap_or(1)),
        lock_timeout: asked.lock_timeout.get(),
        timeout: asked.timeout.get(),
        failures_max: asked.failures_max.get(),
    };
    let mut bar = Bar::new(!common.json && std::io::stderr().is_terminal());
    let report = Box::pin(rollout.run(&course, |tally| bar.show(tally))).await;
    bar.clear();
    told_report(&report?)
}

/// The rollout over the configured servers.
pub(super) fn open(config: &Config) -> Result<Rollout, Failure> {
    let built = Built::build(config, &Handle::current());
    let built = built.map_err(|all| Failure::new(all.join("\n")))?;
    let product = config.schema.product().map_err(Failure::new)?;
    Ok(Rollout::new(built.registry.clone(), built.servers.clone(), product))
}

fn told_status(status: &RolloutStatus) -> Result<Answer, Failure> {
    let mut text = format!("newest version: {}", status.schema_version);
    for count in &status.versions {
        let newest = if count.newest { "" } else { "  behind" };
        // A String takes whatever is written to it.
        _ = write!(text, "\n{:>8}  {:>7} tenants{newest}", count.schema_version, count.tenants);
    }
    text.push_str(&others(status.not_taken_over));
    if status.is_complete() {
        return Ok(Answer::new(text, status));
    }
    _ = write!(text, "\nbehind: {}", listed(&status.behind));
    Err(Failure::with(text, status))
}

fn told_report(report: &RolloutReport) -> Result<Answer, Failure> {
    let RolloutReport { schema_version, total, migrated, .. } = report;
    let mut text = match total {
        0 => format!("every tenant is at version {schema_version}"),
        _ => format!("{migrated} of {total} tenants brought to version {schema_version}"),
    };
    for failed in &report.failed {
        let whose = if failed.by_owner { " (its owner's doing, or might be)" } else { "" };
        _ = write!(text, "\n{}: left as it was{whose}: {}", failed.tenant_id, failed.reason);
    }
    if let Some(why) = &report.stopped {
        _ = write!(text, "\nstopped: {why}");
    }
    text.push_str(&others(report.not_taken_over));
    if report.failed.is_empty() && report.stopped.is_none() {
        return Ok(Answer::new(text, report));
    }
    text.push_str("\nwhat is done stays done: mend the cause and run it again");
    Err(Failure::with(text, report))
}

fn others(count: u64) -> String {
    if count == 0 {
        return String::new();
    }
    format!("\n{count} tenants have databases of another system (pgusher migrate adopt ID)")
}
