//! One lease after another: a transaction on a shared server, or a session on its own.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::lexer::Hints;
use super::live::{End, Live, ServerLease};
use super::probe;
use super::relay::{Ends, Event, Relay};
use super::roster::Cut;
use super::settings::TokenExpiry;
use super::statements::Told;
use crate::fault::{Blame, Fault, SqlState};
use crate::pool::{Asker, Pin, Pins};
use crate::server::{DialError, Prepared};
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
        let lease = match self.lease(relay).await? {
            Ok(lease) => lease,
            Err(fault) => return self.refuse(relay, &fault).await,
        };
        // Held from here on: whatever way the session ends, `run` finds the lease there.
        self.held = Some(lease);
        self.prepare(relay).await?;
        self.schema.refresh(&mut self.reading);
        relay.begin(&self.params, &self.reading);
        self.forget_sequences(relay);
        let began = Instant::now();
        let ended = self.exchange(relay, false).await;
        let took = began.elapsed().as_secs_f64();
        self.shared.parts.metrics.lease_seconds.observe(took);
        ended
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
    async fn prepare(&mut self, relay: &mut Relay) -> Result<(), End> {
        let Some(lease) = &mut self.held else { return Ok(()) };
        if lease.marked_by.is_some_and(|session| session != self.number) {
            if let Err(error) = Box::pin(lease.clean()).await {
                return Err(self.lose(error));
            }
        }
        lease.statements.unnamed_is_gone();
        if !lease.settings.same(&self.settings) {
            let applied = Box::pin(lease.apply_again(&self.settings)).await;
            if let Err(error) = applied {
                return Err(self.lose(error));
            }
            self.settings = lease.settings.clone();
        }
        self.entry.card().served_by(lease.gate());
        self.tell_params(relay);
        Ok(())
    }

    /// Tells the client what the server has reported to pgusher alone.
    fn tell_params(&mut self, relay: &mut Relay) {
        let Some(lease) = &self.held else { return };
        if !lease.params.same(&self.params) {
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
                Event::TooManyStatements => return Err(too_many_statements()),
                Event::Stale(prepared) => {
                    if !self.renew(relay, &prepared).await? {
                        return Ok(());
                    }
                }
                Event::ServerGone(said) => {
                    self.destroy();
                    return Err(if said { End::Silent } else { End::Fatal(server_lost()) });
                }
                Event::ServerBroke => {
                    self.destroy();
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
        if let Poll::Ready(why) = self.entry.card().poll_cut(cx) {
            let idle_only = self.shared.parts.settings.token_expiry == TokenExpiry::Idle;
            if !(why == Cut::Expired && idle_only && relay.is_busy()) {
                return Poll::Ready(Err(End::Fatal(why.fault())));
            }
        }
        let Some(lease) = &mut self.held else { return Poll::Ready(Err(End::Silent)) };
        let rules = &self.shared.parts.settings;
        let lease_is_plain = !lease.pins().has(Pin::TempTable);
        let mut ends = Ends {
            client: &mut self.client,
            server: lease,
            statements: &mut self.statements,
            params: &mut self.params,
            shared: self.seat.mode == PoolMode::Transaction,
            salt: lease_is_plain.then(|| self.schema.salt(&self.settings)),
            server_statements_max: self.shared.parts.dialer.prepared_statements_max(),
            client_max: (rules.prepared_statements_max, rules.prepared_bytes_max.get()),
            watched: if hold { Hints::STATE | Hints::CLOSE | Hints::DROP } else { Hints::STATE },
        };
        let event = relay.poll(cx, &mut ends, hold).map(Ok);
        if relay.take_migrated() {
            self.schema.migrated();
            if let Some(lease) = &mut self.held {
                lease.wear();
            }
        }
        let ended = u64::from(relay.take_ends());
        if ended > 0 {
            if relay.take_functions_changed() {
                self.schema.functions_changed();
            }
            self.shared.parts.metrics.transactions.inc_by(ended);
            self.membership.room().count_transactions(ended);
        }
        event
    }

    /// A transaction is over. `true` when the lease is, too.
    async fn done(&mut self, relay: &mut Relay, hold: bool) -> Result<bool, End> {
        let sequences = self.note_sequences(relay);
        let runs = relay.runs_code();
        let (mut hints, mut custom) = relay.take_hints();
        if self.schema.is_outdated(&self.reading) || self.schema.is_due() {
            let missed = Box::pin(self.read_functions(relay)).await?;
            hints |= if runs { missed } else { Hints::NONE };
        }
        if hints.intersects(Hints::STATE) || (hold && self.may_unpin(hints)) {
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

    /// Whether what keeps the server may be gone by what was done.
    fn may_unpin(&self, hints: Hints) -> bool {
        let Some(pins) = self.held.as_ref().map(|lease| lease.pins()) else { return false };
        pins.has(Pin::HoldCursor) && hints.contains(Hints::CLOSE)
            || pins.has(Pin::TempTable) && hints.contains(Hints::DROP)
    }

    /// Asks the catalog what the session left on its server.
    async fn look(
        &mut self,
        relay: &mut Relay,
        hints: Hints,
        custom: &[String],
        reads: bool,
    ) -> Result<Pins, End> {
        self.entry.card().served_by_nobody();
        let Some(lease) = &mut self.held else { return Ok(Pins::default()) };
        lease.gate().clone().landed().await;
        self.shared.parts.metrics.looks.inc();
        let state = match probe::look(lease, custom).await {
            Ok(state) => state,
            Err(error) => return Err(self.lose(error)),
        };
        relay.say().raw(&state.notifications);
        // A simple query destroys it, pgusher's own too.
        lease.statements.unnamed_is_gone();
        lease.settings = state.settings.or(lease.startup());
        // What RESET took away goes back to what the startup packet said.
        self.settings = state.settings.or(&self.startup);
        let (mut pins, before) = (state.pins, lease.pins());
        if hints.contains(Hints::LOAD) || before.has(Pin::Load) {
            pins = pins.with(Pin::Load);
        }
        if hints.contains(Hints::COMPUTED) || before.has(Pin::Setting) {
            pins = pins.with(Pin::Setting);
        }
        if reads {
            pins = pins.with(Pin::Sequence);
        }
        if hints.intersects(WEARING) {
            lease.wear();
        }
        if !pins.is_empty() {
            // It goes on here, so it has to have that here.
            if let Err(error) = Box::pin(lease.apply_again(&self.settings)).await {
                return Err(self.lose(error));
            }
            self.settings = lease.settings.clone();
            self.tell_params(relay);
            self.forget_others(relay).await?;
        }
        Ok(pins)
    }

    /// The schema has changed since the client prepared a statement and was told what it returns.
    /// If it returns the same now it is prepared anew and nobody notices; if not, the client is
    /// told as PostgreSQL tells it, and asks again. `false` when the lease is over.
    async fn renew(&mut self, relay: &mut Relay, old: &Arc<Prepared>) -> Result<bool, End> {
        let salt = self.schema.salt(&self.settings);
        let fresh = old.under(salt);
        let Some(lease) = &mut self.held else { return Ok(false) };
        let described = match Box::pin(lease.describe(&fresh)).await {
            Ok(described) => described,
            Err(error) => return Err(self.lose(error)),
        };
        if described.is_some() {
            let max = self.shared.parts.dialer.prepared_statements_max();
            if let Some(oldest) = lease.statements.insert(fresh.id, max) {
                lease.statements.forget_later(oldest);
            }
        }
        if described.map(Told::Description) == Some(self.statements.told_of(old.id)) {
            self.statements.renew(old.id, &fresh);
            return Ok(true);
        }
        let pinned = !lease.pins().is_empty();
        if !pinned {
            let advanced = self.note_sequences(relay).advanced;
            self.release(relay, advanced);
        }
        relay.say().message(tag::ERROR_RESPONSE, |b| {
            // With the routine, by which drivers know it.
            b.extend_from_slice(
                b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0\
                  Fplancache.c\0RRevalidateCachedQuery\0\0",
            );
        });
        self.skip_to_sync(relay, false).await?;
        Ok(pinned)
    }

    /// A session that keeps its server sees its own prepared statements there, nobody else's.
    async fn forget_others(&mut self, relay: &mut Relay) -> Result<(), End> {
        let Some(lease) = &mut self.held else { return Ok(()) };
        let others: Vec<_> =
            lease.statements.iter().filter(|id| !self.statements.has(*id)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut sql = String::new();
        for id in &others {
            let name = id.server_name();
            let _ = write!(sql, "DEALLOCATE {};", String::from_utf8_lossy(&name));
        }
        let answer = lease.ask_surely(&sql).await;
        for id in others {
            lease.statements.remove(id);
        }
        match answer {
            Ok(answer) if answer.is_clean() => {
                relay.say().raw(&answer.notifications);
                Ok(())
            }
            Ok(_) => Err(self.lose(DialError::Protocol("DEALLOCATE failed"))),
            Err(error) => Err(self.lose(error)),
        }
    }

    /// Keeps the server for what is on it, or lets it go. `true` when it is let go.
    fn repin(
        &mut self,
        relay: &Relay,
        mut pins: Pins,
        hold: bool,
        advanced: bool,
    ) -> Result<bool, End> {
        let Some(lease) = &mut self.held else { return Ok(true) };
        let before = lease.pins();
        // A pin makes sure that `currval` answers; where there is none to be had it may not be
        // defined any more, but is never another session's.
        if pins == Pins::only(Pin::Sequence)
            && before.is_empty()
            && lease.pin(Pin::Sequence).is_err()
        {
            pins = Pins::default();
        }
        let before = lease.pins();
        for gone in before.iter().filter(|pin| !pins.has(*pin)) {
            lease.unpin(gone);
        }
        if pins.is_empty() {
            self.release(relay, advanced);
            return Ok(true);
        }
        for new in pins.iter().filter(|pin| !before.has(*pin)) {
            lease.pin(new).map_err(End::Fatal)?;
        }
        self.entry.card().served_by(lease.gate());
        // A lease that was for one transaction only ends here as such; `hold` goes on with it.
        Ok(!hold)
    }

    /// Returns the server to the room; one with a cancel on its way waits for it to land.
    fn release(&mut self, relay: &Relay, advanced: bool) {
        self.entry.card().served_by_nobody();
        let Some(lease) = self.held.take() else { return };
        if !relay.is_certain() || lease.gate().is_doubtful() {
            lease.destroy();
        } else if lease.gate().is_busy() {
            hold_until_landed(lease, self.asker);
        } else {
            let hold = advanced && self.habit.advanced();
            lease.finish_for(&mut self.asker, hold);
        }
    }

    fn destroy(&mut self) {
        self.entry.card().served_by_nobody();
        if let Some(lease) = self.held.take() {
            lease.destroy();
        }
    }

    /// The server failed at one of pgusher's own questions: its state is unknown.
    pub(super) fn lose(&mut self, error: DialError) -> End {
        self.destroy();
        End::Fatal(server_lost().because(error))
    }
}

fn hold_until_landed(lease: ServerLease, mut asker: Asker) {
    tokio::spawn(async move {
        Arc::clone(lease.gate()).landed().await;
        if lease.gate().is_doubtful() {
            lease.destroy();
        } else {
            lease.finish_for(&mut asker, false);
        }
    });
}

/// What loads libraries into the server's process, or makes its temporary schema.
const WEARING: Hints = Hints::DO.or(Hints::TEMP).or(Hints::LOAD).or(Hints::SESSION_FUNCTION);

fn server_lost() -> Fault {
    let text = "the connection to the tenant's PostgreSQL server was lost";
    Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, text)
        .hint("Connect again; what was not committed is rolled back.")
}

fn too_many_statements() -> End {
    let text = "too many prepared statements, or one that is too long, in transaction mode";
    End::Fatal(
        Fault::new(Blame::Client, SqlState::PROGRAM_LIMIT_EXCEEDED, text)
            .hint("Close statements you do not need, or use options=-c pgusher.pool_mode=session."),
    )
}
