//! What passes through a relay about sequences.

use super::Relay;
use super::exchange::{Own, Reply, Sent};
use super::upstream::FORGET;
use crate::session::lexer::Hints;
use crate::session::statements::ClientStatements;

/// What a session has done to what its server knows of sequences.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was done")]
pub(in crate::session) struct SequenceUse {
    /// It has advanced one, by what it says of itself.
    pub(in crate::session) advanced: bool,
    /// It may have, out of sight.
    pub(in crate::session) perhaps: bool,
    /// It had the server forget them, and has advanced none since.
    pub(in crate::session) forgot: bool,
    /// Something it asked for was refused.
    pub(in crate::session) failed: bool,
}

impl Relay {
    /// Has the server forget what another session left in its sequences, before anything of this
    /// one is read. In one write with that: nobody waits for the answer.
    pub(in crate::session) fn forget_sequences(&mut self) {
        self.up.outbox.after(&mut self.up.buffer).query(FORGET);
        self.exchange.sent(Sent::Query, Reply::Drop);
    }

    /// Whether the server refused to forget: it still knows, for all anybody knows.
    pub(in crate::session) fn is_unforgotten(&self) -> bool {
        self.exchange.own().0 == Own::Refused
    }

    /// Whether the client's next message names `currval` or `lastval`.
    pub(in crate::session) fn reads_sequence(&self, statements: &ClientStatements) -> bool {
        self.up.reads_sequence(statements)
    }

    /// What was done to sequences since the last call.
    pub(in crate::session) fn take_sequences(&mut self) -> SequenceUse {
        let mut done = std::mem::take(&mut self.heard.sequences);
        let hints = self.up.done();
        done.advanced |= hints.contains(Hints::SEQ_NEXT);
        done.perhaps |= done.advanced || hints.intersects(Hints::ADVANCES);
        done
    }
}
