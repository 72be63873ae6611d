//! Tenants whose PostgreSQL answers and refuses pgusher, looked at.
//!
//! A PostgreSQL role may change its own password. Who does so through pgusher locks pgusher out;
//! the first dial that is refused says so, and the provisioner puts the verifier back, which is
//! audited. Where the database is gone or closed, the operator is told.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Built;
use super::changes::{look as look_at_row, missed};
use crate::control::audit;
use crate::control::provision::DatabaseState;
use crate::control::registration::KEY_VERSION;
use crate::session::RefusedDial;
use crate::tenant::Status;

/// A tenant is looked at no more often than this: what is refused again at once is refused for
/// another reason.
const EVERY: Duration = Duration::from_secs(60);

/// The same where the look was not had, or nothing came of it.
const AGAIN: Duration = Duration::from_secs(1);

/// Who puts logins back, for the audit.
const ACTOR: &str = "pgusher";

/// Tenants remembered; more are forgotten all at once.
const REMEMBERED_MAX: usize = 1_024;

/// Looks at tenants as they are reported, for ever.
pub(super) async fn look(built: Arc<Built>) {
    let taken = built.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut refused) = taken else { return };
    // Until when a tenant's refusals of either kind are no news.
    let mut seen: HashMap<RefusedDial, Instant> = HashMap::new();
    while let Some(dial) = refused.recv().await {
        if seen.get(&dial).is_some_and(|until| Instant::now() < *until) {
            continue;
        }
        if seen.len() >= REMEMBERED_MAX {
            seen.clear();
        }
        let pause = if look_at(&built, &dial).await { EVERY } else { AGAIN };
        seen.insert(dial, Instant::now() + pause);
    }
}

/// Whether it was looked at to the end.
async fn look_at(built: &Arc<Built>, dial: &RefusedDial) -> bool {
    let id = &dial.tenant;
    let Ok(tenant) = built.directory.tenant(id).await else { return false };
    let Some(server) = built.servers.get(&*tenant.server).filter(|_| !tenant.adopted) else {
        tracing::warn!(%id, "a tenant's postgresql refuses what its databaseUrl says");
        return true;
    };
    match server.databases(&[id.database()]).await.as_deref() {
        Ok([DatabaseState::Open]) => {}
        Ok(state) => {
            tracing::error!(%id, ?state, "a tenant's database cannot be entered");
            return true;
        }
        // The server as a whole is looked after elsewhere.
        Err(_) => return false,
    }
    if !dial.login {
        return true;
    }
    // Whether it may log in is its row's to say, and what that says may be news here. One that cannot
    // be read now is as it was: what is forgotten while the registry is away is served to nobody.
    let looked = look_at_row(built, id).await;
    let mut tenant = tenant;
    if looked.is_ok() {
        built.directory.forget(id);
        tenant = built.directory.tenant(id).await.unwrap_or(tenant);
    }
    missed(built, looked);
    if tenant.status == Status::Suspended {
        return true;
    }
    match server.restore_logins(id, KEY_VERSION).await {
        // At this level so that it is kept: somebody inside the tenant did it.
        Ok(()) => tracing::warn!(%id, "a tenant had changed its logins; they are put back"),
        Err(fault) => {
            tracing::error!(%id, %fault, cause = fault.cause(), "a tenant's logins could not be put back");
            return false;
        }
    }
    if let Err(why) = audit::note(&built.registry, id, ACTOR, "logins put back").await {
        tracing::error!(%id, %why, "what was put back is not in the audit");
    }
    true
}
