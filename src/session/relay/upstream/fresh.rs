//! Prepared statements that were read under something else than what holds now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Desk, Upstream};
use crate::server::{Prepared, StatementId};
use crate::session::lexer::Hints;
use crate::session::relay::statement_messages as own;
use crate::session::statements::Use;

/// Behind these it is not known what a statement is read under.
pub(super) const UNCERTAIN: Hints =
    Hints::of(&[Hints::SET, Hints::READ_BY, Hints::TEMP, Hints::EXECUTE, Hints::UNSURE]);

/// Whether what a client was told of a statement is true on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    /// It is, or the client goes by nothing.
    Agrees,
    /// It is not.
    Differs,
    /// The server has been asked.
    Awaited,
}

impl Upstream {
    /// What a statement prepared now is read under. Where that is not certain it is shared with
    /// nobody.
    pub(super) fn salt(&self, desk: &Desk<'_>) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1 << 63);
        self.certain_salt(desk).unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// What statements are read under now, where that is certain.
    fn certain_salt(&self, desk: &Desk<'_>) -> Option<u64> {
        let certain = !self.hints.intersects(UNCERTAIN);
        desk.salt.filter(|_| certain)
    }

    /// What a statement of the client's that was read under something else, before a migration say,
    /// is to be read under, if it may be prepared anew: outside a transaction. What is about another
    /// is read under nothing: PostgreSQL reads it when it runs.
    fn outdated(&self, prepared: &Prepared, desk: &Desk<'_>) -> Option<u64> {
        if prepared.subject.is_some() {
            return None;
        }
        let salt = self.certain_salt(desk).filter(|salt| *salt != prepared.salt)?;
        desk.exchange.is_between().then_some(salt)
    }

    /// Whether it is an outdated statement whose description the client goes by: it has to be compared
    /// first.
    pub(super) fn is_stale(&self, name: &[u8], desk: &Desk<'_>) -> bool {
        let named = desk.client.named(name);
        let outdated = named.is_some_and(|prepared| self.outdated(prepared, desk).is_some());
        outdated && desk.client.was_told(name)
    }

    /// Whether what the client was told of its statement is true on this server, which may have read it
    /// before a change of the schema that the client was told of, or behind one it was not: then
    /// PostgreSQL has nothing to compare it with. Where it is not known to be true the statement is
    /// made anew, and its description asked for and waited for.
    pub(super) fn agrees(&mut self, name: &[u8], desk: &mut Desk<'_>) -> Agreement {
        let asked = self.question.take();
        let failed = desk.exchange.status() == b'E' && desk.exchange.is_quiet();
        // Nothing is read, or PostgreSQL says that the transaction has failed.
        if desk.exchange.is_skipping() || failed && !desk.exchange.is_unsynced() {
            return Agreement::Agrees;
        }
        let Some((prepared, told)) = desk.client.told_of(name) else { return Agreement::Agrees };
        let id = prepared.id;
        let awaited = desk.exchange.is_asked_for(id);
        match desk.server.described(id) {
            Some(here) if here == told => return Agreement::Agrees,
            // Its parameters' types may be what differs.
            Some(_) if asked == Some(id) && !awaited && !desk.client.retype(name) => {
                return Agreement::Differs;
            }
            None if asked == Some(id) && !awaited => return Agreement::Agrees,
            _ => {}
        }
        self.ask(name, asked, desk);
        Agreement::Awaited
    }

    /// Asks what the client's statement of that name is described as, unless that has been `asked`.
    fn ask(&mut self, name: &[u8], asked: Option<StatementId>, desk: &mut Desk<'_>) {
        let Some(prepared) = desk.client.named(name).map(Arc::clone) else { return };
        let awaited = desk.exchange.is_asked_for(prepared.id);
        let out = self.outbox.after(&mut self.buffer);
        if !awaited {
            desk.server.remove(prepared.id);
            own::ensure(&prepared, out, desk);
            own::ask_for(&prepared, out, desk);
        }
        if !awaited || asked != Some(prepared.id) {
            own::flush(out);
        }
        (self.question, self.waits) = (Some(prepared.id), true);
    }

    /// The statement to be used where the client uses its own, and the place of this message if it
    /// may be sent again.
    ///
    /// An outdated one is prepared anew: nobody goes by what it was. One that has become stale past
    /// pgusher PostgreSQL refuses. Where the message could not be sent again, in a transaction say,
    /// only what was prepared since the client asked for it is used: by then its text was read as it
    /// would be read directly. One that was described is left to PostgreSQL: nothing compares it.
    pub(super) fn fresh(
        &mut self,
        name: &[u8],
        used: Use,
        desk: &mut Desk<'_>,
    ) -> (Arc<Prepared>, Option<usize>) {
        let Use { prepared, told, asked, .. } = used;
        if desk.exchange.is_harmless() {
            let kept = self.certain_salt(desk).map(|_| self.keep(desk));
            let Some(salt) = self.outdated(&prepared, desk) else { return (prepared, kept) };
            let fresh = prepared.under(salt);
            desk.client.replace(name, &fresh);
            return (fresh, kept);
        }
        if !told && self.certain_salt(desk).is_some() {
            desk.server.forget_older(prepared.id, asked);
        }
        (prepared, None)
    }

    /// The place of the next message, which is kept there.
    fn keep(&mut self, desk: &mut Desk<'_>) -> usize {
        if !self.buffer.is_keeping() {
            // Their places are others' now.
            desk.exchange.forget_kept();
        }
        self.buffer.keep()
    }
}
