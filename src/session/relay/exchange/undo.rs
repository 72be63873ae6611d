//! What the client's books take back when an error makes the server throw messages away.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Behind, Exchange, Reply, Retaken, Sent, Undo};
use crate::server::StatementId;
use crate::session::statements::Unnamed;

/// Behind so many changes that are not answered the next is in doubt, whatever it is about.
const LOOKED_AT_MAX: usize = 256;

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
            match undo {
                // At the head of its group nothing throws it away, and who fails to make an unnamed
                // statement has none.
                Undo::Unnamed(_) | Undo::Placed => {
                    self.unnamed_at = if self.risky { self.numbers.0 } else { u64::MAX };
                }
                Undo::Made(..) | Undo::Closed(..) | Undo::Prepared(_) | Undo::Retaken(_) => {
                    self.named_until = self.numbers.0 + 1;
                }
                _ => {}
            }
            self.undo_bytes += undo.bytes();
            self.undo.push_back((self.numbers.0, undo));
        }
        self.sent(sent, reply);
    }

    /// Every name is free now, but what was sent since is made under these. What was to be closed
    /// before it is made again is gone anyway.
    pub(in crate::session::relay) fn names_are_freed(&mut self) -> HashSet<&[u8]> {
        let mut names = HashSet::new();
        for (_, undo) in &mut self.undo {
            match undo {
                Undo::Made(name, _) => drop(names.insert(&**name)),
                Undo::Retaken(retaken) => {
                    retaken.freed = true;
                    names.insert(&*retaken.name);
                }
                Undo::Closed(name, _) if !names.contains(&**name) => {
                    self.undo_bytes -= undo.bytes();
                    *undo = Undo::Nothing;
                }
                _ => {}
            }
        }
        names
    }

    /// What an error has thrown away since the last call, latest first.
    pub(in crate::session::relay) fn undone(&mut self) -> impl Iterator<Item = Undo> + '_ {
        self.undone.drain(..).rev()
    }

    pub(super) fn pop(&mut self) -> Option<(Sent, Reply)> {
        let popped = self.owed.pop_front()?;
        match self.take_undo() {
            Some(Undo::Retaken(retaken)) => self.retaken = Some(retaken),
            Some(Undo::Asked(asked)) => self.described = Some(asked),
            _ => {}
        }
        self.numbers.1 += 1;
        Some(popped)
    }

    /// The statement that the server has just taken in another's place. Whoever has closed that name
    /// since has closed this one.
    pub(in crate::session::relay) fn take_retaken(&mut self) -> Option<Box<Retaken>> {
        let retaken = self.retaken.take()?;
        for (_, undo) in &mut self.undo {
            if let Undo::Closed(name, closed) = undo
                && *name == retaken.name
                && Arc::ptr_eq(closed, &retaken.old)
            {
                self.undo_bytes = self.undo_bytes - closed.bytes() + retaken.prepared.bytes();
                *closed = Arc::clone(&retaken.prepared);
            }
        }
        Some(retaken)
    }

    /// As [`Self::pop`], for a message the server threw away.
    pub(super) fn throw_away(&mut self) {
        if let Some(undo) = self.take_undo() {
            self.undone.push(undo);
        }
        self.pop();
    }

    /// Whether what an unanswered group does to the unnamed statement may yet be thrown away, and a
    /// later one would not be.
    pub(in crate::session::relay) fn doubts_unnamed(&self) -> bool {
        self.doubts(self.unnamed_at)
    }

    /// The same of the client's statement of that name, which servers know by that id.
    pub(in crate::session::relay) fn doubts_named(
        &self,
        name: &[u8],
        id: impl FnOnce() -> Option<StatementId>,
    ) -> bool {
        if !self.is_naming() {
            return false;
        }
        let id = id();
        let mut earlier = self.undo.iter().take_while(|(number, _)| *number < self.group);
        let is_about = |(_, undo): &(u64, Undo)| match undo {
            Undo::Made(made, made_id) => **made == *name || id == Some(*made_id),
            Undo::Closed(closed, _) => **closed == *name,
            Undo::Retaken(retaken) => *retaken.name == *name,
            Undo::Prepared(prepared) => id == Some(*prepared),
            _ => false,
        };
        earlier.by_ref().take(LOOKED_AT_MAX).any(is_about) || earlier.next().is_some()
    }

    /// Whether a message that changes what a name means is not answered.
    pub(in crate::session::relay) fn is_naming(&self) -> bool {
        self.named_until > self.numbers.1
    }

    /// Whether a message that may fail was sent since the last Sync: what is sent now may be thrown
    /// away.
    pub(in crate::session::relay) fn is_risky(&self) -> bool {
        self.risky
    }

    /// Whether that message is not answered, and a Sync was sent behind it.
    fn doubts(&self, number: u64) -> bool {
        (self.numbers.1..self.group).contains(&number)
    }

    /// The message answered now fails. A Parse drops the old unnamed statement before it does
    /// (`exec_parse_message`).
    pub(super) fn fail_unnamed(&mut self) {
        let number = self.numbers.1;
        if let Some((at, Undo::Unnamed(before))) = self.undo.front_mut()
            && *at == number
        {
            self.undo_bytes -= before.as_ref().map_or(0, Unnamed::bytes);
            *before = Some(Unnamed::default());
        }
    }

    /// The message answered now fails.
    pub(super) fn fail_use(&mut self) {
        self.behind = match self.undo.front().filter(|(number, _)| *number == self.numbers.1) {
            Some((_, Undo::TooLong)) => Behind::TooLong,
            Some((_, Undo::Changed)) => Behind::Changed,
            _ => Behind::Nothing,
        };
    }

    /// What is behind the last error, should it say that there is no such statement.
    pub(in crate::session::relay) fn behind(&self) -> Behind {
        self.behind
    }

    /// The query answered now fails: one that was to close a statement has not.
    pub(super) fn fail_close(&mut self) {
        if let Some((_, Undo::Closed(..))) = self.undo.front()
            && let Some(undo) = self.take_undo()
        {
            self.undone.push(undo);
        }
    }

    /// What the unnamed statement was before what was thrown away, it was before the next that was
    /// not, if there is one: then that is the client's.
    pub(super) fn hand_on_unnamed(&mut self) {
        let mut next = self.undo.iter_mut().filter_map(|(_, undo)| match undo {
            Undo::Unnamed(before) => Some(before),
            _ => None,
        });
        let Some(next) = next.next() else { return };
        let mut before = None;
        self.undone.retain_mut(|undo| match undo {
            Undo::Unnamed(was) => {
                before = before.take().or(was.take());
                false
            }
            Undo::Placed => false,
            _ => true,
        });
        if before.is_some() {
            let bytes = |unnamed: &Option<Unnamed>| unnamed.as_ref().map_or(0, Unnamed::bytes);
            self.undo_bytes = self.undo_bytes - bytes(next) + bytes(&before);
            *next = before;
        }
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
