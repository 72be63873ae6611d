//! Why a session keeps its server: asked of the catalog, put on the books, told to the client.

use super::lexer::Hints;
use super::live::{End, Live};
use super::probe;
use super::relay::Relay;
use crate::pool::{Pin, Pins};
use crate::server::DialError;

/// What loads libraries into the server's process, or makes its temporary schema.
const WEARING: Hints = Hints::DO.or(Hints::TEMP).or(Hints::LOAD).or(Hints::TYING);

impl Live {
    /// Whether what keeps the server may be gone by what was done.
    pub(super) fn may_unpin(&self, hints: Hints) -> bool {
        let Some(lease) = &self.held else { return false };
        let pins = lease.pins();
        pins.has(Pin::HoldCursor) && hints.contains(Hints::CLOSE)
            || pins.has(Pin::TempTable) && hints.contains(Hints::DROP)
    }

    /// Asks the catalog what the session left on its server.
    pub(super) async fn look(
        &mut self,
        relay: &mut Relay,
        hints: Hints,
        custom: &[String],
        reads: bool,
    ) -> Result<Pins, End> {
        self.entry.card().served_by_nobody();
        let Some(lease) = &mut self.held else { return Ok(Pins::default()) };
        lease.gate().clone().landed().await;
        if relay.is_unforgotten() {
            match lease.ask_surely("DISCARD SEQUENCES").await {
                Ok(answer) if answer.is_clean() => relay.say().raw(&answer.notifications),
                Ok(_) => return Err(self.lose(DialError::Protocol("DISCARD SEQUENCES failed"))),
                Err(error) => return Err(self.lose(error)),
            };
        }
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
        if hints.intersects(Hints::TYING) || before.has(Pin::Function) {
            pins = pins.with(Pin::Function);
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
            if let Err(error) = self.forget_others(relay).await {
                return Err(self.lose(error));
            }
        }
        Ok(pins)
    }

    /// A session that keeps its server, or is about to look, sees its own prepared statements
    /// there, nobody else's.
    ///
    /// # Errors
    /// When the server did not answer: it must be destroyed.
    pub(super) async fn forget_others(&mut self, relay: &mut Relay) -> Result<(), DialError> {
        let Some(lease) = &mut self.held else { return Ok(()) };
        let own = self.statements.ids();
        let others: Vec<_> = lease.statements.iter().filter(|id| !own.contains(id)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let closed = lease.close_statements(&others).await;
        for id in others {
            lease.statements.remove(id);
        }
        relay.say().raw(&closed?);
        Ok(())
    }

    /// Keeps the server for what is on it, or lets it go. `true` when it is let go.
    pub(super) fn repin(
        &mut self,
        relay: &mut Relay,
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
        if self.hears_pins && pins != before {
            self.tell_pins(relay, pins);
        }
        let Some(lease) = &mut self.held else { return Ok(true) };
        self.entry.card().served_by(lease.gate());
        // A lease that was for one transaction only ends here as such; `hold` goes on with it.
        Ok(!hold)
    }

    /// A client that asked for it hears why it is pinned, and how much of its tenant's share is.
    fn tell_pins(&self, relay: &mut Relay, pins: Pins) {
        let reasons: Vec<&str> = pins.iter().map(Pin::as_str).collect();
        let (used, most) = self.membership.room().pin_use();
        let role = self.entry.card().identity().role();
        let message = format!("session pinned to its server connection: {}", reasons.join(", "));
        let detail = format!(
            "Role {role}; {used} of at most {most} server connections of this tenant are pinned or \
             in session mode."
        );
        relay.say().notice(&message, &detail);
    }
}
