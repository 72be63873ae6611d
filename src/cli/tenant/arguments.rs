//! The flags of `pgusher tenant`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::letters::LettersCommand;
use super::phone::PhoneCommand;
use crate::cli::registry::RegistryArguments;
use crate::ident::TenantId;
use crate::tenant::PoolMode;
use crate::units::Span;

/// What can be done to tenants.
#[derive(Debug, Clone, Subcommand)]
pub enum TenantCommand {
    /// Makes a tenant: database, logins, first admin. Needs the configuration.
    Create(CreateArguments),
    /// Lists every tenant of the registry.
    List(ListArguments),
    /// Shows one tenant.
    Show(OneTenant),
    /// Sets a tenant's own limits, over its plan's; without any, shows them.
    Limits(LimitArguments),
    /// Stops serving a tenant: its sessions are cut, new ones refused.
    Suspend(SuspendArguments),
    /// Serves it again.
    Resume(OneTenant),
    /// Assigns, releases and lists phone numbers.
    #[command(subcommand)]
    Phone(PhoneCommand),
    /// Messages that could not be stored: lists them, tries them again.
    #[command(subcommand)]
    Letters(LettersCommand),
    /// Drops a tenant's database, logins and registry rows, for good. Needs the configuration.
    Drop(DropArguments),
}

/// A tenant, by id.
#[derive(Debug, Clone, Args)]
pub struct OneTenant {
    /// The tenant's id.
    #[arg(value_name = "ID", value_parser = TenantId::parse)]
    pub id: TenantId,
    /// Where the registry is.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

/// Which tenants are listed.
#[derive(Debug, Clone, Args)]
pub struct ListArguments {
    /// Only those after this id.
    #[arg(long, value_name = "ID", default_value = "")]
    pub after: String,
    /// At most so many; by default all.
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Where the registry is.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

/// A tenant's limits. What is not named stays as it is.
#[derive(Debug, Clone, Args)]
pub struct LimitArguments {
    /// The tenant.
    #[command(flatten)]
    pub tenant: OneTenant,
    /// Server connections, all roles together.
    #[arg(long, value_name = "N")]
    pub server_max: Option<u32>,
    /// Server connections guaranteed while the server's budget is contended.
    #[arg(long, value_name = "N")]
    pub server_min: Option<u32>,
    /// Share of a contended budget, 1 to 1000.
    #[arg(long, value_name = "N")]
    pub weight: Option<u32>,
    /// Clients logged in at once.
    #[arg(long, value_name = "N")]
    pub client_max: Option<u32>,
    /// Clients waiting for a server connection at once.
    #[arg(long, value_name = "N")]
    pub queue_max: Option<u32>,
    /// How long a client waits for a server connection, such as 5s; 0: for ever.
    #[arg(long, value_name = "TIME")]
    pub queue_timeout: Option<Span>,
    /// How long a query may run, such as 30s; 0: for ever.
    #[arg(long, value_name = "TIME")]
    pub query_timeout: Option<Span>,
    /// How long a transaction may last; 0: for ever.
    #[arg(long, value_name = "TIME")]
    pub transaction_timeout: Option<Span>,
    /// How long a client may be idle inside a transaction; 0: for ever.
    #[arg(long, value_name = "TIME")]
    pub idle_in_transaction_timeout: Option<Span>,
    /// How long a client may be idle outside of one; 0: for ever.
    #[arg(long, value_name = "TIME")]
    pub client_idle_timeout: Option<Span>,
    /// `transaction` or `session`.
    #[arg(long, value_name = "MODE", value_parser = pool_mode)]
    pub pool_mode: Option<PoolMode>,
    /// Takes all of the tenant's own limits back first: its plan's hold again.
    #[arg(long)]
    pub reset: bool,
}

/// Whom to suspend, and why.
#[derive(Debug, Clone, Args)]
pub struct SuspendArguments {
    /// The tenant.
    #[command(flatten)]
    pub tenant: OneTenant,
    /// Why, for other operators to read.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// The organisation that becomes a tenant.
#[derive(Debug, Clone, Args)]
pub struct CreateArguments {
    /// The first admin's e-mail address.
    #[arg(long)]
    pub email: String,
    /// The organisation's name.
    #[arg(long)]
    pub name: String,
    /// The first admin's first name.
    #[arg(long)]
    pub first_name: String,
    /// The first admin's last name.
    #[arg(long)]
    pub last_name: String,
    /// The region its database is to be in; any, without it.
    #[arg(long)]
    pub region: Option<String>,
    /// A file with the first admin's password, `-` for standard input; without one a password is
    /// made up and printed.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Where the registry is.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

/// Whom to drop.
#[derive(Debug, Clone, Args)]
pub struct DropArguments {
    /// The tenant.
    #[command(flatten)]
    pub tenant: OneTenant,
    /// Says that its data may be lost for good.
    #[arg(long, required = true)]
    pub yes: bool,
}

fn pool_mode(text: &str) -> Result<PoolMode, &'static str> {
    PoolMode::parse(text).ok_or("it is `transaction` or `session`")
}
