//! What a change of the registry means to the rooms.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;

use super::Built;
use crate::auth::{Revocation, TokenId};
use crate::control::changes::{Change, Revoked};
use crate::control::fleet::apply_tenant;
use crate::control::revocations::standing;
use crate::ident::TenantId;
use crate::pool::Holder;
use crate::session::Cut;
use crate::tenant::Status;

/// How long a revocation is remembered that was heard of by NOTIFY, which does not say until when:
/// whatever it stops has expired by then.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// Applies changes as they are heard: caches first, then live sessions.
pub(super) struct Reaction {
    built: Arc<Built>,
    control: Handle,
}

impl Reaction {
    pub(super) fn new(built: Arc<Built>, control: Handle) -> Self {
        Self { built, control }
    }

    /// Takes one change in. Quick: what needs the registry is done in a task of its own.
    pub(super) fn take(&self, change: Change) {
        match change {
            Change::Tenant(id) => {
                self.built.directory.forget(&id);
                let built = Arc::clone(&self.built);
                self.control.spawn(async move { look_again(&built, &id).await });
            }
            Change::Key { id, .. } => self.built.directory.forget_key(&id),
            Change::Revoked { what, tenant } => {
                let now = SystemTime::now();
                revoke(&self.built, what, tenant, (now, now + KEEP));
            }
            Change::Phone(number) => self.built.numbers.forget(&number),
            // See `peers`.
            Change::Peer(_) => {}
            Change::Processes => self.built.processes.notify_one(),
            Change::Gap => {
                self.built.directory.forget_all();
                self.built.numbers.forget_all();
                self.built.verifier.forget();
                let built = Arc::clone(&self.built);
                self.control.spawn(async move {
                    recall(&built).await;
                    for room in built.pools.rooms() {
                        look_again(&built, &room.tenant).await;
                    }
                });
            }
        }
    }
}

/// Stops what was issued until then, at the door and among the live; it is remembered as long as
/// it stops anything.
fn revoke(
    built: &Built,
    what: Revoked,
    tenant: Option<TenantId>,
    (issued_until, keep_until): (SystemTime, SystemTime),
) {
    let revocation = match (what, tenant) {
        (Revoked::Token(id), _) => Revocation::Token(TokenId::new(&id)),
        (Revoked::Key(id), _) => {
            built.directory.forget_key(&id);
            Revocation::Token(TokenId::new(&id))
        }
        (Revoked::Admin(id), Some(tenant)) => {
            Revocation::Subject { tenant, subject: id.into(), issued_until }
        }
        (Revoked::Admin(_), None) => return,
        (Revoked::Tenant(tenant), _) => Revocation::Tenant { tenant, issued_until },
    };
    let now = SystemTime::now();
    built.verifier.revocations().add(revocation.clone(), keep_until, now);
    let cut = built.shared.roster().cut(Cut::Revoked, |card| revocation.covers(card.identity()));
    if cut > 0 {
        tracing::info!(sessions = cut, "sessions cut by a revocation");
    }
}

/// Revocations that were missed, or made before this process started.
async fn recall(built: &Built) {
    match standing(&built.registry).await {
        Ok(all) => {
            for one in all {
                let span = (one.issued_until, one.expires_at);
                revoke(built, one.what, one.tenant, span);
            }
        }
        Err(fault) => tracing::error!(%fault, "the revocations could not be read"),
    }
}

/// A tenant's row changed: its live sessions and its room follow.
async fn look_again(built: &Arc<Built>, id: &TenantId) {
    let tenant = match built.directory.tenant(id).await {
        Ok(tenant) => tenant,
        Err(fault) if fault.state() == crate::fault::SqlState::INVALID_CATALOG_NAME => {
            built.shared.roster().cut_tenant(Cut::Dropped, id);
            built.pools.suspend(id);
            return;
        }
        // The registry is away: what is known stays true until it says otherwise.
        Err(_) => return,
    };
    if tenant.status == Status::Active {
        built.pools.resume(id);
    } else {
        built.shared.roster().cut_tenant(Cut::Suspended, id);
        built.pools.suspend(id);
    }
    let limits = built.rules.of(&tenant);
    built.pools.relimit(id, &limits);
    let applied = apply_tenant(&tenant, &built.servers, Some(limits.server_max)).await;
    // An adopted tenant's is nobody's to hold; of the others it is true again when it is applied.
    let holder = match &applied {
        Ok(()) if tenant.adopted || !built.servers.contains_key(&*tenant.server) => Holder::Nobody,
        Ok(()) => Holder::PostgreSql,
        Err(_) => Holder::Unknown,
    };
    built.pools.set_holder(id, holder);
    if let Err(fault) = applied {
        tracing::warn!(%id, %fault, "a tenant's change could not be applied to its server yet");
    }
}
