//! The processes of one registry split every server's budget among them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Built;
use crate::control::Presence;

/// How often it is looked who is there, should a notice be lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Keeps this process's part of the budgets true: looks when processes come or go, and now and
/// then. While the registry is away the parts stay as they were.
pub(super) async fn keep(built: Arc<Built>, presence: Presence, rung: Arc<Notify>) {
    loop {
        match presence.place().await {
            Ok((rank, count)) => built.pools.set_place(rank, count),
            Err(fault) => tracing::debug!(%fault, "the other processes cannot be seen"),
        }
        let _ = tokio::time::timeout(LOOK_EVERY, rung.notified()).await;
    }
}
