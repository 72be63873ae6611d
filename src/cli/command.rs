//! The command line as a type.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::check::CheckArguments;
use super::dev::DevArguments;
use super::healthcheck::HealthcheckArguments;
use super::migrate::MigrateCommand;
use super::tenant::TenantCommand;
use super::token::TokenCommand;
use crate::config::{Config, Problems, Sources};

/// Shows every PostgreSQL session to its own tenant's database.
#[derive(Debug, Parser)]
#[command(name = "pgusher", version, propagate_version = true, arg_required_else_help = true)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The configuration file; without one, the defaults and the environment.
    #[arg(long, global = true, value_name = "FILE", env = "PGUSHER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Sets one key over file and environment; may be repeated.
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Answers in JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Common {
    /// Where configuration comes from.
    pub(super) fn sources(&self) -> Sources {
        Sources::of_process(self.config.clone(), self.set.clone())
    }

    /// The configuration these arguments and the environment make.
    ///
    /// # Errors
    /// [`Problems`], all of them.
    pub fn load(&self) -> Result<Config, Problems> {
        self.sources().load()
    }
}

/// The commands. Each stands in a file of its own beside this one.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the proxy.
    Serve,
    /// Runs a whole pgusher on this machine: PostgreSQL, registry, sample tenants.
    Dev(DevArguments),
    /// Makes, lists, shows, limits, suspends, resumes and drops tenants.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Mints and revokes tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Brings schemas up to date.
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Checks configuration, registry and every server, and says all that is wrong at once.
    Check(CheckArguments),
    /// Asks a running pgusher whether it is alive; for container health checks.
    Healthcheck(HealthcheckArguments),
    /// Says which pgusher this is.
    Version,
}
