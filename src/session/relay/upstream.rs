//! Client → server: understand the headers, rename prepared statements, forward the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::exchange::{Exchange, Reply, Sent};
use super::outbox::Outbox;
use super::statement_messages as own;
use crate::server::{Prepared, ServerStatements};
use crate::session::lexer::{Facts, Hints, Lexer};
use crate::session::statements::ClientStatements;
use crate::wire::{
    Buffer, HEADER_BYTES, Header, Malformed, bind_names, describe_target, parse_name, tag,
};

/// The client's half of a relay.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) buffer: Buffer,
    pub(super) outbox: Outbox,
    /// Bytes of the current message still to come, and what becomes of them.
    rest: usize,
    body: Body,
    lexer: Lexer,
    /// What the statements of this lease may have done to the session.
    pub(super) hints: Hints,
    /// Custom settings named by them.
    pub(super) settings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Forward,
    /// Forward, and read as SQL on the way.
    Lex,
    Drop,
}

/// What a relay's client side works with while it has a server.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) exchange: &'a mut Exchange,
    pub(super) client: &'a mut ClientStatements,
    pub(super) server: &'a mut ServerStatements,
    /// Rename prepared statements and watch session state: transaction mode.
    pub(super) shared: bool,
    /// What statements are read under now; `None` when that is not known for certain, because the
    /// transaction has changed settings or made temporary tables.
    pub(super) salt: Option<u64>,
    /// How many statements the server keeps.
    pub(super) server_statements_max: usize,
    /// How many named statements the client may have.
    pub(super) client_statements_max: usize,
}

/// Why parsing stopped.
#[derive(Debug, Clone)]
pub(super) enum Stop {
    /// More bytes are needed.
    Starved,
    /// The client said goodbye.
    Terminate,
    /// The client prepares more than it may.
    TooManyStatements,
    /// The client binds a statement that was read, and described, under another schema.
    Stale(Arc<Prepared>),
}

/// The longest Parse of a named statement: it is kept whole to be prepared again elsewhere.
const NAMED_PARSE_BYTES_MAX: usize = 1 << 20;

/// The longest unnamed statement remembered for a Bind in a later transaction.
const UNNAMED_BYTES_MAX: usize = 16 << 10;

impl Upstream {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            buffer: Buffer::with_capacity(capacity),
            outbox: Outbox::default(),
            rest: 0,
            body: Body::Forward,
            lexer: Lexer::default(),
            hints: Hints::default(),
            settings: Vec::new(),
        }
    }

    pub(super) fn reset(&mut self) {
        self.buffer.clear();
        self.outbox.clear();
        (self.rest, self.body) = (0, Body::Forward);
        self.lexer = Lexer::default();
        self.forget_hints();
    }

    /// Starts a new account of what the client's statements do.
    pub(super) fn forget_hints(&mut self) {
        self.hints = Hints::default();
        self.settings.clear();
    }

    /// Nothing waits to be sent to the server.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty() && self.buffer.forward().is_empty()
    }

    /// Whether the current message is only partly here.
    pub(super) fn is_inside_message(&self) -> bool {
        self.rest > 0
    }

    /// Whether a whole message is there, or as much of it as the buffer takes.
    pub(super) fn is_ready(&self) -> Result<bool, Malformed> {
        let bytes = self.buffer.unparsed();
        if self.is_inside_message() && !bytes.is_empty() {
            return Ok(true);
        }
        match Header::frontend(bytes) {
            None => Ok(false),
            Some(header) => Ok(bytes.len() >= header?.total().min(self.buffer.capacity())),
        }
    }

    /// The tag of the next message, when it is not inside one.
    pub(super) fn next_tag(&self) -> Option<u8> {
        if self.is_inside_message() { None } else { self.buffer.unparsed().first().copied() }
    }

    /// Understands as much as is there.
    pub(super) fn parse(&mut self, desk: &mut Desk<'_>) -> Result<Stop, Malformed> {
        loop {
            if self.rest > 0 && !self.consume(desk.shared) {
                return Ok(Stop::Starved);
            }
            if !desk.exchange.has_room() {
                return Ok(Stop::Starved);
            }
            let Some(header) = Header::frontend(self.buffer.unparsed()) else {
                return Ok(Stop::Starved);
            };
            let header = header?;
            let stop = match header.tag {
                tag::TERMINATE => Some(Stop::Terminate),
                tag::PARSE | tag::BIND | tag::DESCRIBE | tag::CLOSE if desk.shared => {
                    self.statement_message(header, desk)?
                }
                _ => {
                    self.plain_message(header, desk);
                    None
                }
            };
            if let Some(stop) = stop {
                return Ok(stop);
            }
        }
    }

    /// Drops messages up to the next Sync, for a client whose statement was refused; `true` when
    /// the Sync (or the simple query or function call that began it) has gone by.
    pub(super) fn skip_refused(&mut self, simple: bool) -> Result<bool, Malformed> {
        loop {
            if self.rest > 0 && !self.consume(false) {
                return Ok(false);
            }
            let Some(header) = Header::frontend(self.buffer.unparsed()) else { return Ok(false) };
            let header = header?;
            if header.tag == tag::TERMINATE {
                return Ok(true);
            }
            self.buffer.skip(HEADER_BYTES);
            (self.rest, self.body) = (header.body, Body::Drop);
            let last = match header.tag {
                tag::QUERY | tag::FUNCTION_CALL => simple,
                tag::SYNC => true,
                _ => false,
            };
            if last {
                // Its body, if any, is dropped as it comes.
                self.consume(false);
                return Ok(true);
            }
        }
    }

    /// Drops what a client may still send of a COPY that has failed: the server would ignore it
    /// too. `true` when something else comes next.
    pub(super) fn skip_late_copy(&mut self) -> Result<bool, Malformed> {
        loop {
            if self.rest > 0 && !self.consume(false) {
                return Ok(false);
            }
            match Header::frontend(self.buffer.unparsed()) {
                None => return Ok(false),
                Some(header) => match header? {
                    // A Flush without anything before it has nothing to flush.
                    Header {
                        tag: tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::FLUSH,
                        body,
                    } => {
                        self.buffer.skip(HEADER_BYTES);
                        (self.rest, self.body) = (body, Body::Drop);
                    }
                    _ => return Ok(true),
                },
            }
        }
    }

    /// Takes what is there of the current message's body; `true` when that was the end of it.
    fn consume(&mut self, shared: bool) -> bool {
        let n = self.rest.min(self.buffer.unparsed().len());
        match self.body {
            Body::Drop => self.buffer.skip(n),
            Body::Forward => self.buffer.pass(n),
            Body::Lex => {
                self.lexer.feed(&self.buffer.unparsed()[..n]);
                self.buffer.pass(n);
            }
        }
        self.rest -= n;
        if self.rest > 0 {
            return false;
        }
        if self.body == Body::Lex && shared {
            let facts = self.lexer.finish();
            self.note(facts);
        }
        self.body = Body::Forward;
        true
    }

    fn note(&mut self, facts: Facts) {
        self.hints |= facts.hints;
        for name in facts.settings {
            if !self.settings.contains(&name) {
                self.settings.push(name);
            }
        }
    }

    /// A message whose body is forwarded as it stands.
    fn plain_message(&mut self, header: Header, desk: &mut Desk<'_>) {
        let sent = match header.tag {
            tag::QUERY => Some(Sent::Query),
            tag::PARSE => Some(Sent::Parse(None)),
            tag::BIND => Some(Sent::Bind),
            tag::DESCRIBE => Some(Sent::Describe(None)),
            tag::EXECUTE => Some(Sent::Execute),
            tag::CLOSE => Some(Sent::Close),
            tag::SYNC => Some(Sent::Sync),
            tag::FUNCTION_CALL => Some(Sent::Function),
            tag::COPY_DONE | tag::COPY_FAIL => Some(Sent::CopyEnd),
            _ => None,
        };
        if let Some(sent) = sent {
            desk.exchange.sent(sent, Reply::Forward);
        }
        let lex = header.tag == tag::QUERY && desk.shared;
        if lex {
            // A simple query destroys the unnamed statement (PostgreSQL documentation, 55.2.3).
            desk.client.forget_unnamed();
            desk.server.unnamed_is_here();
        }
        self.begin_body(header.body, if lex { Body::Lex } else { Body::Forward });
    }

    fn begin_body(&mut self, rest: usize, body: Body) {
        self.buffer.pass(HEADER_BYTES);
        (self.rest, self.body) = (rest, body);
        self.consume_if_empty();
    }

    /// A message without a body ends with its header.
    fn consume_if_empty(&mut self) {
        if self.rest == 0 {
            self.body = Body::Forward;
        }
    }

    /// Parse, Bind, Describe or Close in transaction mode.
    fn statement_message(
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
                    self.parse_unnamed(header, whole, desk);
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
                    if let Some(stale) = self.stale(&name, desk) {
                        return Ok(Some(Stop::Stale(stale)));
                    }
                    self.bind(header, &portal, &name, desk);
                    Ok(None)
                }
                Err(_) => self.starve_unless(whole, header.total().min(NAMED_PARSE_BYTES_MAX)),
            },
            _ if !whole => Ok(Some(self.starve(header.total()))),
            tag::DESCRIBE => {
                let (kind, name) = describe_target(body)?;
                let name = name.to_vec();
                self.describe(header, kind, &name, desk);
                Ok(None)
            }
            _ => {
                let (kind, name) = describe_target(body)?;
                let name = name.to_vec();
                self.close(header, kind, &name, desk);
                Ok(None)
            }
        }
    }

    /// Waits for `wanted` bytes of the current message, in a larger buffer if need be.
    fn starve(&mut self, wanted: usize) -> Stop {
        if wanted > self.buffer.capacity() {
            self.buffer.resize(wanted);
        }
        Stop::Starved
    }

    fn starve_unless(&mut self, whole: bool, wanted: usize) -> Result<Option<Stop>, Malformed> {
        if whole || self.buffer.unparsed().len() >= wanted {
            return Err(Malformed::Body);
        }
        Ok(Some(self.starve(wanted)))
    }

    fn parse_unnamed(&mut self, header: Header, whole: bool, desk: &mut Desk<'_>) {
        if whole && header.body <= UNNAMED_BYTES_MAX {
            let body = &self.buffer.unparsed()[HEADER_BYTES + 1..header.total()];
            desk.client.remember_unnamed(body);
        } else {
            desk.client.forget_unnamed();
        }
        desk.server.unnamed_is_here();
        desk.exchange.sent(Sent::Parse(None), Reply::Forward);
        self.buffer.pass(HEADER_BYTES + 1);
        (self.rest, self.body) = (header.body - 1, Body::Lex);
        self.consume_if_empty();
    }

    fn parse_named(
        &mut self,
        header: Header,
        desk: &mut Desk<'_>,
    ) -> Result<Option<Stop>, Malformed> {
        let body = &self.buffer.unparsed()[HEADER_BYTES..header.total()];
        let named = parse_name(body)?;
        let salt = self.salt(desk);
        let (name, prepared) = (named.name.to_vec(), Prepared::new(named.rest, salt));
        self.lexer.feed(&prepared.body);
        let facts = self.lexer.finish();
        self.note(facts);
        let taken = desk.client.named(&name).is_some();
        if !taken && desk.client.len() >= desk.client_statements_max {
            return Ok(Some(Stop::TooManyStatements));
        }
        let out = self.outbox.after(&mut self.buffer);
        if taken {
            // The server itself must say that the name is taken: its name stands in for ours.
            let old = desk.client.named(&name).map(Arc::clone);
            if let Some(old) = old {
                own::ensure(&old, out, desk);
                own::parse(&old.id.server_name(), &prepared.body, out);
                desk.exchange.sent(Sent::Parse(None), Reply::Forward);
            }
        } else if desk.server.touch(prepared.id) {
            own::close_nothing(out);
            desk.exchange.sent(Sent::Close, Reply::AsParse);
            insert(&name, prepared, desk);
        } else {
            own::prepare(&prepared, Reply::Forward, out, desk);
            insert(&name, prepared, desk);
        }
        self.buffer.skip(header.total());
        Ok(None)
    }

    fn bind(&mut self, header: Header, portal: &[u8], name: &[u8], desk: &mut Desk<'_>) {
        let names = portal.len() + name.len() + 2;
        let prepared = self.refreshed(name, desk);
        if name.is_empty() {
            self.ensure_unnamed(desk);
        }
        if let Some(prepared) = prepared {
            let out = self.outbox.after(&mut self.buffer);
            own::ensure(&prepared, out, desk);
            own::bind_head(&prepared.id.server_name(), portal, header.body - names, out);
            self.buffer.skip(HEADER_BYTES + names);
        } else {
            self.buffer.pass(HEADER_BYTES + names);
        }
        desk.exchange.sent(Sent::Bind, Reply::Forward);
        (self.rest, self.body) = (header.body - names, Body::Forward);
    }

    /// What a statement prepared now is read under. Where that is not certain it is shared with
    /// nobody.
    fn salt(&self, desk: &Desk<'_>) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1 << 63);
        let certain = !self.hints.intersects(Hints::SET | Hints::TEMP | Hints::UNSURE);
        match desk.salt {
            Some(salt) if certain => salt,
            _ => NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The client's statement of that name if it was read under something else, before a migration
    /// say, and may be prepared anew: outside a transaction.
    fn outdated(&self, name: &[u8], desk: &Desk<'_>) -> Option<(Arc<Prepared>, u64)> {
        let prepared = desk.client.named(name)?;
        let certain = !self.hints.intersects(Hints::SET | Hints::TEMP | Hints::UNSURE);
        let salt = desk.salt.filter(|salt| certain && *salt != prepared.salt)?;
        desk.exchange.is_done().then(|| (Arc::clone(prepared), salt))
    }

    /// An outdated statement whose description the client goes by: it has to be compared first.
    fn stale(&self, name: &[u8], desk: &Desk<'_>) -> Option<Arc<Prepared>> {
        let (prepared, _) = self.outdated(name, desk)?;
        desk.client.was_told(name).then_some(prepared)
    }

    /// The client's statement of that name, prepared anew if it is outdated: nobody goes by what
    /// it was.
    fn refreshed(&self, name: &[u8], desk: &mut Desk<'_>) -> Option<Arc<Prepared>> {
        if let Some((prepared, salt)) = self.outdated(name, desk) {
            let fresh = Prepared::new(&prepared.body, salt);
            desk.client.insert(name, Arc::clone(&fresh));
            return Some(fresh);
        }
        desk.client.named(name).map(Arc::clone)
    }

    /// The unnamed statement on the server is whoever's used it last. Puts the client's own there,
    /// or none, where the client goes on with one it parsed in an earlier transaction.
    fn ensure_unnamed(&mut self, desk: &mut Desk<'_>) {
        if desk.server.has_unnamed() || desk.exchange.is_skipping() {
            return;
        }
        let out = self.outbox.after(&mut self.buffer);
        if let Some(body) = desk.client.unnamed() {
            own::parse(b"", body, out);
            desk.exchange.sent(Sent::Parse(None), Reply::Drop);
        } else {
            own::close_unnamed(out);
            desk.exchange.sent(Sent::Close, Reply::Drop);
        }
        desk.server.unnamed_is_here();
    }

    fn describe(&mut self, header: Header, kind: u8, name: &[u8], desk: &mut Desk<'_>) {
        let prepared = if kind == b'S' { self.refreshed(name, desk) } else { None };
        let described = prepared.as_ref().map(|prepared| prepared.id);
        if kind == b'S' && name.is_empty() {
            self.ensure_unnamed(desk);
        }
        if let Some(prepared) = prepared {
            let out = self.outbox.after(&mut self.buffer);
            own::ensure(&prepared, out, desk);
            own::describe(&prepared.id.server_name(), out);
            self.buffer.skip(header.total());
        } else {
            self.buffer.pass(header.total());
        }
        desk.exchange.sent(Sent::Describe(described), Reply::Forward);
    }

    /// Closing a renamed statement forgets the client's name; the server keeps it for others.
    fn close(&mut self, header: Header, kind: u8, name: &[u8], desk: &mut Desk<'_>) {
        if kind == b'S' && desk.client.named(name).is_some() {
            if !desk.exchange.is_skipping() {
                desk.client.remove(name);
            }
            own::close_nothing(self.outbox.after(&mut self.buffer));
            self.buffer.skip(header.total());
        } else {
            if kind == b'S' && name.is_empty() && !desk.exchange.is_skipping() {
                desk.client.forget_unnamed();
            }
            self.buffer.pass(header.total());
        }
        desk.exchange.sent(Sent::Close, Reply::Forward);
    }
}

/// While the server skips to a Sync it prepares nothing.
fn insert(name: &[u8], prepared: Arc<Prepared>, desk: &mut Desk<'_>) {
    if !desk.exchange.is_skipping() {
        desk.client.insert(name, prepared);
    }
}
