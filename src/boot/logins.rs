//! Logins that tenants have changed, put back.
//!
//! A PostgreSQL role may change its own password. Who does so through pgusher locks pgusher out;
//! the first dial that is refused says so, and the provisioner puts the verifier back.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Built;
use crate::control::registration::KEY_VERSION;
use crate::ident::TenantId;

/// A tenant's logins are put back no more often than this: what is refused again at once is
/// refused for another reason.
const EVERY: Duration = Duration::from_secs(60);

/// Tenants remembered; more are forgotten all at once.
const REMEMBERED_MAX: usize = 1_024;

/// Puts logins back as they are reported, for ever.
pub(super) async fn restore(built: Arc<Built>) {
    let taken = built.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut refused) = taken else { return };
    let mut restored: HashMap<TenantId, Instant> = HashMap::new();
    while let Some(id) = refused.recv().await {
        if restored.get(&id).is_some_and(|at| at.elapsed() < EVERY) {
            continue;
        }
        if restored.len() >= REMEMBERED_MAX {
            restored.clear();
        }
        restored.insert(id.clone(), Instant::now());
        restore_one(&built, &id).await;
    }
}

async fn restore_one(built: &Built, id: &TenantId) {
    let Ok(tenant) = built.directory.tenant(id).await else { return };
    let Some(server) = built.servers.get(&*tenant.server).filter(|_| !tenant.adopted) else {
        tracing::warn!(%id, "a tenant's postgresql refuses the login of its databaseUrl");
        return;
    };
    match server.restore_logins(id, KEY_VERSION).await {
        // At this level so that it is kept: somebody inside the tenant did it.
        Ok(()) => tracing::warn!(%id, "a tenant had changed its logins; they are put back"),
        Err(fault) => tracing::error!(%id, %fault, "a tenant's logins could not be put back"),
    }
}
