//! A place in line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::deeds::Deeds;
use super::ledger::WaiterId;
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
    /// Nobody takes it: on to the next.
    pub(super) fn pass_on(self, now: Instant, deeds: &mut Deeds<S>) {
        match self {
            Self::Lease(lease) => lease.finish_at(now),
            Self::Dial(slot) => slot.end(now, deeds),
        }
    }
}

type Reply<S> = oneshot::Receiver<Result<Grant<S>, Fault>>;

/// A client's place in its tenant's line. Dropping it leaves the line; what was already on its way
/// goes to the next.
pub struct Ticket<S: Conn> {
    room: Arc<Room<S>>,
    id: WaiterId,
    asked: Instant,
    timeout: Option<Duration>,
    reply: Option<Reply<S>>,
}

impl<S: Conn> Ticket<S> {
    pub(super) fn new(
        room: Arc<Room<S>>,
        id: WaiterId,
        asked: Instant,
        timeout: Option<Duration>,
        reply: Reply<S>,
    ) -> Self {
        Self { room, id, asked, timeout, reply: Some(reply) }
    }

    /// Waits for a server or the right to dial one, for at most `queue_timeout` since the client
    /// first asked. Cancel-safe: dropping the future leaves the line.
    ///
    /// # Errors
    /// 53300 or 53400 when the wait was too long, naming the limit that was in the way, 08006 when
    /// PostgreSQL cannot be reached, 57P03 when the tenant was suspended meanwhile.
    pub async fn wait(mut self) -> Result<Grant<S>, Fault> {
        // A span that leaves the clock's range is for ever.
        let deadline = self.timeout.and_then(|span| self.asked.checked_add(span));
        let deadline = deadline.map(tokio::time::Instant::from_std);
        let answered = {
            let Some(reply) = self.reply.as_mut() else { return Err(refusal::lost()) };
            match deadline {
                None => Some(reply.await),
                Some(deadline) => tokio::time::timeout_at(deadline, reply).await.ok(),
            }
        };
        let now = super::now();
        match answered {
            Some(Ok(answer)) => {
                self.reply = None;
                self.room.count_wait(now.saturating_duration_since(self.asked));
                answer
            }
            Some(Err(_)) => {
                self.reply = None;
                Err(refusal::lost())
            }
            None => self.expire(now),
        }
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
        let answer = self.reply.as_mut()?.try_recv().ok()?;
        self.reply = None;
        Some(answer)
    }

    /// The time is up: the fault that explains it, unless an answer came just before.
    pub(super) fn expire(mut self, now: Instant) -> Result<Grant<S>, Fault> {
        if let Some(fault) = self.room.timed_out(self.id, self.asked, now) {
            self.reply = None;
            return Err(fault);
        }
        // Out of the line without being told so: the answer is being sent right now.
        let mut reply = self.reply.take().ok_or_else(refusal::lost)?;
        reply.close();
        reply.try_recv().unwrap_or_else(|_| Err(refusal::timed_out_late()))
    }
}

impl<S: Conn> Drop for Ticket<S> {
    fn drop(&mut self) {
        let Some(mut reply) = self.reply.take() else { return };
        let now = super::now();
        reply.close();
        self.room.abandoned(self.id, now);
        if let Ok(Ok(grant)) = reply.try_recv() {
            let mut deeds = Deeds::new();
            grant.pass_on(now, &mut deeds);
            deeds.perform(now);
        }
    }
}
