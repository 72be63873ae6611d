//! What a change of the registry means to the rooms.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;

use super::Built;
use crate::auth::{Revocation, TokenId};
use crate::control::changes::{Change, Revoked};
use crate::control::fleet::apply_tenant;
use crate::ident::TenantId;
use crate::session::Cut;
use crate::tenant::Status;

/// How long a revocation is remembered.
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
            Change::Revoked { what, tenant } => self.revoke(what, tenant),
            Change::Processes => self.built.processes.notify_one(),
            Change::Gap => {
                self.built.directory.forget_all();
                self.built.verifier.forget();
                let built = Arc::clone(&self.built);
                self.control.spawn(async move {
                    for room in built.pools.rooms() {
                        look_again(&built, &room.tenant).await;
                    }
                });
            }
        }
    }

    fn revoke(&self, what: Revoked, tenant: Option<TenantId>) {
        let now = SystemTime::now();
        let revocation = match (what, tenant) {
            (Revoked::Token(id), _) => Revocation::Token(TokenId::new(&id)),
            (Revoked::Key(id), _) => {
                self.built.directory.forget_key(&id);
                Revocation::Token(TokenId::new(&id))
            }
            (Revoked::Admin(id), Some(tenant)) => {
                Revocation::Subject { tenant, subject: id.into(), issued_until: now }
            }
            (Revoked::Admin(_), None) => return,
            (Revoked::Tenant(tenant), _) => Revocation::Tenant { tenant, issued_until: now },
        };
        // Whatever it stops has expired a month from now; keys without end leave the registry.
        self.built.verifier.revocations().add(revocation.clone(), now + KEEP, now);
        let roster = self.built.shared.roster();
        let cut = roster.cut(Cut::Revoked, |card| revocation.covers(card.identity()));
        tracing::info!(sessions = cut, "revocation applied");
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
    if let Err(fault) = applied {
        tracing::warn!(%id, %fault, "a tenant's change could not be applied to its server yet");
    }
}
