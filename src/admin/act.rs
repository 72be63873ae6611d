//! The commands that change something. All of them act on this process only.

use futures_util::FutureExt as _;

use super::command::Outcome;
use super::desk::Desk;
use super::process::Stop;
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;
use crate::session::Cut;

type Done<'a> = Outcome<'a, ()>;

/// The tenant that was named, or `None` for all.
async fn whom(desk: &Desk, argument: Option<&str>) -> Result<Option<TenantId>, Fault> {
    match argument {
        Some(name) => Ok(Some(desk.tenant(name).await?.id.clone())),
        None => Ok(None),
    }
}

/// The tenant that must be named.
async fn one(desk: &Desk, argument: Option<&str>) -> Result<TenantId, Fault> {
    let name = argument.unwrap_or_default();
    Ok(desk.tenant(name).await?.id.clone())
}

/// Clients wait from now on; ends when the last server connection is gone. An operator who leaves
/// before that leaves the pause behind.
pub(super) fn pause<'a>(desk: &'a Desk, argument: Option<&'a str>) -> Done<'a> {
    async move {
        let whom = whom(desk, argument).await?;
        desk.pools().pause(whom.as_ref());
        desk.pools().stilled(whom.as_ref()).await;
        Ok(())
    }
    .boxed()
}

pub(super) fn resume<'a>(desk: &'a Desk, argument: Option<&'a str>) -> Done<'a> {
    async move {
        desk.pools().unpause(whom(desk, argument).await?.as_ref());
        Ok(())
    }
    .boxed()
}

pub(super) fn disable<'a>(desk: &'a Desk, argument: Option<&'a str>) -> Done<'a> {
    async move {
        desk.pools().disable(&one(desk, argument).await?);
        Ok(())
    }
    .boxed()
}

pub(super) fn enable<'a>(desk: &'a Desk, argument: Option<&'a str>) -> Done<'a> {
    async move {
        desk.pools().enable(&one(desk, argument).await?);
        Ok(())
    }
    .boxed()
}

/// Cuts the sessions and closes the servers. As in PgBouncer, whoever comes next waits for RESUME.
pub(super) fn kill<'a>(desk: &'a Desk, argument: Option<&'a str>) -> Done<'a> {
    async move {
        let whom = whom(desk, argument).await?;
        desk.pools().pause(whom.as_ref());
        let cut = desk.roster().cut(Cut::Killed, |card| {
            whom.as_ref().is_none_or(|tenant| card.identity().tenant() == tenant)
        });
        tracing::info!(sessions = cut, "sessions ended by an operator");
        Ok(())
    }
    .boxed()
}

/// Cuts one session, by the `id` of `SHOW CLIENTS`.
pub(super) fn kill_client<'a>(desk: &'a Desk, argument: Option<&'a str>) -> Done<'a> {
    async move {
        let pid: Option<i32> = argument.and_then(|text| text.parse().ok());
        let cut = pid.map_or(0, |pid| desk.roster().cut(Cut::Killed, |card| card.pid() == pid));
        if cut > 0 {
            return Ok(());
        }
        Err(Fault::new(Blame::Client, SqlState::UNDEFINED_OBJECT, "no client has this id")
            .hint("SHOW CLIENTS lists them."))
    }
    .boxed()
}

/// Replaces the server connections as they come back.
pub(super) fn reconnect<'a>(desk: &'a Desk, argument: Option<&'a str>) -> Done<'a> {
    async move {
        match whom(desk, argument).await? {
            Some(tenant) => desk.pools().recycle(&tenant),
            None => desk.pools().recycle_all(),
        }
        Ok(())
    }
    .boxed()
}

pub(super) fn reload<'a>(desk: &'a Desk, _: Option<&'a str>) -> Done<'a> {
    desk.parts.process.reload()
}

pub(super) fn shut_down<'a>(desk: &'a Desk, _: Option<&'a str>) -> Done<'a> {
    desk.parts.process.shut_down(Stop::Now);
    std::future::ready(Ok(())).boxed()
}

pub(super) fn drain<'a>(desk: &'a Desk, _: Option<&'a str>) -> Done<'a> {
    desk.parts.process.shut_down(Stop::Drain);
    std::future::ready(Ok(())).boxed()
}
