//! What PostgreSQL refuses because its tables were changed past pgusher is sent again, prepared
//! anew. The client hears nothing of it.
//!
//! The client's messages are still in its buffer: they are understood once more, from the one that
//! was refused on, as if they came now. So this lease ends, and they begin the next.

use super::Relay;
use super::downstream::{Downstream, Listener, take_back};
use super::exchange::{Reply, Sent};
use super::statement_messages as own;
use crate::wire::{ErrorFields, HEADER_BYTES, Header, SMALL_BYTES_MAX, tag};

/// How often something is sent again before the client is told. Each time the schema has changed.
const REPEATS_MAX: u8 = 8;

/// What the server says next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Something for the client.
    Answer,
    /// That is not yet known.
    Unknown,
    /// It refuses a statement as stale, in so many bytes, and the client need not know.
    Stale(usize),
}

/// Where a client's messages are to be understood once more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat {
    at: usize,
    /// Their Sync is on its way to the server.
    synced: bool,
}

/// Whether PostgreSQL says that what a prepared statement returns is no longer what it was.
pub(super) fn is_stale(fields: &ErrorFields<'_>) -> bool {
    fields.code == Some(b"0A000") && fields.routine == Some(b"RevalidateCachedQuery")
}

impl Downstream {
    /// What the server says next, which begins with an error or the parameters of a statement:
    /// PostgreSQL tells them before it looks at the tables.
    pub(super) fn ahead(&mut self, with: &Listener<'_>) -> Ahead {
        if self.repeats >= REPEATS_MAX || with.exchange.may_repeat().is_none() {
            return Ahead::Answer;
        }
        let mut at = 0;
        loop {
            let bytes = &self.buffer.unparsed()[at..];
            let wanted = match Header::backend(bytes) {
                None => HEADER_BYTES,
                Some(Err(_)) => return Ahead::Answer,
                Some(Ok(header)) if header.body > SMALL_BYTES_MAX => return Ahead::Answer,
                Some(Ok(header)) => match bytes.get(HEADER_BYTES..header.total()) {
                    None => header.total(),
                    Some(_) if header.tag == tag::PARAMETER_DESCRIPTION && at == 0 => {
                        at = header.total();
                        continue;
                    }
                    Some(body) if header.tag == tag::ERROR_RESPONSE => {
                        let stale = is_stale(&ErrorFields::parse(body));
                        let end = at + header.total();
                        return if stale { Ahead::Stale(end) } else { Ahead::Answer };
                    }
                    Some(_) => return Ahead::Answer,
                },
            };
            if at + wanted > self.buffer.capacity() {
                self.buffer.resize(at + wanted);
            }
            return Ahead::Unknown;
        }
    }

    /// Drops that refusal and what it has thrown away.
    pub(super) fn take_refusal(&mut self, bytes: usize, with: &mut Listener<'_>) {
        let Some(at) = with.exchange.may_repeat() else { return };
        let _ = self.outbox.after(&mut self.buffer);
        self.buffer.skip(bytes);
        let synced = with.exchange.refused();
        take_back(with);
        with.server.statements.doubt();
        (with.heard.migrated, with.heard.repeat) = (true, Some(Repeat { at, synced }));
        self.repeats += 1;
    }
}

impl Relay {
    /// Puts back what is to be sent again. When the server has come to its Sync the lease is over.
    /// `true` when there is something.
    pub(super) fn put_back(&mut self) -> bool {
        let Some(Repeat { at, synced }) = self.heard.repeat.take() else { return false };
        let there = self.up.buffer.put_back(at);
        debug_assert!(there, "invariant: it was looked whether it is there");
        if !synced {
            own::sync(self.up.outbox.after(&mut self.up.buffer));
            self.exchange.sent(Sent::Sync, Reply::Drop);
        }
        (self.repeating, self.heard.repeated) = (true, true);
        true
    }
}
