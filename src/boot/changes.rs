//! What a change of the registry means to the rooms.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Built;
use super::applying::Applying;
use crate::auth::{Kind, Revocation, TokenId};
use crate::control::changes::{Change, Revoked};
use crate::fault::{Fault, SqlState};
use crate::ident::TenantId;
use crate::session::{Card, Cut, way_of};
use crate::tenant::{Permits, Status, Tenant};

/// How long a revocation is remembered whose notice does not say until when: a registry of before.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// Applies changes as they are heard: caches first, then live sessions.
pub(super) struct Reaction {
    built: Arc<Built>,
    control: Handle,
    turns: Arc<Semaphore>,
}

/// Rows read at the same time because they changed: a commit may change every tenant's, and logins
/// want the registry, too.
const LOOKS_AT_ONCE: usize = 4;

impl Reaction {
    pub(super) fn new(built: Arc<Built>, control: Handle) -> Self {
        Self { built, control, turns: Arc::new(Semaphore::new(LOOKS_AT_ONCE)) }
    }

    /// Takes one change in. Quick: what needs the registry is done in a task of its own.
    pub(super) fn take(&self, change: Change) {
        match change {
            Change::Tenant(id) => {
                self.built.directory.forget(&id);
                let (built, turns) = (Arc::clone(&self.built), Arc::clone(&self.turns));
                self.control.spawn(async move {
                    let _turn = turns.acquire().await;
                    let looked = look(&built, &id).await;
                    missed(&built, looked);
                });
            }
            Change::Key { id, .. } => {
                self.built.directory.forget_key(&id);
                let (built, turns) = (Arc::clone(&self.built), Arc::clone(&self.turns));
                self.control.spawn(async move {
                    let _turn = turns.acquire().await;
                    let looked = look_at_key(&built, &id).await;
                    missed(&built, looked);
                });
            }
            Change::Revoked { what, tenant, until, keep } => {
                let now = SystemTime::now();
                let span = (until.unwrap_or(now), keep.unwrap_or(now + KEEP));
                revoke(&self.built, what, tenant, span);
            }
            Change::Phone(number) => self.built.numbers.forget(&number),
            // See `peers`.
            Change::Peer(_) => {}
            Change::Processes => self.built.processes.notify_one(),
            Change::Gap => {
                self.built.directory.forget_all();
                self.built.numbers.forget_all();
                self.built.verifier.forget();
                self.built.missed.notify_one();
            }
        }
    }
}

/// What could not be read is read when the registry is back, with everything else.
pub(super) fn missed(built: &Built, looked: Result<(), Fault>) {
    let Err(fault) = looked else { return };
    fault.log();
    if fault.state() == SqlState::CANNOT_CONNECT_NOW {
        built.missed.notify_one();
    }
}

/// Stops what was issued until then, at the door and among the live; it is remembered as long as
/// it stops anything.
fn revoke(built: &Built, what: Revoked, tenant: Option<TenantId>, span: (SystemTime, SystemTime)) {
    let Some(revocation) = remember(built, what, tenant, span) else { return };
    cut(built, "sessions cut by a revocation", |card| revocation.covers(card.identity()));
}

/// Cuts the live sessions that `which` picks.
fn cut(built: &Built, text: &str, which: impl Fn(&Card) -> bool) {
    let cut = built.shared.roster().cut(Cut::Revoked, which);
    if cut > 0 {
        tracing::info!(sessions = cut, "{text}");
    }
}

/// The same at the door only.
pub(super) fn remember(
    built: &Built,
    what: Revoked,
    tenant: Option<TenantId>,
    (issued_until, keep_until): (SystemTime, SystemTime),
) -> Option<Revocation> {
    let revocation = match (what, tenant) {
        (Revoked::Token(id), tenant) => Revocation::Token { id: TokenId::new(&id), tenant },
        (Revoked::Key(id), tenant) => {
            built.directory.forget_key(&id);
            Revocation::Token { id: TokenId::new(&id), tenant }
        }
        (Revoked::Admin(id), Some(tenant)) => {
            Revocation::Subject { tenant, subject: id.into(), issued_until }
        }
        (Revoked::Admin(_), None) => return None,
        (Revoked::Tenant(tenant), _) => Revocation::Tenant { tenant, issued_until },
        (Revoked::Tokens(tenant), _) => Revocation::Tokens { tenant, issued_until },
    };
    built.verifier.revocations().add(revocation.clone(), keep_until, SystemTime::now());
    Some(revocation)
}

/// Cuts the live sessions that any revocation stops, in one look at each.
pub(super) fn cut_revoked(built: &Built) {
    let (revocations, text) =
        (built.verifier.revocations(), "sessions cut by revocations that were missed");
    cut(built, text, |card| revocations.cover(card.identity()));
}

/// A key's row changed: sessions of one that is gone or revoked are cut.
pub(super) async fn look_at_key(built: &Built, id: &str) -> Result<(), Fault> {
    // What the directory remembers is good enough to serve, not to say that nothing happened.
    let row = built.registry.api_key(id).await?;
    if row.is_none_or(|row| row.revoked) {
        let token = TokenId::new(id);
        cut(built, "sessions cut with their key", |card| {
            card.identity().kind() == Kind::ApiKey && *card.identity().token_id() == token
        });
    }
    Ok(())
}

/// A tenant's row changed: its live sessions and its room follow, and then its server. One look at a
/// time, so that the last one has read the last row; who finds another at it leaves the rest to that.
pub(super) async fn look(built: &Arc<Built>, id: &TenantId) -> Result<(), Fault> {
    look_from(built, id, None).await
}

/// The same, beginning with what is known of its row: time alone has changed what it may do.
pub(super) async fn look_from(
    built: &Arc<Built>,
    id: &TenantId,
    mut known: Option<Arc<Tenant>>,
) -> Result<(), Fault> {
    let Some((mut turn, ())) = built.looks.take(id, ()) else { return Ok(()) };
    let mut applying = None;
    let looked = loop {
        let read = match known.take() {
            Some(tenant) => Ok(Some(tenant)),
            None => built.registry.tenant(id).await.map(|read| read.map(Arc::new)),
        };
        match &read {
            Ok(Some(tenant)) => {
                follow(built, tenant);
                // In this turn, so that its server hears of the rows in their order.
                applying = applying.or(Applying::of(built, tenant));
            }
            Ok(None) => {
                built.shared.roster().cut_tenant(Cut::Dropped, id);
                built.pools.suspend(id);
            }
            // A registry that is away changes nothing: what is known stays true until it says
            // otherwise.
            Err(_) => {}
        }
        match turn.next() {
            Some((next, ())) => turn = next,
            None => break read.map(drop),
        }
    };
    // In another turn: a server that does not answer keeps no session from being cut.
    if let Some(applying) = applying {
        applying.apply(built);
    }
    looked
}

/// A tenant's live sessions and its room are as its row says.
fn follow(built: &Built, tenant: &Tenant) {
    let id = &tenant.id;
    let way = way_of(tenant);
    // Its servers are elsewhere now: who holds on to the old ones comes again and finds the new.
    if built.pools.reroute(id, &way) {
        let old = |card: &Card| card.identity().tenant() == id && card.mark() != way.mark;
        let cut = built.shared.roster().cut(Cut::Killed, old);
        if cut > 0 {
            tracing::info!(%id, sessions = cut, "sessions cut because their tenant's servers are others");
        }
    }
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
    let limits = built.rules.of(tenant);
    built.pools.relimit(id, &limits);
}
