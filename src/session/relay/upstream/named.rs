//! Prepared statements of clients that share servers: renamed by content, prepared where they are
//! needed.

use std::sync::Arc;

use super::admit::{Manner, UNREAD, is_odd};
use super::execute::{Executing, Renaming, executing, look_up};
use super::fresh::Agreement;
use super::{Admission, Body, Desk, NAMED_PARSE_BYTES_MAX, Stop, Upstream, read};
use crate::server::{Prepared, Subject, moment};
use crate::session::lexer::Hints;
use crate::session::relay::exchange::{Reply, Retaken, Sent, Undo};
use crate::session::relay::statement_messages as own;
use crate::session::statements::{Asked, Read};
use crate::wire::{HEADER_BYTES, Header, Malformed, bind_names, describe_target, parse_name, tag};

/// Behind these there may be statements that were prepared by SQL.
const PREPARES: Hints = Hints::of(&[Hints::PREPARE, Hints::DO, Hints::CALL]);

impl Upstream {
    /// Parse, Bind, Describe or Close in transaction mode.
    pub(super) fn statement_message(
        &mut self,
        header: Header,
        desk: &mut Desk<'_>,
    ) -> Result<Option<Stop>, Malformed> {
        let available = self.buffer.unparsed().len().min(header.total());
        let body = &self.buffer.unparsed()[HEADER_BYTES..available];
        let whole = available == header.total();
        match header.tag {
            tag::PARSE => match parse_name(body) {
                Ok(named) if named.name.is_empty() => {
                    let read = match self.admit_text(header, HEADER_BYTES + 1, desk) {
                        Admission::Go(read) => read,
                        Admission::Wait => return Ok(Some(Stop::Starved)),
                        Admission::Never => return Ok(Some(Stop::Never)),
                    };
                    match self.parse_executing(header, read.as_ref(), desk) {
                        Renaming::None => self.parse_unnamed(header, whole, read.as_ref(), desk),
                        Renaming::Done => {}
                        Renaming::Awaits => return Ok(Some(Stop::Starved)),
                    }
                    Ok(None)
                }
                Ok(_) if whole => self.parse_named(header, desk),
                Ok(_) if header.body > NAMED_PARSE_BYTES_MAX => Ok(Some(Stop::TooManyStatements)),
                Ok(_) => Ok(Some(self.starve(header.total()))),
                Err(_) => self.starve_unless(whole, header.total().min(NAMED_PARSE_BYTES_MAX)),
            },
            tag::BIND => match bind_names(body) {
                Ok((portal, named)) => {
                    let (portal, name) = (portal.to_vec(), named.name.to_vec());
                    if self.awaits(&name, desk) {
                        return Ok(Some(Stop::Starved));
                    }
                    look_up(&name, desk);
                    if self.is_stale(&name, desk) {
                        // Asked about once the server has answered what pgusher put before it.
                        if desk.exchange.is_done() {
                            return Ok(Some(Stop::Stale(name.into())));
                        }
                        self.waits = true;
                        return Ok(Some(Stop::Starved));
                    }
                    let bound = self.bound(&name, desk);
                    match self.admit(bound, desk) {
                        Admission::Go(_) => {}
                        Admission::Wait => return Ok(Some(Stop::Starved)),
                        Admission::Never => return Ok(Some(Stop::Never)),
                    }
                    match self.agrees(&name, desk) {
                        Agreement::Agrees => self.bind(header, &portal, &name, desk),
                        Agreement::Differs => self.bind_changed(header, &portal, &name, desk),
                        Agreement::Awaited => return Ok(Some(Stop::Starved)),
                    }
                    Ok(None)
                }
                Err(_) => self.starve_unless(whole, header.total().min(NAMED_PARSE_BYTES_MAX)),
            },
            _ if !whole => Ok(Some(self.starve(header.total()))),
            tag::DESCRIBE => {
                let (kind, name) = describe_target(body)?;
                let name = name.to_vec();
                if kind == b'S' && self.awaits(&name, desk) {
                    return Ok(Some(Stop::Starved));
                }
                if kind == b'P' || !self.describe_gone(header, &name, desk) {
                    self.describe(header, kind, &name, desk);
                }
                Ok(None)
            }
            _ => {
                let (kind, name) = describe_target(body)?;
                let name = name.to_vec();
                if kind == b'S' && !name.is_empty() && self.awaits(&name, desk) {
                    return Ok(Some(Stop::Starved));
                }
                self.close(header, kind, &name, desk);
                Ok(None)
            }
        }
    }

    /// Waits for `wanted` bytes of the current message, in a larger buffer if need be.
    pub(super) fn starve(&mut self, wanted: usize) -> Stop {
        if wanted > self.buffer.capacity() {
            self.buffer.resize(wanted);
        }
        Stop::Starved
    }

    fn starve_unless(&mut self, whole: bool, wanted: usize) -> Result<Option<Stop>, Malformed> {
        if whole || self.buffer.unparsed().len() >= wanted {
            return Err(Malformed::Body);
        }
        // The names may just not have come yet: no need for more memory before what there is of it
        // is full.
        if !self.buffer.is_full() || self.buffer.unparsed().len() < self.buffer.capacity() {
            return Ok(Some(Stop::Starved));
        }
        Ok(Some(self.starve(wanted)))
    }

    fn parse_named(
        &mut self,
        header: Header,
        desk: &mut Desk<'_>,
    ) -> Result<Option<Stop>, Malformed> {
        let body = &self.buffer.unparsed()[HEADER_BYTES..header.total()];
        let named = parse_name(body)?;
        let (name, rest) = (named.name.to_vec(), named.rest.to_vec());
        if self.awaits(&name, desk) {
            return Ok(Some(Stop::Starved));
        }
        let manner = self.manner(desk);
        let odd = manner != Manner::Known && is_odd(&rest);
        if odd && manner == Manner::Awaited {
            self.waits = true;
            return Ok(Some(Stop::Starved));
        }
        let salt = self.salt(desk);
        let mut facts = read(&mut self.lexer, &rest);
        if self.awaits_target(&facts, desk) {
            return Ok(Some(Stop::Starved));
        }
        let (subject, body) = match executing(&facts, &rest, desk.client) {
            Some(Executing { subject, body }) => (Some(subject), body),
            None => (None, rest),
        };
        if odd {
            facts.hints |= UNREAD;
        }
        let prepared = Prepared::about(subject, &body, salt, facts.hints.bits());
        self.note(&facts);
        let read = Read::new(facts, self.reading);
        let taken = desk.client.named(&name).is_some();
        let (count_max, bytes_max) = desk.client_max;
        let bytes = desk.client.bytes().saturating_add(name.len()).saturating_add(prepared.bytes());
        if bytes > bytes_max || (!taken && desk.client.len() >= count_max) {
            return Ok(Some(Stop::TooManyStatements));
        }
        Self::make_room(bytes, desk);
        let out = self.outbox.after(&mut self.buffer);
        if taken {
            // The server itself must say that the name is taken: its name stands in for ours.
            let old = desk.client.named(&name).map(Arc::clone);
            if let Some(old) = old {
                own::ensure(&old, out, desk);
                own::parse(&old.id.server_name(), &prepared.body, out);
                // Should it take it all the same, behind a DEALLOCATE ALL, that is what is bound now
                // and the client's from then on. For others it is another's text.
                if !desk.exchange.is_skipping() {
                    desk.server.is_made_anew(old.id);
                }
                let name = name.as_slice().into();
                let undo = Undo::Retaken(Box::new(Retaken { name, old, prepared, freed: false }));
                desk.exchange.sent_undoable(Sent::Parse(None), Reply::Forward, undo);
            }
        } else if desk.exchange.is_harmless() && desk.server.touch(prepared.id) {
            own::close_nothing(out);
            if desk.exchange.is_risky() {
                let undo = Undo::Made(name.as_slice().into(), prepared.id);
                desk.exchange.sent_undoable(Sent::Close, Reply::AsParse, undo);
            } else {
                desk.exchange.sent(Sent::Close, Reply::AsParse);
            }
            insert(&name, prepared, read, desk);
        } else {
            // Asked for first, made then.
            let undo = Undo::Made(name.as_slice().into(), prepared.id);
            insert(&name, Arc::clone(&prepared), read, desk);
            own::prepare(&prepared, Some(undo), out, desk);
        }
        self.buffer.skip(header.total());
        Ok(None)
    }

    fn bind(&mut self, header: Header, portal: &[u8], name: &[u8], desk: &mut Desk<'_>) {
        let names = portal.len() + name.len() + 2;
        let used = desk.client.bind(name);
        let subject = match &used {
            Some(used) => used.prepared.subject.as_ref(),
            None => desk.client.unnamed_subject().filter(|_| name.is_empty()),
        };
        let closed = subject.and_then(Subject::closed).map(Box::from);
        if closed.is_some() || !self.closing.is_empty() {
            self.bind_closing(portal, closed);
        }
        if name.is_empty() {
            self.unnamed_was_read = true;
            self.ensure_unnamed(desk);
        }
        if let Some(used) = used {
            let free = used.first || used.told;
            let (prepared, kept) = self.fresh(name, used, desk);
            let out = self.outbox.after(&mut self.buffer);
            own::ensure(&prepared, out, desk);
            if let Some(at) = kept {
                desk.exchange.keep(at, free);
            }
            own::bind_head(&prepared.id.server_name(), portal, header.body - names, out);
            self.buffer.skip(HEADER_BYTES + names);
        } else {
            self.buffer.pass(HEADER_BYTES + names);
        }
        Self::sent_use(Sent::Bind, name, desk);
        (self.rest, self.body) = (header.body - names, Body::Forward);
    }

    /// A Bind of a statement that is not what the client was told: PostgreSQL is made to refuse it, so
    /// that it does with the transaction and what follows what it would.
    fn bind_changed(&mut self, header: Header, portal: &[u8], name: &[u8], desk: &mut Desk<'_>) {
        let names = portal.len() + name.len() + 2;
        let out = self.outbox.after(&mut self.buffer);
        own::close_nothing(out);
        desk.exchange.sent(Sent::Close, Reply::Drop);
        own::bind_head(own::NOTHING, portal, header.body - names, out);
        desk.exchange.sent_undoable(Sent::Bind, Reply::Forward, Undo::Changed);
        self.buffer.skip(HEADER_BYTES + names);
        (self.rest, self.body) = (header.body - names, Body::Forward);
    }

    /// A statement that was parsed in an earlier transaction does now what its text names: takes
    /// note of it, and says what that is.
    fn bound(&mut self, name: &[u8], desk: &mut Desk<'_>) -> Hints {
        if name.is_empty() {
            // One that was thrown away was read, and is not the one that is bound.
            if self.unnamed_was_read && desk.server.has_unnamed() {
                return Hints::NONE;
            }
            let Some(body) = desk.client.unnamed() else {
                // Too long to be remembered, or made by nobody we know.
                self.hints |= Hints::UNSURE;
                return Hints::UNSURE;
            };
            let facts = read(&mut self.lexer, body);
            self.note(&facts);
            if let Some(other) = desk.client.executed() {
                self.note_executed(other);
            }
            return self.meant(&facts);
        }
        let executed = desk.client.named(name).and_then(|prepared| prepared.executes());
        if let Some(other) = executed {
            self.note_executed(other);
        }
        if let Some(body) = desk.client.outdated_read(name, self.reading) {
            let facts = read(&mut self.lexer, &body.body);
            desk.client.was_read(name, Read::new(facts, self.reading));
        }
        if let Some(facts) = desk.client.read(name) {
            self.note(facts);
            return self.meant(facts);
        }
        let Some(hints) = desk.client.hints(name) else {
            // Made by PREPARE, if by anything: what its text names was seen to there.
            if desk.prepares || self.hints.intersects(Hints::OBSCURE | PREPARES) {
                (self.hints, self.runs) = (self.hints | Hints::EXECUTE, true);
            }
            return Hints::NONE;
        };
        self.runs = true;
        self.hints |= self.always | hints;
        self.always | hints
    }

    fn describe(&mut self, header: Header, kind: u8, name: &[u8], desk: &mut Desk<'_>) {
        let used = if kind == b'S' { desk.client.describe(name) } else { None };
        let mut described = None;
        if kind == b'S' && name.is_empty() {
            self.ensure_unnamed(desk);
        }
        if let Some(used) = used {
            let (prepared, kept) = self.fresh(name, used, desk);
            described = Some(prepared.id);
            let out = self.outbox.after(&mut self.buffer);
            own::ensure(&prepared, out, desk);
            if let Some(at) = kept {
                desk.exchange.keep(at, true);
            }
            own::describe(&prepared.id.server_name(), out);
            self.buffer.skip(header.total());
        } else {
            self.buffer.pass(header.total());
        }
        if let Some(id) = described {
            let asked = Undo::Asked(Asked { id, name: name.into(), at: moment() });
            desk.exchange.sent_undoable(Sent::Describe(described), Reply::Forward, asked);
        } else if kind == b'S' {
            Self::sent_use(Sent::Describe(None), name, desk);
        } else {
            desk.exchange.sent(Sent::Describe(None), Reply::Forward);
        }
    }

    /// Closing a renamed statement forgets the client's name; the server keeps it for others.
    fn close(&mut self, header: Header, kind: u8, name: &[u8], desk: &mut Desk<'_>) {
        if kind == b'S' && desk.client.named(name).is_some() {
            own::close_nothing(self.outbox.after(&mut self.buffer));
            self.buffer.skip(header.total());
            let closed = desk.client.named(name).map(Arc::clone);
            if let Some(closed) = closed.filter(|_| !desk.exchange.is_skipping()) {
                desk.client.remove(name);
                if desk.exchange.is_risky() {
                    let undo = Undo::Closed(name.into(), closed);
                    desk.exchange.sent_undoable(Sent::Close, Reply::Forward, undo);
                } else {
                    desk.exchange.sent(Sent::Close, Reply::Forward);
                }
            }
            return;
        }
        if kind == b'P' && !name.is_empty() {
            // A cursor WITH HOLD is a portal, too.
            self.hints |= Hints::CLOSE;
        }
        self.buffer.pass(header.total());
        if kind == b'S' && name.is_empty() && !desk.exchange.is_skipping() {
            let before = desk.client.forget_unnamed();
            Self::sent_unnamed(Sent::Close, before, desk);
        } else {
            desk.exchange.sent(Sent::Close, Reply::Forward);
        }
    }
}

/// While the server skips to a Sync it prepares nothing.
fn insert(name: &[u8], prepared: Arc<Prepared>, read: Read, desk: &mut Desk<'_>) {
    if !desk.exchange.is_skipping() {
        desk.client.insert(name, prepared, read);
    }
}
