//! Server → client: judge every header, forward what answers the client, drop what answers
//! pgusher.

use super::bulk::Bulk;
use super::exchange::{Doubt, Exchange, Undo, Verdict};
use super::outbox::Outbox;
use super::repeat::{Ahead, Repeat, is_stale};
use super::retold::retold;
use super::sequences::SequenceUse;
use super::statement_messages::NOTHING;
use crate::server::{Described, Params, Server};
use crate::session::lexer::Hints;
use crate::session::statements::{ClientStatements, Read};
use crate::wire::{
    Buffer, ErrorFields, HEADER_BYTES, Header, Malformed, SMALL_BYTES_MAX, Writer, tag,
};

/// The server's half of a relay.
#[derive(Debug)]
pub(super) struct Downstream {
    pub(super) buffer: Buffer,
    pub(super) outbox: Outbox,
    /// Bytes of the current message still to come.
    rest: usize,
    /// Whether they are dropped instead of forwarded.
    dropping: bool,
    /// The parameters of the statement that is being described.
    types: Option<Box<[u8]>>,
    pub(super) bulk: Bulk,
    /// How often something was sent again since the client was told that the server is ready.
    pub(super) repeats: u8,
}

/// What the server's messages tell about the session.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing heard, taken by itself")]
pub(super) struct Heard {
    /// What command tags say was done, in case its text did not.
    pub(super) hints: Hints,
    /// Transactions and autocommitted statements that ended.
    pub(super) ends: u32,
    /// How often the server was ready for a query.
    pub(super) turns: u32,
    /// A command changed the schema.
    pub(super) migrated: bool,
    /// What is to be sent again.
    pub(super) repeat: Option<Repeat>,
    /// Something was.
    pub(super) repeated: bool,
    /// What was done to sequences.
    pub(super) sequences: SequenceUse,
    /// A command changed functions, or what runs like them.
    pub(super) functions_changed: bool,
    /// A command changed the schema, so perhaps what calls functions.
    pub(super) callers_changed: bool,
    /// A parameter has changed: the client's texts may have to be read otherwise.
    pub(super) reread: bool,
    /// The server ends the session and said so.
    pub(super) fatal: bool,
}

/// The server is not believed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the server sent a malformed message")]
    Malformed,
    #[error(transparent)]
    Doubt(#[from] Doubt),
}

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What the client's side of the session takes from the server's messages.
#[derive(Debug)]
pub(super) struct Listener<'a> {
    pub(super) exchange: &'a mut Exchange,
    pub(super) server: &'a mut Server,
    pub(super) params: &'a mut Params,
    pub(super) client: &'a mut ClientStatements,
    pub(super) heard: &'a mut Heard,
    /// What the texts name that have been sent since the account began.
    pub(super) named: Hints,
    /// What the client sent last is still in its buffer.
    pub(super) keeps: bool,
    /// The server has been sent all that was understood, and whole messages only.
    pub(super) whole: bool,
}

impl Downstream {
    pub(super) fn new(capacity: usize) -> Self {
        let buffer = Buffer::with_capacity(capacity);
        let (outbox, bulk) = (Outbox::default(), Bulk::default());
        Self { buffer, outbox, rest: 0, dropping: false, types: None, bulk, repeats: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.buffer.clear();
        self.outbox.reset();
        self.bulk = Bulk::default();
        (self.rest, self.dropping, self.repeats) = (0, false, 0);
    }

    /// Nothing waits to be sent to the client.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_flushed() && self.buffer.forward().is_empty()
    }

    /// Whether more may be read: what waits for the client is bounded, moved to the outbox or not.
    pub(super) fn has_room(&self) -> bool {
        !self.outbox.is_long() && (!self.buffer.is_full() || self.is_flushed())
    }

    /// Whether part of a message has been forwarded and the rest is missing.
    pub(super) fn is_inside_body(&self) -> bool {
        self.rest > 0 && !self.dropping
    }

    /// Whether the server is in the middle of a message.
    pub(super) fn is_inside_message(&self) -> bool {
        self.rest > 0 || !self.buffer.unparsed().is_empty()
    }

    /// Understands as much as is there.
    pub(super) fn parse(&mut self, with: &mut Listener<'_>) -> Result<(), Broken> {
        loop {
            if self.rest > 0 && !self.consume() {
                return Ok(());
            }
            let Some(header) = Header::backend(self.buffer.unparsed()) else { return Ok(()) };
            let header = header?;
            // Rows are most of what passes: nothing in them concerns us.
            if matches!(header.tag, tag::DATA_ROW | tag::COPY_DATA) {
                self.buffer.pass(HEADER_BYTES);
                (self.rest, self.dropping) = (header.body, false);
                continue;
            }
            if with.keeps && matches!(header.tag, tag::ERROR_RESPONSE | tag::PARAMETER_DESCRIPTION)
            {
                match self.ahead(with) {
                    Ahead::Answer => {}
                    Ahead::Stale(bytes) if with.whole => {
                        self.take_refusal(bytes, with);
                        continue;
                    }
                    Ahead::Unknown | Ahead::Stale(_) => return Ok(()),
                }
            }
            let here = self.buffer.unparsed().len();
            let small = header.body <= SMALL_BYTES_MAX;
            let inspected =
                !matches!(header.tag, tag::NOTICE_RESPONSE | tag::FUNCTION_CALL_RESPONSE);
            if inspected && small && here < header.total() {
                if header.total() > self.buffer.capacity() {
                    self.buffer.resize(header.total());
                }
                return Ok(());
            }
            self.message(header, with)?;
        }
    }

    /// Takes what is there of the current body; `true` when that was the end of it.
    fn consume(&mut self) -> bool {
        let n = self.rest.min(self.buffer.unparsed().len());
        if self.dropping {
            let _ = self.outbox.after(&mut self.buffer);
            self.buffer.skip(n);
        } else {
            self.buffer.pass(n);
        }
        self.rest -= n;
        self.rest == 0
    }

    fn message(&mut self, header: Header, with: &mut Listener<'_>) -> Result<(), Broken> {
        let here = self.buffer.unparsed().len().min(header.total());
        let body = &self.buffer.unparsed()[HEADER_BYTES..here];
        let status = body.first().copied().unwrap_or(0);
        let verdict = with.exchange.received(header.tag, status)?;
        let whole = (body.len() == header.body).then_some(body);
        if let Some(asked) = with.exchange.take_described() {
            let types = self.types.take();
            let described = Described::new(types.as_deref(), header.tag, whole);
            with.server.statements.describe(asked.id, asked.at, described);
            with.client.told(&asked, described, types);
        }
        match header.tag {
            tag::PARAMETER_DESCRIPTION => self.types = whole.map(Box::from),
            tag::PARAMETER_STATUS => {
                with.server.report(body).map_err(|_| Broken::Malformed)?;
                *with.params = with.server.params.clone();
                // Whatever set it, a function out of sight perhaps, the next client must not find it.
                with.heard.hints |= Hints::SET;
                with.heard.reread = true;
            }
            tag::PARSE_COMPLETE => {
                if let Some(retaken) = with.exchange.take_retaken() {
                    with.server.statements.forget_later(retaken.old.id);
                    if with.client.has(&retaken.name, &retaken.old) {
                        with.client.insert(&retaken.name, retaken.prepared, Read::later());
                    }
                }
            }
            // What pgusher asked itself is no news.
            tag::COMMAND_COMPLETE if verdict != Verdict::Drop => done(body, with),
            tag::NOTIFICATION_RESPONSE => {
                with.server.name_sender(&mut self.buffer.unparsed_mut()[HEADER_BYTES..here]);
            }
            tag::ERROR_RESPONSE if verdict != Verdict::Drop => {
                let missed = take_back(with);
                with.heard.sequences.failed = true;
                let fields = ErrorFields::parse(body);
                with.heard.fatal |= fields.is_fatal();
                let echo =
                    with.exchange.is_echo() && matches!(fields.code, Some(b"26000" | b"25P02"));
                if !echo {
                    doubt_statements(&fields, with);
                }
                let whole = here == header.total();
                let renamed = retold(body, &fields, missed, with).filter(|_| whole);
                if echo || renamed.is_some() {
                    let out = self.outbox.after(&mut self.buffer);
                    if let Some(renamed) = renamed.filter(|_| !echo) {
                        out.message(tag::ERROR_RESPONSE, |b| b.extend_from_slice(&renamed));
                    }
                    self.buffer.skip(here);
                    (self.rest, self.dropping) = (header.total() - here, true);
                    return Ok(());
                }
            }
            tag::READY_FOR_QUERY if verdict == Verdict::Forward => {
                with.heard.ends += u32::from(status == b'I');
                with.heard.turns = with.heard.turns.wrapping_add(1);
                self.repeats = 0;
            }
            tag::FUNCTION_CALL_RESPONSE => with.heard.sequences.advanced = true,
            _ => {}
        }
        match verdict {
            Verdict::Forward => self.buffer.pass(here),
            Verdict::Drop => {
                let _ = self.outbox.after(&mut self.buffer);
                self.buffer.skip(here);
            }
            Verdict::AsParse => {
                let out: &mut Writer = self.outbox.after(&mut self.buffer);
                out.message(tag::PARSE_COMPLETE, |_| {});
                self.buffer.skip(here);
            }
        }
        (self.rest, self.dropping) = (header.total() - here, verdict != Verdict::Forward);
        Ok(())
    }
}

/// What was thrown away by an error was not done. Gives the name of what the first of it was to
/// close in vain.
pub(super) fn take_back(with: &mut Listener<'_>) -> Option<Box<[u8]>> {
    let mut missed = None;
    for id in with.exchange.unmade() {
        // One of before may be there: the Close in front of it may be thrown away, too.
        with.server.statements.forget_later(id);
    }
    for undo in with.exchange.undone() {
        match undo {
            Undo::Made(name, _) => with.client.remove(&name),
            Undo::Forgotten(id) => with.server.statements.was_not_closed(id),
            Undo::Closed(name, prepared) => with.client.insert(&name, prepared, Read::later()),
            Undo::Unnamed(before) => {
                with.server.statements.unnamed_is_gone();
                if let Some(unnamed) = before {
                    with.client.restore_unnamed(unnamed);
                }
            }
            Undo::Prepared(id) => with.server.statements.forget_later(id),
            Undo::Retaken(retaken) => {
                with.server.statements.forget_later(retaken.old.id);
                if retaken.freed && with.client.has(&retaken.name, &retaken.old) {
                    with.client.remove(&retaken.name);
                }
            }
            Undo::Placed => with.server.statements.unnamed_is_gone(),
            Undo::Missed(name) => missed = Some(name),
            Undo::TooLong | Undo::Changed | Undo::Asked(_) | Undo::Nothing => {}
        }
    }
    missed
}

/// An error about a statement that we believed to be there, or to be fresh: the book is not to be
/// believed any more. Every statement is closed and prepared anew when it is next used.
fn doubt_statements(fields: &ErrorFields<'_>, with: &mut Listener<'_>) {
    let names = |m: &[u8], name: &[u8]| m.windows(name.len()).any(|w| w == name);
    // What stands for a statement that is closed stays for nobody.
    let ours = fields.message.is_some_and(|m| names(m, b"pgusher_") && !names(m, NOTHING));
    let stale = is_stale(fields);
    if stale || (ours && fields.code == Some(b"26000")) {
        with.server.statements.doubt();
        with.heard.migrated |= stale;
    }
}

/// The first words of the tags of commands that advance no sequence by themselves.
const STILL: [&[u8]; 13] = [
    b"SELECT",
    b"BEGIN",
    b"START",
    b"COMMIT",
    b"ROLLBACK",
    b"SAVEPOINT",
    b"RELEASE",
    b"SHOW",
    b"CLOSE",
    b"DEALLOCATE",
    b"LOCK",
    b"NOTIFY",
    b"DISCARD",
];

/// Command tags tell what a statement did even where its text was out of sight: inside an EXECUTE,
/// or prepared long ago.
fn done(body: &[u8], with: &mut Listener<'_>) {
    let tag = body.strip_suffix(&[0]).unwrap_or(body);
    if matches!(tag, b"DISCARD ALL" | b"DISCARD SEQUENCES") {
        (with.heard.sequences.forgot, with.heard.sequences.advanced) = (true, false);
    }
    let hints = match tag {
        b"SET" | b"RESET" => Hints::SET,
        b"PREPARE" => Hints::PREPARE,
        b"LISTEN" => Hints::LISTEN,
        b"UNLISTEN" => Hints::UNLISTEN,
        b"LOAD" => Hints::LOAD,
        b"DECLARE CURSOR" => Hints::CURSOR,
        b"DISCARD ALL" | b"DEALLOCATE ALL" => {
            // What was sent behind it in the same group is made all the same.
            let made = with.exchange.preparing().collect();
            with.server.statements.clear_but(&made);
            with.client.clear_but(&with.exchange.names_are_freed());
            Hints::DISCARD
        }
        _ => {
            let mut words = tag.split(|b| *b == b' ');
            let (first, second) = (words.next().unwrap_or_default(), words.next());
            let migrates = matches!(first, b"CREATE" | b"ALTER" | b"DROP");
            with.heard.migrated |= migrates && !makes_temp(tag, with.named);
            with.heard.callers_changed |= migrates;
            with.heard.functions_changed |=
                matches!(first, b"CREATE" | b"ALTER") && second.is_some_and(is_code);
            // A cursor that is closed, something temporary that is dropped.
            with.heard.hints |= match first {
                b"CLOSE" => Hints::CLOSE,
                b"DROP" => Hints::DROP,
                _ => Hints::NONE,
            };
            // Inserts do by default values, and almost anything does by triggers; a SELECT that
            // does says so in its text, as far as can be seen.
            with.heard.sequences.advanced |= !STILL.contains(&first);
            return;
        }
    };
    with.heard.hints |= hints;
}

/// Whether it is the tag of something temporary: nobody else's statements are about that. It is any
/// table's tag; the texts have to be known, and to make nothing else.
fn makes_temp(tag: &[u8], named: Hints) -> bool {
    const OTHERS: Hints = Hints::of(&[Hints::DDL, Hints::EXECUTE, Hints::UNSURE]);
    matches!(tag, b"CREATE TABLE" | b"CREATE VIEW" | b"CREATE SEQUENCE")
        && named.contains(Hints::TEMP)
        && !named.intersects(OTHERS)
}

/// What may run out of a statement's sight. A view may call what touches session state by itself,
/// and a schema may be made with functions and views in it.
fn is_code(kind: &[u8]) -> bool {
    const CODE: [&[u8]; 10] = [
        b"FUNCTION",
        b"PROCEDURE",
        b"ROUTINE",
        b"EXTENSION",
        b"AGGREGATE",
        b"VIEW",
        b"MATERIALIZED",
        b"RULE",
        b"POLICY",
        b"SCHEMA",
    ];
    CODE.contains(&kind)
}
