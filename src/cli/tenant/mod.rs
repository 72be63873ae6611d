//! `pgusher tenant`: what an operator does to tenants.
//!
//! List, show, limits, suspend and resume write the registry; every running pgusher hears of it
//! and applies it. Create and drop act themselves: they need the whole configuration.

mod arguments;
mod change;
mod create;
mod erase;
mod letters;
mod look;
mod phone;

pub(super) use arguments::{
    CreateArguments, DropArguments, LimitArguments, ListArguments, OneTenant, SuspendArguments,
    TenantCommand,
};

use super::command::Common;
use super::{Answer, Failure};

/// Does it.
///
/// # Errors
/// Usage; no such tenant; the registry or a server fails.
pub(super) async fn tenant(common: &Common, asked: &TenantCommand) -> Result<Answer, Failure> {
    match asked {
        TenantCommand::List(asked) => look::list(common, asked).await,
        TenantCommand::Show(asked) => Box::pin(look::show(common, asked)).await,
        TenantCommand::Limits(asked) => Box::pin(change::limits(common, asked)).await,
        TenantCommand::Suspend(asked) => change::suspend(common, asked).await,
        TenantCommand::Resume(asked) => change::resume(common, asked).await,
        TenantCommand::Phone(asked) => Box::pin(phone::phone(common, asked)).await,
        TenantCommand::Letters(asked) => Box::pin(letters::letters(common, asked)).await,
        TenantCommand::Create(asked) => Box::pin(create::create(common, asked)).await,
        TenantCommand::Drop(asked) => Box::pin(erase::erase(common, asked)).await,
    }
}
