//! The processes of one registry split every server's budget among them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Built;
use crate::control::Presence;
use crate::fault::Fault;

/// How often it is looked who is there, should a notice be lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often while this process holds more than its part, or does not know it yet.
const LOOK_SOON: Duration = Duration::from_millis(200);

/// How often while the registry is away.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a start waits for the registry to say who else is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes this process's place among the others, before it serves anybody. A registry that is away
/// is asked again by [`keep`]; until it answers the process holds no server connection.
pub(super) async fn join(built: &Arc<Built>, presence: &Presence) {
    let joined = tokio::time::timeout(PATIENCE, async {
        presence.beat().await?;
        once(built, presence).await
    });
    match joined.await {
        Ok(Ok(_)) => {}
        Ok(Err(fault)) => fault.log(),
        Err(_) => tracing::warn!("the registry did not say in time which processes there are"),
    }
}

/// Keeps this process's part of the budgets true: looks when processes come or go, and now and
/// then. While the registry is away the parts stay as they were.
pub(super) async fn keep(built: Arc<Built>, presence: Presence, rung: Arc<Notify>) {
    let mut wait = LOOK_SOON;
    loop {
        let _ = tokio::time::timeout(wait, rung.notified()).await;
        wait = match once(&built, &presence).await {
            Ok(true) => LOOK_EVERY,
            Ok(false) => LOOK_SOON,
            Err(fault) => {
                tracing::debug!(%fault, cause = fault.cause(), "the other processes cannot be seen");
                LOOK_AGAIN
            }
        };
    }
}

/// `false`: this process still holds more than its part.
async fn once(built: &Arc<Built>, presence: &Presence) -> Result<bool, Fault> {
    let split = presence.split(|split| built.pools.narrow(split)).await?;
    let is_within = split.own.beyond.is_empty();
    built.pools.set_split(split);
    Ok(is_within)
}
