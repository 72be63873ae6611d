//! `EXECUTE`, also under EXPLAIN and CREATE TABLE AS, and `DEALLOCATE` of a statement that was
//! prepared by the protocol: servers know it by another name.
//!
//! What a client deallocates other clients may use. In its place a statement of no text is made and
//! deallocated, and the client's name is forgotten.

use std::sync::Arc;

use super::unnamed::drops_unnamed;
use super::{Desk, Stop, Upstream, read};
use crate::server::{Executes, Prepared, Subject};
use crate::session::lexer::{Facts, NAME_BYTES_MAX, TargetKind, Verb};
use crate::session::relay::exchange::{Reply, Sent, Undo};
use crate::session::relay::statement_messages as own;
use crate::session::statements::ClientStatements;
use crate::wire::{HEADER_BYTES, Header, Malformed, execute_portal, tag};

/// An EXECUTE or DEALLOCATE, rewritten.
pub(super) struct Executing {
    /// What it executes or closes.
    pub(super) subject: Subject,
    /// What stands for its text, and what followed that.
    pub(super) body: Vec<u8>,
}

/// A portal bound to what closes a statement.
#[derive(Debug)]
pub(super) struct Closing {
    portal: Box<[u8]>,
    /// The client's name of the statement.
    name: Box<[u8]>,
}

/// So many of them are known at once.
const CLOSING_MAX: usize = 64;

/// What PostgreSQL knows a portal by.
fn key(portal: &[u8]) -> &[u8] {
    &portal[..portal.len().min(NAME_BYTES_MAX)]
}

/// What became of a message that may be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renaming {
    /// It is none.
    None,
    /// It was rewritten and is done with.
    Done,
    /// The server has to answer something first.
    Awaits,
}

/// Whether a name may be one of the client's statements: what was closed may yet turn out not to be.
fn may_name(desk: &Desk<'_>) -> bool {
    desk.client.len() > 0 || desk.exchange.is_naming()
}

/// The statement of this name is used: an EXECUTE is about what its name means now.
pub(super) fn look_up(name: &[u8], desk: &mut Desk<'_>) {
    if !desk.exchange.is_skipping() && desk.client.look_up(name) {
        desk.server.unnamed_is_gone();
    }
}

/// The name of a prepared statement that a text executes or deallocates.
fn prepared_name(facts: &Facts) -> Option<&[u8]> {
    let about = matches!(facts.aim, Verb::Execute | Verb::Create | Verb::Deallocate);
    let target = facts.target.as_ref().filter(|target| about && target.kind == TargetKind::Name)?;
    Some(target.name.as_bytes())
}

impl Upstream {
    /// A simple query that may execute or close a statement prepared by the protocol, among others.
    pub(super) fn rename_in_query(
        &mut self,
        header: Header,
        read: Option<&Facts>,
        desk: &mut Desk<'_>,
    ) -> Renaming {
        let Some(facts) = read.filter(|facts| prepared_name(facts).is_some()) else {
            return Renaming::None;
        };
        let Some(message) = self.buffer.unparsed().get(HEADER_BYTES..header.total()) else {
            return Renaming::None;
        };
        if !may_name(desk) || desk.exchange.is_skipping() {
            return Renaming::None;
        }
        let message = message.to_vec();
        if self.awaits_target(facts, desk) {
            return Renaming::Awaits;
        }
        let Some(Executing { subject, body }) = executing(facts, &message, desk.client) else {
            return Renaming::None;
        };
        // In a transaction that has failed nothing is executed, and closed only behind what ends it.
        let failed = desk.exchange.is_quiet() && desk.exchange.status() == b'E';
        if failed && (facts.single || subject.executed().is_some()) {
            return Renaming::None;
        }
        // One more Sync would end what the server may be skipping.
        let skips = desk.exchange.may_skip() && desk.exchange.will_be_quiet(false);
        if skips && subject.executed().is_some_and(|other| !desk.server.touch(other.id)) {
            self.waits = true;
            return Renaming::Awaits;
        }
        let out = self.outbox.after(&mut self.buffer);
        match subject {
            Subject::Executes(Executes { other, .. }) => {
                // Who fails to prepare it skips to a Sync. One in the client's own batch would end
                // that: there is one behind it.
                let apart = !desk.exchange.has_batch();
                if other.as_ref().is_some_and(|other| own::ensure(other, out, desk)) && apart {
                    own::sync(out);
                    desk.exchange.sent(Sent::Sync, Reply::Drop);
                }
                out.message(tag::QUERY, |b| b.extend_from_slice(&body));
                Self::sent_query(desk);
                if let Some(other) = other {
                    self.note_executed(&other);
                }
            }
            Subject::Closes(name) => {
                let before = desk.client.forget_unnamed();
                own::make_nothing(out, desk, Some(Undo::Unnamed(before)));
                out.message(tag::QUERY, |b| b.extend_from_slice(&body));
                Self::sent_closing(Sent::Query, name, desk);
            }
        }
        self.note(facts);
        self.buffer.skip(header.total());
        Renaming::Done
    }

    /// Parse of an unnamed EXECUTE or DEALLOCATE of a statement prepared by the protocol.
    pub(super) fn parse_executing(
        &mut self,
        header: Header,
        read: Option<&Facts>,
        desk: &mut Desk<'_>,
    ) -> Renaming {
        let Some(facts) = read.filter(|facts| facts.single && prepared_name(facts).is_some())
        else {
            return Renaming::None;
        };
        let Some(body) = self.buffer.unparsed().get(HEADER_BYTES + 1..header.total()) else {
            return Renaming::None;
        };
        if !may_name(desk) {
            return Renaming::None;
        }
        let body = body.to_vec();
        if self.awaits_target(facts, desk) {
            return Renaming::Awaits;
        }
        let Some(Executing { subject, body }) = executing(facts, &body, desk.client) else {
            return Renaming::None;
        };
        if !desk.server.has_unnamed() && !desk.exchange.is_skipping() && !drops_unnamed(&body) {
            self.drop_unnamed(desk);
        }
        if let Some(other) = subject.executed() {
            self.note_executed(other);
            own::ensure(other, self.outbox.after(&mut self.buffer), desk);
        }
        own::parse(b"", &body, self.outbox.after(&mut self.buffer));
        if !desk.exchange.is_skipping() {
            let before = desk.client.remember_unnamed(&body, Some(subject));
            self.parsed_unnamed(before, desk);
        }
        self.note(facts);
        self.buffer.skip(header.total());
        Renaming::Done
    }

    /// What is executed does what its own text names, which may have been parsed in another lease.
    pub(super) fn note_executed(&mut self, other: &Prepared) {
        let facts = read(&mut self.lexer, &other.body);
        self.note(&facts);
    }

    /// Whether it is in doubt what a text executes or deallocates.
    pub(super) fn awaits_target(&mut self, facts: &Facts, desk: &Desk<'_>) -> bool {
        may_name(desk) && prepared_name(facts).is_some_and(|name| self.awaits(name, desk))
    }

    /// A portal is bound, to what closes the client's statement of that name if it closes one.
    pub(super) fn bind_closing(&mut self, portal: &[u8], closed: Option<Box<[u8]>>) {
        let portal = key(portal);
        self.closing.retain(|closing| *closing.portal != *portal);
        let Some(name) = closed else { return };
        if self.closing.len() == CLOSING_MAX {
            self.closing.remove(0);
        }
        self.closing.push(Closing { portal: portal.into(), name });
    }

    /// Execute of a portal that may be bound to what closes a statement. What is closed in that one's
    /// place is made first.
    pub(super) fn execute_closing(
        &mut self,
        header: Header,
        desk: &mut Desk<'_>,
    ) -> Result<Option<Stop>, Malformed> {
        let Some(body) = self.buffer.unparsed().get(HEADER_BYTES..header.total()) else {
            return Ok(Some(self.starve(header.total())));
        };
        let portal = key(execute_portal(body)?);
        let bound = self.closing.iter().position(|closing| *closing.portal == *portal);
        match bound.filter(|_| !desk.exchange.is_skipping()) {
            Some(at) => {
                let name = self.closing.remove(at).name;
                if desk.client.named(&name).is_some() {
                    own::make_nothing(self.outbox.after(&mut self.buffer), desk, None);
                }
                Self::sent_closing(Sent::Execute, name, desk);
            }
            None => desk.exchange.sent(Sent::Execute, Reply::Forward),
        }
        self.begin_body(header.body, super::Body::Forward);
        Ok(None)
    }

    /// Describe of an EXECUTE whose statement is gone is refused for that one. `false`: of any other.
    pub(super) fn describe_gone(
        &mut self,
        header: Header,
        name: &[u8],
        desk: &mut Desk<'_>,
    ) -> bool {
        look_up(name, desk);
        let Some(Subject::Executes(Executes { name: gone, other: None, .. })) =
            desk.client.subject(name)
        else {
            return false;
        };
        own::describe(gone.as_bytes(), self.outbox.after(&mut self.buffer));
        self.buffer.skip(header.total());
        desk.exchange.sent(Sent::Describe(None), Reply::Forward);
        true
    }

    /// Notes a message that closes the client's statement of that name, unless it fails.
    fn sent_closing(sent: Sent, name: Box<[u8]>, desk: &mut Desk<'_>) {
        if let Some(closed) = desk.client.named(&name).map(Arc::clone) {
            desk.client.remove(&name);
            desk.exchange.sent_undoable(sent, Reply::Forward, Undo::Closed(name, closed));
        } else {
            desk.exchange.sent_undoable(sent, Reply::Forward, Undo::Missed(name));
        }
    }
}

/// What stands for a text (and what follows it) that executes or deallocates a statement of the
/// client's.
pub(super) fn executing(
    facts: &Facts,
    body: &[u8],
    client: &ClientStatements,
) -> Option<Executing> {
    let target = facts.target.as_ref()?;
    let other = client.named(target.name.as_bytes())?;
    let at = target.start as usize..(target.start + target.len) as usize;
    if facts.aim == Verb::Deallocate {
        let subject = Subject::Closes(target.name.as_bytes().into());
        let body = [body.get(..at.start)?, own::NOTHING, body.get(at.end..)?].concat();
        return Some(Executing { subject, body });
    }
    prepared_name(facts)?;
    let executes = Executes { name: target.name.as_str().into(), at, other: None };
    let (executes, body) = executes.looked_up(body, Some(other))?;
    Some(Executing { subject: Subject::Executes(executes), body })
}
