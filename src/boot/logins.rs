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
use crate::ident::TenantId;
use crate::session::RefusedDial;
use crate::tenant::Status;

/// A tenant is looked at no more often than this: what is refused again at once is refused for
/// another reason.
const EVERY: Duration = Duration::from_secs(60);

/// Who puts logins back, for the audit.
const ACTOR: &str = "pgusher";

/// Tenants remembered; more are forgotten all at once.
const REMEMBERED_MAX: usize = 1_024;

/// Looks at tenants as they are reported, for ever.
pub(super) async fn look(built: Arc<Built>) {
    let taken = built.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut refused) = taken else { return };
    let mut seen: HashMap<TenantId, Instant> = HashMap::new();
    while let Some(dial) = refused.recv().await {
        if seen.get(&dial.tenant).is_some_and(|at| at.elapsed() < EVERY) {
            continue;
        }
        if seen.len() >= REMEMBERED_MAX {
            seen.clear();
        }
        seen.insert(dial.tenant.clone(), Instant::now());
        look_at(&built, &dial).await;
    }
}

async fn look_at(built: &Arc<Built>, dial: &RefusedDial) {
    let id = &dial.tenant;
    let Ok(tenant) = built.directory.tenant(id).await else { return };
    let Some(server) = built.servers.get(&*tenant.server).filter(|_| !tenant.adopted) else {
        tracing::warn!(%id, "a tenant's postgresql refuses what its databaseUrl says");
        return;
    };
    match server.databases(&[id.database()]).await.as_deref() {
        Ok([DatabaseState::Open]) => {}
        Ok(state) => {
            tracing::error!(%id, ?state, "a tenant's database cannot be entered");
            return;
        }
        // The server as a whole is looked after elsewhere.
        Err(_) => return,
    }
    if !dial.login {
        return;
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
        return;
    }
    match server.restore_logins(id, KEY_VERSION).await {
        // At this level so that it is kept: somebody inside the tenant did it.
        Ok(()) => tracing::warn!(%id, "a tenant had changed its logins; they are put back"),
        Err(fault) => {
            tracing::error!(%id, %fault, "a tenant's logins could not be put back");
            return;
        }
    }
    if let Err(why) = audit::note(&built.registry, id, ACTOR, "logins put back").await {
        tracing::error!(%id, %why, "what was put back is not in the audit");
    }
}
