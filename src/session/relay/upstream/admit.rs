//! What is seen to before a text goes to a server that others were on.
//!
//! Two things there are another session's: what its sequences gave it, where the server was asked
//! to forget that and has not done so yet, and the statements it has prepared. A text that may tell
//! of these waits for the first, and has the second closed before it.

use super::execute::Renaming;
use super::fresh::UNCERTAIN;
use super::{Body, Desk, Stop, Upstream, read};
use crate::session::lexer::{Facts, Hints};
use crate::session::relay::exchange::{Own, Reply, Sent};
use crate::session::relay::statement_messages as own;
use crate::wire::{HEADER_BYTES, Header};

/// Whether a message may go.
pub(super) enum Admission {
    /// It may. What its text says, where that had to be looked at.
    Go(Option<Facts>),
    /// Not yet.
    Wait,
    /// Not to this server.
    Never,
}

/// How often the server is asked to forget in one lease. It takes microseconds: who has it refused
/// so often means to.
const REFUSALS_MAX: u32 = 1_000;

impl Upstream {
    /// A simple query in transaction mode.
    pub(super) fn query(&mut self, header: Header, desk: &mut Desk<'_>) -> Option<Stop> {
        let read = match self.admit_text(header, HEADER_BYTES, desk) {
            Admission::Go(read) => read,
            Admission::Wait => return Some(Stop::Starved),
            Admission::Never => return Some(Stop::Never),
        };
        match self.rename_in_query(header, read.as_ref(), desk) {
            Renaming::None => {}
            Renaming::Done => return None,
            Renaming::Awaits => return Some(Stop::Starved),
        }
        Self::sent_query(desk);
        if let Some(facts) = &read {
            self.note(facts);
        }
        self.begin_body(header.body, if read.is_some() { Body::Forward } else { Body::Lex });
        None
    }

    /// A function call in transaction mode.
    pub(super) fn function_call(&mut self, header: Header, desk: &mut Desk<'_>) -> Option<Stop> {
        // It names the function by its object id, first of all.
        let body = self.buffer.unparsed().get(HEADER_BYTES..).unwrap_or_default();
        if body.len() < header.body.min(4) {
            return Some(Stop::Starved);
        }
        let known =
            body.first_chunk().is_some_and(|id| LARGE_OBJECTS.contains(&u32::from_be_bytes(*id)));
        match self.admit(Hints::UNSURE, desk) {
            Admission::Go(_) => {}
            Admission::Wait => return Some(Stop::Starved),
            Admission::Never => return Some(Stop::Never),
        }
        let does = if known { Hints::CALL } else { Hints::CALL | UNREAD | Hints::TYING };
        (self.hints, self.runs) = (self.hints | does, true);
        self.plain_message(header, desk);
        None
    }

    /// Looks at the message at hand, whose text begins `from` bytes in. One that is not here as a
    /// whole is read as it passes, where nothing of another session's is on the server.
    pub(super) fn admit_text(
        &mut self,
        header: Header,
        from: usize,
        desk: &mut Desk<'_>,
    ) -> Admission {
        let clear = desk.server.is_clear() && desk.exchange.own().0 == Own::Settled;
        let manner = self.manner(desk);
        let Some(text) = self.buffer.unparsed().get(from..header.total()) else {
            if manner == Manner::Awaited {
                return self.wait();
            }
            // What is never here as a whole may say anything, and what is may be about a name of the
            // client's.
            let comes = header.total() <= self.buffer.capacity();
            let named = desk.client.len() > 0 || desk.exchange.is_naming();
            if comes && (named || !clear) {
                return Admission::Wait;
            }
            if manner == Manner::Unknown {
                self.hints |= UNREAD;
            }
            return if clear { Admission::Go(None) } else { self.admit(Hints::UNSURE, desk) };
        };
        let odd = manner != Manner::Known && is_odd(text);
        if odd && manner == Manner::Awaited {
            return self.wait();
        }
        let mut facts = read(&mut self.lexer, text);
        if odd {
            facts.hints |= UNREAD;
        }
        if clear {
            return Admission::Go(Some(facts));
        }
        let hints = self.meant(&facts);
        match self.admit(hints, desk) {
            Admission::Go(_) => Admission::Go(Some(facts)),
            other => other,
        }
    }

    /// Whether it is known what a text is read by that goes to the server now.
    pub(super) fn manner(&self, desk: &Desk<'_>) -> Manner {
        let told = desk.exchange.is_quiet() && !desk.exchange.is_unsynced();
        if told || !self.hints.intersects(CHANGING) {
            Manner::Known
        } else if desk.exchange.is_unsynced() || !desk.exchange.will_be_quiet(false) {
            Manner::Unknown
        } else {
            Manner::Awaited
        }
    }

    fn wait(&mut self) -> Admission {
        self.waits = true;
        Admission::Wait
    }

    /// What a text names and does at once.
    pub(super) fn meant(&self, facts: &Facts) -> Hints {
        let always = if facts.runs { self.always } else { Hints::NONE };
        facts.hints.without(facts.latent) | always
    }

    /// Sees to it that what names `hints` meets nothing of another session's.
    pub(super) fn admit(&mut self, hints: Hints, desk: &mut Desk<'_>) -> Admission {
        if desk.exchange.is_skipping() || desk.exchange.is_copying() {
            // It is not run.
            return Admission::Go(None);
        }
        if hints.intersects(Hints::OBSCURE | Hints::SEQ_READ) {
            match self.have_forgotten(hints, desk) {
                Admission::Go(_) => {}
                other => return other,
            }
        }
        if hints.intersects(Hints::OBSCURE | Hints::LISTS) && !desk.server.is_clear() {
            return self.close_others(desk);
        }
        Admission::Go(None)
    }

    /// The server has forgotten another session's sequences, or is asked again.
    fn have_forgotten(&mut self, hints: Hints, desk: &mut Desk<'_>) -> Admission {
        let (own, refusals) = desk.exchange.own();
        match own {
            Own::Settled => return Admission::Go(None),
            Own::Refused if refusals > REFUSALS_MAX => return Admission::Never,
            Own::Refused if desk.exchange.is_quiet() && desk.exchange.status() == b'E' => {
                // It reads nothing, unless it ends the transaction first.
                let never = hints.intersects(ENDS | Hints::UNSURE);
                return if never { Admission::Never } else { Admission::Go(None) };
            }
            // In the middle of a batch nothing can be asked: a query would end it.
            Own::Refused if desk.exchange.is_unsynced() => return Admission::Never,
            Own::Refused if desk.exchange.is_quiet() => {
                self.outbox.after(&mut self.buffer).query(FORGET);
                desk.exchange.sent(Sent::Query, Reply::Drop);
                desk.server.unnamed_is_gone();
            }
            Own::Refused | Own::Asked => {}
        }
        self.wait()
    }

    /// Closes what other clients have prepared on the server.
    fn close_others(&mut self, desk: &mut Desk<'_>) -> Admission {
        let own = desk.client.ids();
        let others: Vec<_> = desk.server.iter().filter(|id| !own.contains(id)).collect();
        if others.is_empty() && !desk.server.has_doomed() {
            return Admission::Go(None);
        }
        // Behind a query that may yet ask for data it would be taken for such. A batch without a
        // Sync has no answers to wait for, and fails as a whole.
        if !desk.exchange.is_quiet() && !desk.exchange.is_unsynced() {
            return self.wait();
        }
        for id in others {
            desk.server.forget_later(id);
        }
        own::close_doomed(self.outbox.after(&mut self.buffer), desk);
        Admission::Go(None)
    }
}

/// Whether it is known what texts are read by: `standard_conforming_strings` and the client's encoding.
/// The server says so with ReadyForQuery only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Known,
    /// It is when the server has answered, which it does.
    Awaited,
    /// It is not.
    Unknown,
}

/// Behind these, texts may be read by something else.
const CHANGING: Hints =
    UNCERTAIN.or(Hints::of(&[Hints::DYNAMIC, Hints::FOREIGN, Hints::DO, Hints::CALL]));

/// What a text may do that may have been misread.
pub(super) const UNREAD: Hints = Hints::of(&[Hints::UNSURE, Hints::COMPUTED, Hints::READ_BY]);

/// Whether a text says something else where it is read by something else.
pub(super) fn is_odd(text: &[u8]) -> bool {
    text.iter().take_while(|b| **b != 0).any(|b| *b == b'\\' || !b.is_ascii())
}

/// The functions of large objects, which drivers call by their object ids: `lo_open`, `lo_close`,
/// `loread`, `lowrite`, `lo_lseek`, `lo_creat`, `lo_tell`, `lo_unlink`, `lo_truncate`, `lo_create`,
/// `lo_import`, `lo_export`, those with 64 bits, `lo_get` and `lo_put`.
const LARGE_OBJECTS: [u32; 20] = [
    952, 953, 954, 955, 956, 957, 958, 964, 1004, 715, 764, 765, 767, 3170, 3171, 3172, 3457, 3458,
    3459, 3460,
];

/// What ends a transaction that has failed, or the failed part of it.
const ENDS: Hints = Hints::COMMIT.or(Hints::ROLLBACK).or(Hints::ROLLBACK_TO);

/// What makes a server forget sequences.
pub(in crate::session::relay) const FORGET: &str = "DISCARD SEQUENCES";
