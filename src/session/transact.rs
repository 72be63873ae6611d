//! One lease after another: a transaction on a shared server, or a session on its own.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::clock::Doing;
use super::cut::Cut;
use super::lexer::Hints;
use super::live::{End, Live, ServerLease, dispose};
use super::relay::{CHANGED, Ends, Event, Relay, too_many_statements};
use super::taking::LOST_MAX;
use crate::fault::{Blame, Fault, SqlState};
use crate::net;
use crate::pool::{Asker, Pin};
use crate::server::{DialError, moment};
use crate::tenant::PoolMode;
use crate::wire::tag;

impl Live {
    /// Runs the client's next transaction on a server of the pool.
    pub(super) async fn transact(&mut self, relay: &mut Relay) -> Result<(), End> {
        if !relay.skip_late_copy()? {
            return Ok(());
        }
        if relay.next_tag() == Some(tag::TERMINATE) {
            return Err(End::Silent);
        }
        if self.defer(relay) {
            return Ok(());
        }
        self.now_at(Doing::Waiting);
        self.lease_began();
        let mut lost = 0;
        loop {
            let lease = match self.lease(relay).await? {
                Ok(lease) => lease,
                Err(fault) => return self.refuse(relay, &fault).await,
            };
            if lease.is_spoiled && lease.marked_by != Some(self.number) {
                // There are no more of these than servers: each is closed once.
                lease.destroy();
                continue;
            }
            // Held from here on: whatever way the session ends, `run` finds the lease there.
            self.held = Some(lease);
            match self.prepare().await {
                Ok(()) => break,
                // The client has said nothing to it yet, so another does as well.
                Err(error @ (DialError::Unreachable(_) | DialError::Timeout)) => {
                    self.give_up(&error);
                    lost += 1;
                    if lost == LOST_MAX || matches!(error, DialError::Timeout) {
                        return self.refuse(relay, &server_lost().because(error)).await;
                    }
                }
                Err(error) => return Err(self.lose(error)),
            }
        }
        if self.deferred.is_open() {
            let Some(status) = Box::pin(self.begin_late(relay)).await? else { return Ok(()) };
            self.serve(relay);
            relay.begun(status);
        } else {
            self.serve(relay);
            self.forget_sequences(relay);
        }
        self.exchange(relay, false).await
    }

    /// Goes on with the server the session keeps.
    pub(super) async fn hold(&mut self, relay: &mut Relay) -> Result<(), End> {
        if let Some(lease) = &self.held {
            self.entry.card().served_by(lease.gate());
        }
        self.schema.refresh(&mut self.reading);
        relay.begin(&self.params, &self.reading);
        self.exchange(relay, true).await
    }

    /// Makes a leased server the client's: its settings, its unnamed statement, its cancels.
    async fn prepare(&mut self) -> Result<(), DialError> {
        let Some(lease) = &mut self.held else { return Ok(()) };
        lease.come_here()?;
        if lease.marked_by.is_some_and(|session| session != self.number) {
            Box::pin(lease.clean()).await?;
        }
        lease.statements.unnamed_is_gone();
        if !lease.settings.merge(&mut self.settings) {
            Box::pin(lease.apply_again(&self.settings)).await?;
            self.settings = lease.settings.clone();
        }
        Ok(())
    }

    /// The leased server is ready for the client, and hears it from here on.
    fn serve(&mut self, relay: &mut Relay) {
        let Some(lease) = &self.held else { return };
        self.entry.card().served_by(lease.gate());
        self.tell_params(relay);
        self.schema.refresh(&mut self.reading);
        relay.begin(&self.params, &self.reading);
    }

    /// Tells the client what the server has reported to pgusher alone.
    pub(super) fn tell_params(&mut self, relay: &mut Relay) {
        let Some(lease) = &mut self.held else { return };
        if !lease.params.merge(&mut self.params) {
            for (name, value) in lease.params.news_to(&self.params) {
                relay.say().parameter_status(name, value);
            }
            self.params = lease.params.clone();
        }
    }

    /// Moves bytes until the lease ends, or for a held one until the session does.
    async fn exchange(&mut self, relay: &mut Relay, hold: bool) -> Result<(), End> {
        loop {
            let event = poll_fn(|cx| self.poll_event(cx, relay, hold)).await?;
            match event {
                Event::Done => {
                    if self.done(relay, hold).await? {
                        return Ok(());
                    }
                }
                Event::ClientGone => return Err(End::Silent),
                Event::ClientBroke(malformed) => return Err(malformed.into()),
                Event::TooManyStatements => return Err(End::Fatal(too_many_statements())),
                Event::Stale(name) => {
                    if !self.renew(relay, &name).await? {
                        return Ok(());
                    }
                }
                Event::ServerGone(said) => {
                    self.part(false);
                    return Err(if said { End::Silent } else { End::Fatal(server_lost()) });
                }
                Event::ServerBroke => {
                    self.part(false);
                    let text = "the tenant's PostgreSQL server broke the protocol";
                    let fault = Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, text);
                    return Err(End::Fatal(fault));
                }
            }
        }
    }

    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        relay: &mut Relay,
        hold: bool,
    ) -> Poll<Result<Event, End>> {
        let cut = self.entry.card().pending_cut();
        if let Some(why) = cut {
            let later = why == Cut::Expired && self.outlives(relay.is_busy());
            if !later && self.still_cut(why, Some(relay)) {
                return Poll::Ready(Err(End::Fatal(why.fault())));
            }
        }
        let Some(lease) = &mut self.held else { return Poll::Ready(Err(End::Silent)) };
        let rules = &self.shared.parts.settings;
        let lease_prepares = lease.pins().has(Pin::Prepare);
        let lease_is_plain = !lease.pins().has(Pin::TempTable);
        let mut ends = Ends {
            client: &mut self.client,
            server: lease,
            statements: &mut self.statements,
            params: &mut self.params,
            shared: self.seat.mode == PoolMode::Transaction,
            salt: lease_is_plain.then(|| self.schema.salt(&self.settings, &mut self.salted)),
            prepares: lease_prepares,
            server_statements_max: self.shared.parts.dialer.prepared_statements_max(),
            client_max: (rules.prepared_statements_max, rules.prepared_bytes_max.get()),
            watched: if hold { Hints::STATE | Hints::CLOSE | Hints::DROP } else { Hints::STATE },
        };
        let event = relay.poll(cx, &mut ends, hold).map(Ok);
        if relay.take_migrated() {
            self.schema.migrated();
            let repeated = u64::from(relay.take_repeated());
            self.shared.parts.metrics.repeats.inc_by(repeated);
            if let Some(lease) = &mut self.held {
                lease.wear();
            }
        }
        let ended = relay.take_ends();
        self.now_at_relay(relay, ended > 0);
        self.time(ended, hold, matches!(event, Poll::Ready(Ok(Event::Done))));
        if ended > 0 {
            if relay.take_functions_changed() {
                self.schema.functions_changed();
            }
            self.transactions += u64::from(ended);
            self.shared.parts.metrics.transactions.inc_by(u64::from(ended));
            self.membership.room().count_transactions(u64::from(ended));
        }
        if event.is_pending() {
            self.entry.card().watch_cut(cx, cut);
        }
        event
    }

    /// A transaction is over. `true` when the lease is, too.
    async fn done(&mut self, relay: &mut Relay, hold: bool) -> Result<bool, End> {
        let sequences = self.note_sequences(relay);
        let runs = relay.runs_code();
        let (mut hints, mut custom) = relay.take_hints();
        if runs && self.salted.makes_temp() {
            hints |= Hints::TEMP;
        }
        if self.schema.is_outdated(&self.reading) || self.schema.is_due(self.lately(hold)) {
            self.time_apart();
            let blind = runs && self.schema.is_outdated(&self.reading);
            match Box::pin(self.read_functions(relay)).await {
                Ok(missed) if runs && !missed.is_empty() => {
                    hints |= missed;
                    self.may_have_advanced();
                }
                Ok(_) => {}
                Err(error) if hold || blind || hints.intersects(Hints::STATE) => {
                    return Err(self.lose(error));
                }
                // Nothing was on it that the session needs.
                Err(error) => {
                    tracing::debug!(%error, "a server was lost behind a transaction");
                    self.give_up(&error);
                    return Ok(true);
                }
            }
        }
        if hints.intersects(Hints::STATE) || (hold && self.may_unpin(hints)) {
            // What was prepared by SQL is executed out of sight, and sets then what no catalog lists.
            if hints.contains(Hints::PREPARE) && !custom.is_empty() {
                hints |= Hints::COMPUTED;
            }
            self.time_apart();
            self.note_functions(hints, &mut custom);
            let reads = self.reads_on(hints, sequences);
            let pins = Box::pin(self.look(relay, hints, &custom, reads)).await?;
            return self.repin(relay, pins, hold, sequences.advanced);
        }
        // A pinned session is asked again only when it did something that could unpin it.
        if hold {
            return Ok(false);
        }
        self.release(relay, sequences.advanced);
        Ok(true)
    }

    /// About now. A lease that ends with its transaction has begun just before.
    fn lately(&self, hold: bool) -> Instant {
        let lent = self.held.as_ref().filter(|_| !hold).map(ServerLease::lent);
        lent.unwrap_or_else(Instant::now)
    }

    /// The schema has changed since the client prepared its statement of that name and was told what it
    /// returns. If it returns the same now it is prepared anew and nobody notices; if not, the client
    /// is told as PostgreSQL tells it, and asks again. `false` when the lease is over.
    async fn renew(&mut self, relay: &mut Relay, name: &[u8]) -> Result<bool, End> {
        let salt = self.schema.salt(&self.settings, &mut self.salted);
        let fresh = self.statements.anew(name, salt);
        let outlives = self.outlives(relay.is_busy());
        let (Some(lease), Some(fresh)) = (&mut self.held, fresh) else { return Ok(false) };
        let card = self.entry.card();
        let mut describing = Box::pin(lease.describe(&fresh));
        // It may wait for a lock, as the client's own would.
        let answer = poll_fn(|cx| match card.poll_cut(cx, outlives) {
            Poll::Ready(why) => Poll::Ready(Err(why)),
            Poll::Pending => describing.as_mut().poll(cx).map(Ok),
        });
        let answer = answer.await;
        drop(describing);
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.lose(error)),
            Err(why) => {
                self.part(true);
                return Err(End::Fatal(why.fault()));
            }
        };
        relay.say().raw(&answer.notifications);
        let refusal = match answer.described {
            Ok(described) => {
                let max = self.shared.parts.dialer.prepared_statements_max();
                if let Some(oldest) = lease.statements.insert(fresh.id, max) {
                    lease.statements.forget_later(oldest);
                }
                lease.statements.describe(fresh.id, moment(), described);
                let told = self.statements.told_of(name).map(|(_, told)| told);
                if told == Some(described) {
                    self.statements.renew(name, &fresh);
                    return Ok(true);
                }
                CHANGED.to_vec()
            }
            Err(refusal) => {
                // Whether it is there depends on what was refused.
                lease.statements.forget_later(fresh.id);
                refusal
            }
        };
        let pinned = !lease.pins().is_empty();
        if !pinned {
            // What came before it in the same write is looked after as ever.
            Box::pin(self.done(relay, false)).await?;
        }
        relay.say().message(tag::ERROR_RESPONSE, |b| b.extend_from_slice(&refusal));
        self.skip_to_sync(relay, false).await?;
        Ok(pinned)
    }

    /// Returns the server to the room; one with a cancel on its way waits for it to land.
    pub(super) fn release(&mut self, relay: &Relay, advanced: bool) {
        self.entry.card().served_by_nobody();
        let Some(lease) = self.held.take() else { return };
        // Asked first: a cancel that is no longer on its way has left its doubt behind.
        let is_busy = lease.gate().is_busy();
        if !relay.is_certain() || relay.is_unforgotten() || lease.gate().is_doubtful() {
            self.time_apart();
            lease.destroy();
        } else if is_busy {
            self.time_apart();
            hold_until_landed(lease, self.asker);
        } else {
            let hold = advanced && self.habit.advanced();
            let lent = lease.finish_for(&mut self.asker, hold);
            self.lease_ended(lent);
        }
    }

    /// Closes its server; one that is still at a question is cancelled first.
    fn part(&mut self, is_asked: bool) {
        self.entry.card().served_by_nobody();
        match self.held.take() {
            Some(lease) if is_asked => dispose(&self.shared, lease, false),
            Some(lease) => lease.destroy(),
            None => {}
        }
    }

    /// The server failed at one of pgusher's own questions: its state is unknown.
    pub(super) fn lose(&mut self, error: DialError) -> End {
        self.give_up(&error);
        End::Fatal(server_lost().because(error))
    }

    /// Closes a server that failed at one of pgusher's own questions.
    fn give_up(&mut self, error: &DialError) {
        self.part(matches!(error, DialError::Timeout));
    }
}

fn hold_until_landed(lease: ServerLease, mut asker: Asker) {
    net::spawn(async move {
        Arc::clone(lease.gate()).landed().await;
        if lease.gate().is_doubtful() {
            lease.destroy();
        } else {
            lease.finish_for(&mut asker, false);
        }
    });
}

fn server_lost() -> Fault {
    let text = "the connection to the tenant's PostgreSQL server was lost";
    Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, text)
        .hint("Connect again; what was not committed is rolled back.")
}
