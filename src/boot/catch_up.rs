//! What may have been missed is read until it was read: a revocation that nobody heard of lets in
//! who should be out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Built;
use super::changes::{cut_revoked, look, look_at_key, remember};
use super::suspended;
use crate::auth::Kind;
use crate::control::revocations::standing;
use crate::fault::{Fault, SqlState};

/// Between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often revocations that stop nothing any more are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Reads everything again whenever changes were missed, for ever.
pub(super) async fn keep(built: Arc<Built>) {
    // Beside this: a server that is away keeps no revocation from being read.
    let (mut beside, read) = (JoinSet::new(), Arc::new(Notify::new()));
    beside.spawn(suspended::keep(Arc::clone(&built), Arc::clone(&read)));
    loop {
        let rung = tokio::time::timeout(SWEEP_EVERY, built.missed.notified()).await;
        if rung.is_err() {
            built.verifier.revocations().sweep(SystemTime::now());
            continue;
        }
        built.behind.set(1);
        let (mut pause, mut tries) = (PAUSE_MIN, 1_u32);
        while let Err(fault) = catch_up(&built).await {
            tracing::error!(%fault, cause = fault.cause(), tries,
                "revocations and changes may have been missed and cannot be read yet; trying again");
            tokio::time::sleep(pause).await;
            (pause, tries) = ((pause * 2).min(PAUSE_MAX), tries.saturating_add(1));
        }
        built.behind.set(0);
        read.notify_one();
        if tries > 1 {
            tracing::info!(tries, "revocations and changes that were missed have been read");
        }
    }
}

/// The revocations first, then the live: by their keys, by their tenants.
async fn catch_up(built: &Arc<Built>) -> Result<(), Fault> {
    for (n, one) in standing(&built.registry).await?.into_iter().enumerate() {
        remember(built, one.what, one.tenant, (one.issued_until, one.expires_at));
        // There may be a hundred thousand, and others run here as well.
        if n % 256 == 255 {
            tokio::task::yield_now().await;
        }
    }
    cut_revoked(built);
    let mut keys = HashSet::new();
    built.shared.roster().each(|card| {
        if card.identity().kind() == Kind::ApiKey {
            keys.insert(card.identity().token_id().clone());
        }
    });
    for key in keys {
        unless_broken(look_at_key(built, key.as_str()).await)?;
    }
    for room in built.pools.rooms() {
        unless_broken(look(built, &room.tenant).await)?;
    }
    Ok(())
}

/// A row that makes no sense is its own trouble: reading it again mends nothing, and the others are
/// not to wait for it.
fn unless_broken(looked: Result<(), Fault>) -> Result<(), Fault> {
    match looked {
        Err(fault) if fault.state() != SqlState::CANNOT_CONNECT_NOW => {
            fault.log();
            Ok(())
        }
        looked => looked,
    }
}
