//! `pgusher migrate`: the registry's schema, and every tenant's.

mod adopt;
mod bar;
mod registry;
mod tenants;

use clap::Subcommand;

pub(super) use adopt::AdoptArguments;
pub(super) use registry::MigrateArguments;
pub(super) use tenants::TenantsArguments;

use super::command::Common;
use super::{Answer, Failure};

/// What is migrated.
#[derive(Debug, Clone, Subcommand)]
pub enum MigrateCommand {
    /// The registry: made new, or an existing one adopted as it stands. Safe to run again.
    Registry(MigrateArguments),
    /// Every tenant's database, to the newest version: canaries first, one transaction each. Safe
    /// to kill and to run again. Needs the configuration.
    Tenants(TenantsArguments),
    /// Takes over one tenant's database that another system made (Prisma's history or none), so
    /// that `migrate tenants` keeps its schema from now on.
    Adopt(AdoptArguments),
}

/// Does it.
///
/// # Errors
/// When the registry cannot be reached, or a migration fails.
pub(super) async fn migrate(common: &Common, asked: &MigrateCommand) -> Result<Answer, Failure> {
    match asked {
        MigrateCommand::Registry(asked) => registry::registry(common, asked).await,
        MigrateCommand::Tenants(asked) => Box::pin(tenants::tenants(common, asked)).await,
        MigrateCommand::Adopt(asked) => Box::pin(adopt::adopt(common, asked)).await,
    }
}
