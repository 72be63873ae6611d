//! A place in line.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::deeds::Deeds;
use super::ledger::WaiterId;
use super::reach::Reply;
use super::room::Room;
use super::{Conn, Lease, Slot, refusal};
use crate::fault::Fault;

/// What a room answers to a client that asks for a server.
pub enum Attempt<S: Conn> {
    /// Here it is.
    Ready(Lease<S>),
    /// Dial one.
    Dial(Slot<S>),
    /// Wait.
    Wait(Ticket<S>),
}

/// What a client gets at the end of a wait.
pub enum Grant<S: Conn> {
    /// A server.
    Lease(Lease<S>),
    /// The right to dial one.
    Dial(Slot<S>),
}

impl<S: Conn> Grant<S> {
    /// When it was given.
    fn since(&self) -> Instant {
        match self {
            Self::Lease(lease) => lease.lent(),
            Self::Dial(slot) => slot.since(),
        }
    }

    /// Nobody takes it: on to the next.
    pub(super) fn pass_on(self, now: Instant, deeds: &mut Deeds<S>) {
        match self {
            Self::Lease(lease) => lease.finish_at(now),
            Self::Dial(slot) => slot.end(now, deeds),
        }
    }
}

/// A client's place in its tenant's line. Dropping it leaves the line; what was already on its way
/// goes to the next.
///
/// It has no timer: the room refuses those whose time is up ([`super::Pools::keep`]), and since
/// everybody in a line may wait for the same time, it has to look at the first of them alone.
pub struct Ticket<S: Conn> {
    room: Arc<Room<S>>,
    id: WaiterId,
    asked: Instant,
    reply: Option<Reply<S>>,
}

impl<S: Conn> Ticket<S> {
    pub(super) fn new(room: Arc<Room<S>>, id: WaiterId, asked: Instant, reply: Reply<S>) -> Self {
        Self { room, id, asked, reply: Some(reply) }
    }

    /// Waits for a server or the right to dial one, for at most `queue_timeout` since the client
    /// first asked. Cancel-safe: dropping the future leaves the line.
    ///
    /// # Errors
    /// 53300 or 53400 when the wait was too long, naming the limit that was in the way, 08006 when
    /// PostgreSQL cannot be reached, 57P03 when the tenant was suspended meanwhile.
    pub async fn wait(mut self) -> Result<Grant<S>, Fault> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// As [`Ticket::wait`], for who waits for other things at once. Ready once.
    ///
    /// # Errors
    /// Those of [`Ticket::wait`].
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Grant<S>, Fault>> {
        let Some(reply) = &self.reply else { return Poll::Ready(Err(refusal::lost())) };
        let answer = ready!(reply.poll(cx));
        self.reply = None;
        if let Ok(grant) = &answer {
            self.room.count_wait(grant.since().saturating_duration_since(self.asked));
        }
        Poll::Ready(answer)
    }

    /// Since when the client waits.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// How many stand before the caller; `None` when it has been served.
    pub fn position(&self) -> Option<usize> {
        self.room.book().position(self.id)
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> &Arc<Room<S>> {
        &self.room
    }

    /// What has come, without waiting for it.
    pub(super) fn claim(&mut self) -> Option<Result<Grant<S>, Fault>> {
        let answer = self.reply.as_ref()?.take()?;
        self.reply = None;
        Some(answer)
    }

    /// The time is up: the fault that explains it, unless an answer came just before.
    #[cfg(test)]
    pub(super) fn expire(mut self, now: Instant) -> Result<Grant<S>, Fault> {
        self.room.expire(self.id, now);
        self.claim().expect("answered one way or the other")
    }
}

impl<S: Conn> Drop for Ticket<S> {
    fn drop(&mut self) {
        let Some(reply) = self.reply.take() else { return };
        let now = super::now();
        let answer = reply.close();
        self.room.abandoned(self.id, now);
        if let Some(Ok(grant)) = answer {
            let mut deeds = Deeds::new();
            grant.pass_on(now, &mut deeds);
            deeds.perform(now);
        }
    }
}
