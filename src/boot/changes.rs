//! What a change of the registry means to the rooms.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;

use super::Built;
use crate::auth::{Kind, Revocation, TokenId};
use crate::control::changes::{Change, Revoked};
use crate::control::fleet::apply_tenant;
use crate::control::revocations::standing;
use crate::ident::TenantId;
use crate::pool::Holder;
use crate::session::Cut;
use crate::tenant::{Permits, Status};

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
            Change::Key { id, .. } => {
                self.built.directory.forget_key(&id);
                let built = Arc::clone(&self.built);
                self.control.spawn(async move { look_at_key(&built, &id).await });
            }
            Change::Revoked { what, tenant, until } => {
                let now = SystemTime::now();
                revoke(&self.built, what, tenant, (until.unwrap_or(now), now + KEEP));
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
                    let mut keys = HashSet::new();
                    built.shared.roster().each(|card| {
                        if card.identity().kind() == Kind::ApiKey {
                            keys.insert(card.identity().token_id().clone());
                        }
                    });
                    for key in keys {
                        look_at_key(&built, key.as_str()).await;
                    }
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

/// A key's row changed: sessions of one that is gone or revoked are cut.
async fn look_at_key(built: &Built, id: &str) {
    // The registry is away: it is asked again when it is back.
    let Ok(row) = built.directory.api_key(id).await else { return };
    if row.is_none_or(|row| row.revoked) {
        let token = TokenId::new(id);
        let cut = built.shared.roster().cut(Cut::Revoked, |card| {
            card.identity().kind() == Kind::ApiKey && *card.identity().token_id() == token
        });
        if cut > 0 {
            tracing::info!(sessions = cut, "sessions cut with their key");
        }
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
pub(super) async fn look_again(built: &Arc<Built>, id: &TenantId) {
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
    let permits = tenant.permits(SystemTime::now());
    if tenant.status != Status::Active {
        built.shared.roster().cut_tenant(Cut::Suspended, id);
        built.pools.suspend(id);
    } else if permits == Permits::Suspend {
        built.shared.roster().cut_tenant(Cut::Subscription, id);
        built.pools.suspend(id);
    } else {
        built.pools.resume(id);
        // Those who may do more now as well: they come again as who they are.
        built.shared.roster().cut(Cut::Subscription, |card| {
            let identity = card.identity();
            identity.tenant() == id && card.role() != permits.role(identity.role())
        });
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
