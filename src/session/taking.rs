//! Getting a server: an idle one, a new one, or the next that is free.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Sleep;

use super::live::{End, Live, ServerLease};
use super::relay::Relay;
use super::roster::Card;
use super::shared::{RefusedDial, Shared};
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::net::{self, Stream};
use crate::pool::{Asker, Attempt, Class, FullOf, Grant, Membership, Slot, Ticket};
use crate::server::{Account, DialError, Endpoint, Server, Settings};
use crate::tenant::PoolMode;

/// Where a session's servers come from.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) tenant: TenantId,
    pub(super) class: Class,
    pub(super) mode: PoolMode,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) account: Arc<Account>,
}

/// How many servers may be lost, one after the other, before the client has said anything to them.
/// When PostgreSQL ends, all of a pool's may have ended and not yet be known to have.
pub(super) const LOST_MAX: u32 = 5;

/// How long what a client asked for stands in line when the client has left. Behind that, those
/// who are still there come first: a client that gave up waiting may have asked again.
const LEFT_PATIENCE: Duration = Duration::from_secs(5);

enum Dialled {
    Lease(ServerLease),
    /// PostgreSQL is full: back in line.
    Full(Ticket<Box<Server>>),
}

/// A server for a session of `seat`. Cancel-safe: dropping the future gives back what was taken, once
/// PostgreSQL has it no more.
///
/// # Errors
/// What the pool says of its limits, and 08006 when PostgreSQL cannot be reached.
pub(super) async fn take(
    shared: &Arc<Shared>,
    membership: &Membership<Box<Server>>,
    seat: &Seat,
) -> Result<ServerLease, Fault> {
    let attempt = membership.room().lease(seat.class, &Asker::STRANGER)?;
    finish_attempt(shared, membership, attempt, seat).await
}

/// As [`take`], a server with nothing of any client: to ask it what a newcomer's settings are.
///
/// # Errors
/// As [`take`], and when servers are lost one after the other.
pub(super) async fn take_plain(
    shared: &Arc<Shared>,
    membership: &Membership<Box<Server>>,
    seat: &Seat,
) -> Result<ServerLease, Fault> {
    let mut lost = 0;
    loop {
        let mut lease = take(shared, membership, seat).await?;
        if lease.is_spoiled {
            // There are no more of these than servers: each is closed once.
            lease.destroy();
            continue;
        }
        match strip(&mut lease).await {
            Ok(()) => return Ok(lease),
            Err(DialError::Unreachable(_)) if lost + 1 < LOST_MAX => lost += 1,
            Err(error) => return Err(error.into_fault()),
        }
    }
}

async fn strip(server: &mut Server) -> Result<(), DialError> {
    server.come_here()?;
    if server.marked_by.is_some() {
        server.clean().await?;
    }
    server.apply(&Settings::default()).await
}

async fn finish_attempt(
    shared: &Arc<Shared>,
    membership: &Membership<Box<Server>>,
    attempt: Attempt<Box<Server>>,
    seat: &Seat,
) -> Result<ServerLease, Fault> {
    let grant = match attempt {
        Attempt::Ready(lease) => return Ok(lease),
        Attempt::Dial(slot) => Grant::Dial(slot),
        Attempt::Wait(ticket) => ticket.wait().await?,
    };
    finish_grant(shared, membership, grant, seat).await
}

async fn finish_grant(
    shared: &Arc<Shared>,
    membership: &Membership<Box<Server>>,
    mut grant: Grant<Box<Server>>,
    seat: &Seat,
) -> Result<ServerLease, Fault> {
    loop {
        let slot = match grant {
            Grant::Lease(lease) => return Ok(lease),
            Grant::Dial(slot) => slot,
        };
        // A seat of before the tenant's servers were somewhere else leads to the old ones.
        membership.check_way()?;
        match Dialling::start(shared, slot, seat).await? {
            Dialled::Lease(lease) => return Ok(lease),
            Dialled::Full(ticket) => grant = ticket.wait().await?,
        }
    }
}

/// A dial under way. When it is dropped it goes on by itself: PostgreSQL counts the connection until
/// it has heard of its end, and the slot is held as long.
struct Dialling {
    dial: Option<BoxFuture<'static, Result<Dialled, Fault>>>,
    /// Whether others can have the server then.
    is_shared: bool,
}

impl Dialling {
    fn start(shared: &Arc<Shared>, slot: Slot<Box<Server>>, seat: &Seat) -> Self {
        let (shared, seat) = (Arc::clone(shared), seat.clone());
        let is_shared = seat.mode == PoolMode::Transaction;
        let dial = async move { dial(&shared, slot, &seat).await };
        Self { dial: Some(Box::pin(dial)), is_shared }
    }
}

impl Future for Dialling {
    type Output = Result<Dialled, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(dial) = &mut self.dial else { return Poll::Pending };
        let dialled = ready!(dial.as_mut().poll(cx));
        self.dial = None;
        Poll::Ready(dialled)
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        let Some(dial) = self.dial.take() else { return };
        let is_shared = self.is_shared;
        net::spawn(async move {
            match dial.await {
                Ok(Dialled::Lease(lease)) if is_shared => lease.finish(),
                other => drop(other),
            }
        });
    }
}

async fn dial(
    shared: &Arc<Shared>,
    slot: Slot<Box<Server>>,
    seat: &Seat,
) -> Result<Dialled, Fault> {
    let class = slot.class();
    let plain = (class != seat.account.class).then(|| seat.account.plain(class));
    let account = plain.as_ref().unwrap_or(&seat.account);
    let mut dialled = shared.parts.dialer.dial(&seat.endpoint, account).await;
    if seat.mode == PoolMode::Transaction && matches!(dialled, Err(DialError::Setting(_))) {
        // Accepted once, and no longer: what it names was dropped.
        let plain = account.plain(class);
        dialled = shared.parts.dialer.dial(&seat.endpoint, &plain).await;
    }
    match dialled {
        Ok(server) => Ok(Dialled::Lease(slot.opened(server))),
        Err(DialError::Full { database, message }) => {
            tracing::debug!(message, "a dial found postgresql full");
            let of = if database { FullOf::Tenant } else { FullOf::Server };
            Ok(Dialled::Full(slot.refused_full(of)))
        }
        // The client's mistake: PostgreSQL can be reached, and nobody else has to wait for it. The
        // slot is given back as it is.
        Err(error @ DialError::Setting(_)) => Err(error.into_fault()),
        Err(error) => {
            let login = matches!(error, DialError::Login(_));
            if login || matches!(error, DialError::Refused { .. }) {
                let refused = RefusedDial { tenant: seat.tenant.clone(), login };
                // Full: somebody is at it already.
                let _ = shared.parts.refused_dials.try_send(refused);
            }
            let fault = error.into_fault();
            slot.failed(&fault);
            Err(fault)
        }
    }
}

impl Live {
    /// A server for the client's next transaction. While it waits, a cut or a client that leaves
    /// ends the wait.
    pub(super) async fn lease(
        &mut self,
        relay: &mut Relay,
    ) -> Result<Result<ServerLease, Fault>, End> {
        // What its last server alone can tell it need not stand in line for, while that is held.
        let returns = self.asker.is_held() && relay.reads_sequence(&self.statements);
        self.asker.set_returns(returns);
        let outlives = self.outlives(self.deferred.is_open());
        match self.membership.room().lease(self.seat.class, &self.asker) {
            Ok(Attempt::Ready(lease)) => Ok(Ok(lease)),
            Ok(Attempt::Dial(slot)) => self.lease_slowly(Grant::Dial(slot), relay).await,
            Ok(Attempt::Wait(mut ticket)) => {
                // Without an allocation: in a full room every transaction comes this way.
                let card = self.entry.card();
                card.waits(Some(ticket.asked()));
                let wait = |cx: &mut Context<'_>| ticket.poll(cx);
                let answer = unless_left((card, outlives), &mut self.client, relay, wait).await;
                card.waits(None);
                match answer? {
                    Ok(Grant::Lease(lease)) => Ok(Ok(lease)),
                    Ok(grant) => self.lease_slowly(grant, relay).await,
                    Err(fault) => Ok(Err(fault)),
                }
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// Dials, if need be more than once and with waits in between.
    async fn lease_slowly(
        &mut self,
        grant: Grant<Box<Server>>,
        relay: &mut Relay,
    ) -> Result<Result<ServerLease, Fault>, End> {
        let mut taking = Box::pin(finish_grant(&self.shared, &self.membership, grant, &self.seat));
        let take = |cx: &mut Context<'_>| taking.as_mut().poll(cx);
        let card = (self.entry.card(), self.outlives(self.deferred.is_open()));
        unless_left(card, &mut self.client, relay, take).await
    }
}

/// Polls `take` until it is ready, unless the session is cut or its client leaves before.
async fn unless_left<T>(
    (card, outlives): (&Arc<Card>, bool),
    client: &mut Stream,
    relay: &mut Relay,
    mut take: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, End> {
    let mut left: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(why) = card.poll_cut(cx, outlives) {
            return Poll::Ready(Err(End::Fatal(why.fault())));
        }
        if let Poll::Ready(taken) = take(cx) {
            return Poll::Ready(Ok(taken));
        }
        if let Some(left) = &mut left {
            return left.as_mut().poll(cx).map(|()| Err(End::Silent));
        }
        match relay.poll_more(cx, client) {
            // What it asked for before it left PostgreSQL would do.
            Poll::Ready(Ok(0)) if relay.is_asked() => {
                let sleep = left.insert(Box::pin(tokio::time::sleep(LEFT_PATIENCE)));
                sleep.as_mut().poll(cx).map(|()| Err(End::Silent))
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(End::Silent)),
            // What came is kept; the poll that found it also asked to be woken for more.
            _ => Poll::Pending,
        }
    })
    .await
}
