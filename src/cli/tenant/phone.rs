//! `pgusher tenant phone`: who has which number. The registry is written, whoever runs hears.

use clap::{Args, Subcommand};
use serde_json::json;

use super::OneTenant;
use crate::cli::command::Common;
use crate::cli::{Answer, Failure};
use crate::control::Refused;
use crate::control::phone::{E164, Held, Numbers};

/// What can be done to a tenant's numbers.
#[derive(Debug, Clone, Subcommand)]
pub enum PhoneCommand {
    /// Gives a number to a tenant: messages to it are the tenant's from now on.
    Assign(AssignArguments),
    /// Takes a number from a tenant.
    Release(NumberArguments),
    /// Lists a tenant's numbers, the one to send from first.
    List(OneTenant),
}

/// A number of a tenant's.
#[derive(Debug, Clone, Args)]
pub struct NumberArguments {
    /// The tenant.
    #[command(flatten)]
    pub tenant: OneTenant,
    /// The number, such as +15551234567.
    #[arg(value_name = "E164", value_parser = E164::parse)]
    pub number: E164,
}

/// A number, and what the provider calls it.
#[derive(Debug, Clone, Args)]
pub struct AssignArguments {
    /// Whose, and which.
    #[command(flatten)]
    pub number: NumberArguments,
    /// The provider's id for the number.
    #[arg(long, value_name = "ID")]
    pub sid: Option<String>,
}

/// Does it, and shows the tenant's numbers as they are then.
pub(super) async fn phone(common: &Common, asked: &PhoneCommand) -> Result<Answer, Failure> {
    let tenant = match asked {
        PhoneCommand::Assign(asked) => &asked.number.tenant,
        PhoneCommand::Release(asked) => &asked.tenant,
        PhoneCommand::List(asked) => asked,
    };
    let (numbers, id) = (Numbers::new(tenant.registry.open(common)?), &tenant.id);
    match asked {
        PhoneCommand::Assign(asked) => {
            numbers.assign(id, &asked.number.number, asked.sid.as_deref()).await?;
        }
        PhoneCommand::Release(asked) => {
            numbers.release(id, &asked.number).await.map_err(|refused| match refused {
                Refused::NotFound => Failure::new(format!("the number is not one of tenant {id}")),
                other => other.into(),
            })?;
        }
        PhoneCommand::List(_) => {}
    }
    let held = numbers.list(id).await?;
    let line = |held: &Held| {
        let mark = if held.primary { "  (sends from it)" } else { "" };
        format!("{}{mark}", held.number)
    };
    let lines: Vec<_> = held.iter().map(line).collect();
    let text = if lines.is_empty() { format!("{id}: no number") } else { lines.join("\n") };
    let shown: Vec<_> = held
        .iter()
        .map(|held| json!({ "phoneNumber": held.number, "primary": held.primary }))
        .collect();
    Ok(Answer::new(text, json!({ "tenantId": id.as_str(), "phoneNumbers": shown })))
}
