//! What passes through a relay about sequences.

use super::Relay;
use super::exchange::{Reply, Sent};
use crate::session::lexer::Hints;
use crate::session::statements::ClientStatements;

/// What a session has done to what its server knows of sequences.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::session) struct SequenceUse {
    /// It may have advanced one.
    pub(in crate::session) advanced: bool,
    /// It had the server forget them, and has advanced none since.
    pub(in crate::session) forgot: bool,
    /// Something it asked for was refused.
    pub(in crate::session) failed: bool,
}

impl Relay {
    /// Has the server forget what another session left in its sequences, before anything of this
    /// one is read. In one write with that: nobody waits for the answer.
    pub(in crate::session) fn forget_sequences(&mut self) {
        self.up.outbox.after(&mut self.up.buffer).query("DISCARD SEQUENCES");
        self.exchange.sent(Sent::Query, Reply::Drop);
    }

    /// Whether the client's next message names `currval` or `lastval`.
    pub(in crate::session) fn reads_sequence(&self, statements: &ClientStatements) -> bool {
        self.up.reads_sequence(statements)
    }

    /// What was done to sequences since the last call.
    pub(in crate::session) fn take_sequences(&mut self) -> SequenceUse {
        let mut done = std::mem::take(&mut self.heard.sequences);
        done.advanced |= self.up.done().contains(Hints::SEQ_NEXT);
        done
    }
}
