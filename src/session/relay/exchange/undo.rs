//! What the client's books take back when an error makes the server throw messages away.

use super::{Exchange, Reply, Sent, Undo};

impl Exchange {
    /// Notes that `sent` goes to the server, and what the client's books have to take back if an
    /// error makes the server throw it away.
    pub(in crate::session::relay) fn sent_undoable(
        &mut self,
        sent: Sent,
        reply: Reply,
        undo: Undo,
    ) {
        if !self.skipping {
            self.undo_bytes += undo.bytes();
            self.undo.push_back((self.numbers.0, undo));
        }
        self.sent(sent, reply);
    }

    /// What an error has thrown away since the last call, latest first.
    pub(in crate::session::relay) fn undone(&mut self) -> impl Iterator<Item = Undo> + '_ {
        self.undone.drain(..).rev()
    }

    pub(super) fn pop(&mut self) -> Option<(Sent, Reply)> {
        let popped = self.owed.pop_front()?;
        drop(self.take_undo());
        self.numbers.1 += 1;
        Some(popped)
    }

    /// As [`Self::pop`], for a message the server threw away.
    pub(super) fn throw_away(&mut self) {
        if let Some(undo) = self.take_undo() {
            self.undone.push(undo);
        }
        self.pop();
    }

    /// What the message answered now would have taken back.
    fn take_undo(&mut self) -> Option<Undo> {
        self.undo.front().filter(|(number, _)| *number == self.numbers.1)?;
        let (_, undo) = self.undo.pop_front()?;
        self.undo_bytes -= undo.bytes();
        Some(undo)
    }

    /// How many bytes are held for that.
    pub(in crate::session::relay) fn undo_bytes(&self) -> usize {
        self.undo_bytes
    }
}
