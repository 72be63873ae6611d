//! A BEGIN that takes no server before something is done in it: `session.deferred_begin`.
//!
//! pgusher answers it itself. The first statement's server is asked to begin before it hears that
//! statement, and is waited for: behind a BEGIN that fails it would run in no transaction.

use super::clock::Doing;
use super::live::{End, Live};
use super::relay::Relay;
use crate::server::DialError;
use crate::tenant::PoolMode;
use crate::wire::tag;

/// A transaction that the client is in and no server.
#[derive(Debug, Default)]
pub(super) enum Deferred {
    /// There is none.
    #[default]
    None,
    /// It was begun in these words.
    Begun(Box<str>),
    /// It could not be had: for the client it has failed, and it has yet to end it.
    Failed,
}

impl Deferred {
    /// Whether the client is in one.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The transaction status the client is told while it has no server.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::None => b'I',
            Self::Begun(_) => b'T',
            Self::Failed => b'E',
        }
    }

    /// What the session is at while it has no server.
    pub(super) fn doing(&self) -> Doing {
        if self.is_open() { Doing::IdleInTransaction } else { Doing::Idle }
    }

    /// The transaction cannot be had.
    pub(super) fn fail(&mut self) {
        if self.is_open() {
            *self = Self::Failed;
        }
    }
}

/// A text longer than this is read by PostgreSQL.
const TEXT_BYTES_MAX: usize = 256;

/// Has a server's transaction failed: nobody makes this savepoint.
const FAIL: &str = "ROLLBACK TO SAVEPOINT pgusher_nothing";

impl Live {
    /// Answers the client's next message if it begins a transaction, or ends one that no server has
    /// begun. `true` when it was answered.
    pub(super) fn defer(&mut self, relay: &mut Relay) -> bool {
        if !self.shared.parts.settings.deferred_begin || self.seat.mode != PoolMode::Transaction {
            return false;
        }
        let Some(text) = relay.next_query().filter(|text| text.len() <= TEXT_BYTES_MAX) else {
            return false;
        };
        let Some(bound) = Bound::of(text) else { return false };
        let told: &[u8] = match (bound, &self.deferred) {
            (Bound::Begin | Bound::Start, Deferred::None) => {
                self.deferred = Deferred::Begun(text.into());
                if bound == Bound::Begin { b"BEGIN\0" } else { b"START TRANSACTION\0" }
            }
            (Bound::Commit, Deferred::Begun(_)) => {
                self.deferred = Deferred::None;
                b"COMMIT\0"
            }
            (Bound::Commit, Deferred::Failed)
            | (Bound::Rollback, Deferred::Begun(_) | Deferred::Failed) => {
                self.deferred = Deferred::None;
                b"ROLLBACK\0"
            }
            _ => return false,
        };
        // A simple query destroys the unnamed statement (PostgreSQL documentation, 55.2.3).
        drop(self.statements.forget_unnamed());
        relay.skip_next();
        let status = self.deferred.status();
        let out = relay.say();
        out.message(tag::COMMAND_COMPLETE, |b| b.extend_from_slice(told)).ready_for_query(status);
        true
    }

    /// Begins on the leased server what the client has begun without one. Gives the transaction's
    /// status; `None` when it cannot be had, which the client has been told.
    pub(super) async fn begin_late(&mut self, relay: &mut Relay) -> Result<Option<u8>, End> {
        let (words, failed) = match std::mem::take(&mut self.deferred) {
            Deferred::None => return Ok(Some(b'I')),
            Deferred::Begun(words) => (words, false),
            Deferred::Failed => ("BEGIN".into(), true),
        };
        // In the transaction it would be a first query: its isolation level could not be set then.
        if self.takes_sequences_over(relay)
            && self.ask_first("DISCARD SEQUENCES", relay, b'I').await?.is_some()
        {
            return Err(self.lose(DialError::Protocol("DISCARD SEQUENCES failed")));
        }
        let refusal = self.ask_first(&words, relay, b'T').await?;
        if let Some(refusal) = refusal {
            self.deferred = Deferred::Failed;
            self.release(relay, false);
            relay.say().message(tag::ERROR_RESPONSE, |b| b.extend_from_slice(&refusal));
            let simple = relay.is_simple();
            self.skip_to_sync(relay, simple).await?;
            return Ok(None);
        }
        if failed {
            self.ask_first(FAIL, relay, b'E').await?;
        }
        Ok(Some(if failed { b'E' } else { b'T' }))
    }

    /// Asks the leased server and expects this status; otherwise gives the error's fields.
    async fn ask_first(
        &mut self,
        sql: &str,
        relay: &mut Relay,
        status: u8,
    ) -> Result<Option<Vec<u8>>, End> {
        let Some(lease) = &mut self.held else { return Ok(None) };
        let answer = match Box::pin(lease.ask(sql)).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.lose(error)),
        };
        lease.statements.unnamed_is_gone();
        relay.say().raw(&answer.notifications);
        match answer.status {
            b'I' if !answer.refusal.is_empty() => return Ok(Some(answer.refusal)),
            found if found == status => return Ok(None),
            _ => {}
        }
        Err(self.lose(DialError::Protocol("transaction status")))
    }
}

/// A statement that begins or ends a transaction and does nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Begin,
    Start,
    Commit,
    Rollback,
}

impl Bound {
    /// What a text is, where that is beyond doubt: no comments, nothing that PostgreSQL would refuse.
    fn of(text: &str) -> Option<Self> {
        let text = text.trim_end_matches([' ', '\t', '\n', '\r', '\x0c', ';']);
        let spaced = text.replace(',', " , ").to_ascii_uppercase();
        let words: Vec<&str> =
            spaced.split([' ', '\t', '\n', '\r', '\x0c']).filter(|w| !w.is_empty()).collect();
        let (first, mut rest) = words.split_first()?;
        let noise = matches!(rest.first(), Some(&("WORK" | "TRANSACTION")));
        let unnoised = if noise { &rest[1..] } else { rest };
        match *first {
            "BEGIN" => rest = unnoised,
            "START" => rest = rest.strip_prefix(&["TRANSACTION"])?,
            "COMMIT" | "END" => return unnoised.is_empty().then_some(Self::Commit),
            "ROLLBACK" | "ABORT" => return unnoised.is_empty().then_some(Self::Rollback),
            _ => return None,
        }
        are_modes(rest).then_some(if *first == "BEGIN" { Self::Begin } else { Self::Start })
    }
}

/// Whether these are transaction modes, with commas or without.
fn are_modes(mut rest: &[&str]) -> bool {
    const MODES: [&[&str]; 8] = [
        &["ISOLATION", "LEVEL", "SERIALIZABLE"],
        &["ISOLATION", "LEVEL", "REPEATABLE", "READ"],
        &["ISOLATION", "LEVEL", "READ", "COMMITTED"],
        &["ISOLATION", "LEVEL", "READ", "UNCOMMITTED"],
        &["READ", "WRITE"],
        &["READ", "ONLY"],
        &["DEFERRABLE"],
        &["NOT", "DEFERRABLE"],
    ];
    while !rest.is_empty() {
        let Some(after) = MODES.iter().find_map(|mode| rest.strip_prefix(*mode)) else {
            return false;
        };
        rest = match after {
            [","] => return false,
            [",", more @ ..] | more => more,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_or_ends_a_transaction_is_known_beyond_doubt() {
        let known = [
            ("begin", Bound::Begin),
            ("BEGIN;", Bound::Begin),
            (" Begin Work ; ;\n", Bound::Begin),
            ("begin transaction read only", Bound::Begin),
            ("begin isolation level repeatable read,read write , not deferrable", Bound::Begin),
            ("start transaction isolation level serializable deferrable", Bound::Start),
            ("commit", Bound::Commit),
            ("END transaction;", Bound::Commit),
            ("rollback work", Bound::Rollback),
            ("abort", Bound::Rollback),
        ];
        for (text, bound) in known {
            assert_eq!(Bound::of(text), Some(bound), "{text}");
        }
        let others = [
            "",
            ";",
            "begin garbage",
            "begin;begin",
            "; begin",
            "begin read",
            "begin read only,",
            "begin , read only",
            "begin work work",
            "start",
            "start work",
            "commit and chain",
            "commit prepared 'x'",
            "rollback to a",
            "begin -- ",
            "/**/begin",
            "begin atomic",
            "begin isolation level",
            "begin read only,, read write",
            "bégin",
            "commit; select 1",
        ];
        for text in others {
            assert_eq!(Bound::of(text), None, "{text}");
        }
    }
}
