//! `pgusher migrate adopt`.

use std::fmt::Write as _;

use clap::Args;

use super::registry::listed;
use super::tenants::open;
use crate::cli::command::Common;
use crate::cli::tenant::OneTenant;
use crate::cli::{Answer, Failure};
use crate::control::rollout;

/// How.
#[derive(Debug, Clone, Args)]
pub struct AdoptArguments {
    /// Which tenant.
    #[command(flatten)]
    pub tenant: OneTenant,
    /// The version its schema has. Without it: the highest one all of whose tables are there.
    #[arg(long, value_name = "N")]
    pub at_version: Option<i32>,
    /// Only says what would be written.
    #[arg(long)]
    pub dry_run: bool,
}

/// Does it.
pub(super) async fn adopt(common: &Common, asked: &AdoptArguments) -> Result<Answer, Failure> {
    let config = asked.tenant.registry.settle(common)?;
    let id = &asked.tenant.id;
    let fleet = open(&config)?;
    let adoption = Box::pin(rollout::adopt(&fleet, id, asked.at_version, asked.dry_run)).await?;
    let (at, newest) = (adoption.schema_version, adoption.newest);
    let done = if adoption.taken_over { "is" } else { "would be" };
    let mut text = format!("{id}: {done} taken over at version {at} of {newest}");
    if adoption.prisma {
        text.push_str("\nits Prisma history stays as it is");
    }
    if !adoption.columns_missing.is_empty() {
        // A String takes whatever is written to it.
        _ = write!(text, "\ncolumns it lacks: {}", listed(&adoption.columns_missing));
    }
    if at < newest {
        text.push_str("\nnext: pgusher migrate tenants");
    }
    Ok(Answer::new(text, adoption))
}
