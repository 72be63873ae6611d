//! Client → server: understand the headers, rename prepared statements, forward the rest.

mod admit;
mod execute;
mod fresh;
mod named;
mod note;
mod skip;
mod unnamed;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use admit::Admission;
pub(super) use admit::FORGET;
use execute::Closing;
use memchr::memchr2_iter;

use super::bulk::Bulk;
use super::exchange::{Exchange, Reply, Sent};
use super::outbox::Outbox;
use crate::server::{Params, ServerStatements, StatementId};
use crate::session::lexer::{Facts, Hints, Lexer, Recall};
use crate::session::schema::Reading;
use crate::session::statements::ClientStatements;
use crate::wire::{Buffer, HEADER_BYTES, Header, Malformed, bind_names, tag};

/// The client's half of a relay.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) buffer: Buffer,
    pub(super) outbox: Outbox,
    pub(super) bulk: Bulk,
    /// Bytes of the current message still to come, and what becomes of them.
    rest: usize,
    body: Body,
    lexer: Lexer,
    /// What the statements of this lease may have done to the session.
    pub(super) hints: Hints,
    /// What functions made by them would do.
    latent: Hints,
    /// Something may have called these.
    runs: bool,
    /// What any statement may do.
    always: Hints,
    /// Of the reading of the tenant's functions.
    reading: u64,
    /// The client's unnamed statement was parsed, and read, in this lease.
    unnamed_was_read: bool,
    /// Custom settings named by them.
    pub(super) settings: Vec<String>,
    /// An unnamed statement that did not come whole, as far as it has come.
    unnamed: Option<Vec<u8>>,
    /// A message waits for answers of the server's.
    waits: bool,
    /// The statement whose description the Bind that comes next waits for.
    question: Option<StatementId>,
    /// The portals bound to what closes a statement.
    closing: Vec<Closing>,
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
    /// The client has prepared statements by SQL.
    pub(super) prepares: bool,
    /// How many statements the server keeps.
    pub(super) server_statements_max: usize,
    /// How many named statements the client may have, and how many bytes of them.
    pub(super) client_max: (usize, usize),
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
    /// The server knows what the client must not see, and cannot be made to forget it.
    Never,
    /// The client binds its statement of this name, which was read, and described, under another
    /// schema.
    Stale(Box<[u8]>),
}

/// The longest Parse of a named statement: it is kept whole to be prepared again elsewhere.
const NAMED_PARSE_BYTES_MAX: usize = 1 << 20;

impl Upstream {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            buffer: Buffer::with_capacity(capacity),
            outbox: Outbox::default(),
            bulk: Bulk::default(),
            rest: 0,
            body: Body::Forward,
            lexer: Lexer::default(),
            hints: Hints::default(),
            latent: Hints::default(),
            runs: false,
            always: Hints::default(),
            reading: 0,
            unnamed_was_read: false,
            settings: Vec::new(),
            unnamed: None,
            waits: false,
            question: None,
            closing: Vec::new(),
        }
    }

    pub(super) fn reset(&mut self) {
        self.buffer.clear();
        self.outbox.reset();
        self.bulk = Bulk::default();
        (self.rest, self.body) = (0, Body::Forward);
        (self.unnamed, self.waits) = (None, false);
        self.lexer = Lexer::default();
        self.forget_hints();
    }

    /// Starts a new account of what the client's statements do.
    pub(super) fn forget_hints(&mut self) {
        self.hints = Hints::default();
        (self.latent, self.runs, self.unnamed_was_read) = (Hints::default(), false, false);
        self.settings.clear();
        self.closing = Vec::new();
        self.question = None;
    }

    /// Whether some statement may have called functions of the tenant's.
    pub(super) fn runs_code(&self) -> bool {
        self.runs
    }

    /// What was done. Functions that were only made have done nothing.
    pub(super) fn done(&self) -> Hints {
        if self.runs { self.hints | self.latent } else { self.hints }
    }

    /// From here on texts are read as the session's parameters have it.
    pub(super) fn read_under(&mut self, params: &Params) {
        self.lexer.standard_conforming_strings(params.standard_strings());
        self.lexer.shifting_encoding(params.shifting_encoding());
    }

    /// From here on names mean what is known of the tenant's functions.
    pub(super) fn read_with(&mut self, reading: &Reading) {
        let routines = reading.routines.as_deref();
        self.lexer.words(routines.map(|routines| Arc::clone(&routines.words)));
        self.always = routines.map_or(Hints::NONE, |routines| routines.always);
        self.reading = reading.number;
    }

    /// Nothing waits to be sent to the server.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_flushed() && self.buffer.forward().is_empty()
    }

    /// Whether the current message is only partly here.
    pub(super) fn is_inside_message(&self) -> bool {
        self.rest > 0
    }

    /// The next message's header. Passwords are read before there is a relay.
    fn header(&self) -> Option<Result<Header, Malformed>> {
        let header = Header::frontend(self.buffer.unparsed())?;
        let late = |header: &Header| header.tag == tag::PASSWORD;
        Some(if header.as_ref().is_ok_and(late) { Err(Malformed::Type) } else { header })
    }

    /// Whether more may be read: there is room behind what waits to be sent, or it is made by a
    /// message that has to be seen whole growing the buffer.
    pub(super) fn has_room(&self) -> bool {
        let waits = || !self.is_flushed() || self.buffer.unparsed().len() == self.buffer.capacity();
        !(self.outbox.is_long() || self.buffer.is_full() && waits())
    }

    /// Whether a whole message is there, or as much of it as the buffer takes.
    pub(super) fn is_ready(&self) -> Result<bool, Malformed> {
        let bytes = self.buffer.unparsed();
        if self.is_inside_message() && !bytes.is_empty() {
            return Ok(true);
        }
        match self.header() {
            None => Ok(false),
            Some(header) => Ok(bytes.len() >= header?.total().min(self.buffer.capacity())),
        }
    }

    /// Whether something that is answered by itself has come whole.
    pub(super) fn is_asked(&self) -> bool {
        let mut bytes = self.buffer.unparsed();
        while let Some(Ok(header)) = Header::frontend(bytes) {
            let Some(rest) = bytes.get(header.total()..) else { return false };
            if matches!(header.tag, tag::SYNC | tag::QUERY | tag::FUNCTION_CALL) {
                return true;
            }
            bytes = rest;
        }
        false
    }

    /// The tag of the next message, when it is not inside one.
    pub(super) fn next_tag(&self) -> Option<u8> {
        if self.is_inside_message() { None } else { self.buffer.unparsed().first().copied() }
    }

    /// Whether the next message names `currval` or `lastval`, in its text or in that of the
    /// statement it is about.
    pub(super) fn reads_sequence(&self, client: &ClientStatements) -> bool {
        let bytes = self.buffer.unparsed();
        let Some(Ok(header)) = Header::frontend(bytes) else { return false };
        let body = &bytes[HEADER_BYTES.min(bytes.len())..header.total().min(bytes.len())];
        match header.tag {
            tag::QUERY | tag::PARSE => names_read(body),
            tag::BIND => bind_names(body).is_ok_and(|(_, named)| match client.named(named.name) {
                Some(prepared) => Hints::from_bits(prepared.notes).contains(Hints::SEQ_READ),
                None => client.unnamed().is_some_and(names_read),
            }),
            _ => false,
        }
    }

    /// Whether a message is here that waits for answers of the server's.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Understands as much as is there.
    pub(super) fn parse(&mut self, desk: &mut Desk<'_>) -> Result<Stop, Malformed> {
        self.waits = false;
        loop {
            if self.rest > 0 && !self.consume(desk.shared) {
                return Ok(Stop::Starved);
            }
            if let Some(body) = self.unnamed.take() {
                Self::gathered(body, desk);
            }
            if !desk.exchange.has_room() || self.outbox.is_long() {
                return Ok(Stop::Starved);
            }
            let Some(header) = self.header() else { return Ok(Stop::Starved) };
            let header = header?;
            let stop = match header.tag {
                tag::TERMINATE => Some(Stop::Terminate),
                tag::QUERY if desk.shared => self.query(header, desk),
                tag::FUNCTION_CALL if desk.shared => self.function_call(header, desk),
                tag::PARSE if desk.exchange.undo_bytes() > desk.client_max.1 => {
                    Some(self.burdened(desk))
                }
                tag::PARSE | tag::BIND | tag::DESCRIBE | tag::CLOSE if desk.shared => {
                    self.statement_message(header, desk)?
                }
                tag::EXECUTE if !self.closing.is_empty() => self.execute_closing(header, desk)?,
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

    /// The client has closed as much as it may have, and an error would bring it back: that is first
    /// answered, where it will be without another word from the client.
    fn burdened(&mut self, desk: &Desk<'_>) -> Stop {
        self.waits = desk.exchange.will_be_quiet(false);
        if self.waits { Stop::Starved } else { Stop::TooManyStatements }
    }

    /// Takes what is there of the current message's body; `true` when that was the end of it.
    fn consume(&mut self, shared: bool) -> bool {
        let n = self.rest.min(self.buffer.unparsed().len());
        match self.body {
            Body::Drop => self.buffer.skip(n),
            Body::Forward => self.buffer.pass(n),
            Body::Lex => {
                let text = &self.buffer.unparsed()[..n];
                self.lexer.feed(text);
                if let Some(unnamed) = &mut self.unnamed {
                    unnamed.extend_from_slice(text);
                }
                self.buffer.pass(n);
            }
        }
        self.rest -= n;
        if self.rest > 0 {
            return false;
        }
        if self.body == Body::Lex && shared {
            let facts = self.lexer.finish();
            self.note(&facts);
        }
        self.body = Body::Forward;
        true
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
            tag::COPY_DATA => {
                desk.exchange.sent_copy_data();
                None
            }
            _ => None,
        };
        if let Some(sent) = sent {
            desk.exchange.sent(sent, Reply::Forward);
        }
        self.begin_body(header.body, Body::Forward);
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
}

thread_local! {
    static RECALL: RefCell<Recall> = RefCell::default();
}

/// What a text says that is here as a whole. Most have been read before.
fn read(lexer: &mut Lexer, text: &[u8]) -> Facts {
    RECALL.with_borrow_mut(|recall| recall.read(lexer, text))
}

/// A word too many costs nothing but what is known of sequences, and a quoted one is found, too.
fn names_read(text: &[u8]) -> bool {
    memchr2_iter(b'v', b'V', text).any(|at| {
        let is = |range: Range<usize>, word: &[u8]| {
            text.get(range).is_some_and(|there| there.eq_ignore_ascii_case(word))
        };
        let before = || at.checked_sub(4).map(|from| from..at);
        is(at + 1..at + 3, b"al")
            && before().is_some_and(|b| is(b.clone(), b"curr") || is(b, b"last"))
    })
}

#[cfg(test)]
mod tests;
