//! Prepared statements that were read under something else than what holds now.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Desk, Upstream};
use crate::server::Prepared;
use crate::session::lexer::Hints;
use crate::session::statements::Use;

/// Behind these it is not known what a statement is read under.
pub(super) const UNCERTAIN: Hints =
    Hints::of(&[Hints::SET, Hints::READ_BY, Hints::TEMP, Hints::EXECUTE, Hints::UNSURE]);

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

    /// An outdated statement whose description the client goes by: it has to be compared first.
    pub(super) fn stale(&self, name: &[u8], desk: &Desk<'_>) -> Option<Arc<Prepared>> {
        let prepared = desk.client.named(name)?;
        self.outdated(prepared, desk)?;
        desk.client.was_told(name).then(|| Arc::clone(prepared))
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
