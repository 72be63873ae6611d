//! What a session's sequences gave it is told to it, and to nobody else.
//!
//! `currval` and `lastval` tell what PostgreSQL keeps for a session in one server. A server that
//! comes from another session is made to forget that first: so a session may be told that nothing
//! is known of its own, never another's. That it is told the right thing all the same is what
//! following its last server, holding that for a moment, and pinning it are for.

use super::lexer::Hints;
use super::live::Live;
use super::relay::{Relay, SequenceUse};
use crate::pool::Pin;

/// What a session's servers are put aside for it by.
///
/// `currval` and `lastval` tell what the session itself was given, so an INSERT and the question
/// behind it have to meet the same server, and nobody else may come in between. Most sessions never
/// ask. So a server is put aside for a moment after the first statements of a session that may have
/// advanced a sequence, and after all of them once it has asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habit {
    asks: bool,
    unasked: u8,
}

/// After so many statements that were not followed by a question none is expected.
const UNASKED_MAX: u8 = 2;

impl Habit {
    /// The session named `currval` or `lastval`.
    pub(super) fn asked(&mut self) {
        self.asks = true;
    }

    /// The session may have advanced a sequence. Whether its server is put aside for it.
    pub(super) fn advanced(&mut self) -> bool {
        self.unasked = self.unasked.saturating_add(1);
        self.asks || self.unasked <= UNASKED_MAX
    }
}

impl Live {
    /// What another session's sequences gave it is nothing this one may be told, nor what they
    /// gave this one before another came.
    pub(super) fn forget_sequences(&mut self, relay: &mut Relay) {
        if self.takes_sequences_over(relay) {
            relay.forget_sequences();
        }
    }

    /// Whether the leased server has to forget its sequences, and does so.
    pub(super) fn takes_sequences_over(&mut self, relay: &Relay) -> bool {
        let Some(lease) = &mut self.held else { return false };
        let strange = !lease.is_return();
        // A function out of sight may have advanced them, too.
        let knows = strange && (lease.knows_sequences || relay.reads_sequence(&self.statements));
        if knows {
            lease.knows_sequences = false;
        }
        knows
    }

    /// Takes note of what was done to sequences.
    pub(super) fn note_sequences(&mut self, relay: &mut Relay) -> SequenceUse {
        let done = relay.take_sequences();
        if let Some(lease) = &mut self.held {
            lease.knows_sequences = done.perhaps || lease.knows_sequences && !done.forgot;
        }
        done
    }

    /// What ran was not known to leave sequences alone.
    pub(super) fn may_have_advanced(&mut self) {
        if let Some(lease) = &mut self.held {
            lease.knows_sequences = true;
        }
    }

    /// Whether the session asks for what its server knows of sequences, and will again. Who asks
    /// where nothing is known has nothing to stay for.
    pub(super) fn reads_on(&mut self, hints: Hints, done: SequenceUse) -> bool {
        let Some(lease) = &mut self.held else { return false };
        let pinned = lease.pins().has(Pin::Sequence);
        if !hints.contains(Hints::SEQ_READ) {
            return pinned && !done.forgot;
        }
        self.habit.asked();
        // It was answered: something out of sight has advanced one.
        let answered = !done.failed && !done.forgot;
        lease.knows_sequences |= answered;
        answered || done.advanced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_does_not_ask_is_not_waited_for() {
        let mut habit = Habit::default();
        assert_eq!([(); 4].map(|()| habit.advanced()), [true, true, false, false]);
        habit.asked();
        assert_eq!([(); 3].map(|()| habit.advanced()), [true; 3]);
    }
}
