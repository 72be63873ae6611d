//! What may be sent a second time: PostgreSQL refuses a statement whose tables were changed past
//! pgusher, and nothing that the client has done since its last Sync had an effect by then.

use super::{Batch, Exchange, Reply, Sent};
use crate::wire::tag;

/// A message that is still in the client's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// Its number among those that are answered.
    number: u64,
    /// Its place in the buffer.
    at: usize,
    /// The client goes by no earlier description of what it asks for, or one that is compared.
    free: bool,
}

/// How many of one group are kept. Drivers prepare a few statements at once.
const KEPT_MAX: usize = 32;

impl Exchange {
    /// No transaction is open, and nothing of the client's is outstanding.
    pub(in crate::session::relay) fn is_between(&self) -> bool {
        let ours = |owed: &(Sent, Reply)| *owed == (Sent::Query, Reply::Drop);
        self.status == b'I'
            && !self.skipping
            && self.batch == Batch::None
            && self.owed.len() < 2
            && self.owed.iter().all(ours)
    }

    /// A transaction was begun before anything was sent.
    pub(in crate::session::relay) fn begun(&mut self, status: u8) {
        self.status = status;
    }

    /// Whether what comes next can be sent again if it is refused: no transaction is open, and since
    /// the last Sync, which is answered, the client has bound and executed nothing.
    pub(in crate::session::relay) fn is_harmless(&self) -> bool {
        let harmless = |owed: &(Sent, Reply)| match owed.0 {
            Sent::Parse(_) | Sent::Describe(_) | Sent::Close => true,
            Sent::Query => owed.1 == Reply::Drop,
            _ => false,
        };
        self.status == b'I'
            && self.batch < Batch::Acted
            && !self.skipping
            && !self.copying
            && self.doubtful == 0
            && self.owed.iter().all(harmless)
    }

    /// The next message sent is kept at this place.
    pub(in crate::session::relay) fn keep(&mut self, at: usize, free: bool) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(Kept { number: self.numbers.0, at, free });
        }
    }

    /// Nothing is kept any more.
    pub(in crate::session::relay) fn forget_kept(&mut self) {
        self.kept.clear();
    }

    /// The place of the message that the server answers now, if all from there on may be sent again:
    /// behind its Sync nothing has been sent, and the client is told what it returns.
    pub(in crate::session::relay) fn may_repeat(&self) -> Option<usize> {
        let kept = self.kept.iter().find(|kept| kept.number == self.numbers.1)?;
        let mut told = kept.free;
        for (at, (sent, reply)) in self.owed.iter().enumerate() {
            match sent {
                Sent::Describe(_) if *reply == Reply::Forward => told = true,
                Sent::Describe(_) | Sent::Parse(_) | Sent::Bind | Sent::Execute | Sent::Close => {}
                Sent::Sync if at + 1 == self.owed.len() => {}
                _ => return None,
            }
        }
        told.then_some(kept.at)
    }

    /// The server refuses the message it answers now, and throws away what follows. Nobody is told:
    /// it is sent again. `false` when a Sync has yet to be sent.
    pub(in crate::session::relay) fn refused(&mut self) -> bool {
        // Never in doubt: it answers no query of pgusher's own.
        let _ = self.received(tag::ERROR_RESPONSE, 0);
        match self.owed.front_mut() {
            Some((Sent::Sync, reply)) => {
                *reply = Reply::Drop;
                true
            }
            _ => false,
        }
    }
}
