//! The unnamed statement: the one on the server is whoever's used it last.

use memchr::memchr;

use super::{Body, Desk, NAMED_PARSE_BYTES_MAX, Upstream};
use crate::session::lexer::{Facts, Hints};
use crate::session::relay::exchange::{Reply, Sent, Undo};
use crate::session::relay::statement_messages as own;
use crate::session::statements::Unnamed;
use crate::wire::{HEADER_BYTES, Header};

impl Upstream {
    /// Parse of an unnamed statement, of which the rest may come later.
    pub(super) fn parse_unnamed(
        &mut self,
        header: Header,
        whole: bool,
        read: Option<&Facts>,
        desk: &mut Desk<'_>,
    ) {
        // While the server skips to a Sync it parses nothing.
        if !desk.exchange.is_skipping() {
            let body = self.buffer.unparsed().get(HEADER_BYTES + 1..header.total());
            if !desk.server.has_unnamed() && !body.is_some_and(drops_unnamed) {
                self.drop_unnamed(desk);
            }
            let before = if whole {
                let body = &self.buffer.unparsed()[HEADER_BYTES + 1..header.total()];
                desk.client.remember_unnamed(body, None)
            } else {
                let before = desk.client.forget_unnamed().unwrap_or_default();
                let room = desk.client_max.1.saturating_sub(desk.client.bytes());
                if header.body <= room {
                    // Gathered as it passes. Memory is taken as it is written to.
                    self.unnamed = Some(Vec::with_capacity(header.body - 1));
                } else {
                    desk.client.restore_unnamed(Unnamed::too_long());
                }
                Some(before)
            };
            self.parsed_unnamed(before, desk);
        }
        self.buffer.pass(HEADER_BYTES + 1);
        if let Some(facts) = read {
            self.note(facts);
        }
        let body = if read.is_some() { Body::Forward } else { Body::Lex };
        (self.rest, self.body) = (header.body - 1, body);
        self.consume_if_empty();
    }

    /// An unnamed statement that did not come whole has passed.
    pub(super) fn gathered(body: Vec<u8>, desk: &mut Desk<'_>) {
        // Unless it was thrown away meanwhile.
        if desk.server.has_unnamed() {
            desk.client.restore_unnamed(Unnamed::new(body, None));
        }
    }

    /// Named statements are to take so many bytes. A long unnamed one makes room for them.
    pub(super) fn make_room(named: usize, desk: &mut Desk<'_>) {
        let unnamed = desk.client.unnamed().map_or(0, <[u8]>::len);
        let over = named.saturating_add(unnamed) > desk.client_max.1;
        if over && unnamed > NAMED_PARSE_BYTES_MAX && !desk.exchange.is_skipping() {
            desk.client.restore_unnamed(Unnamed::too_long());
        }
    }

    /// A Bind or Describe of the client's statement of that name goes to the server.
    pub(super) fn sent_use(sent: Sent, name: &[u8], desk: &mut Desk<'_>) {
        if name.is_empty() && desk.client.unnamed_is_too_long() {
            desk.exchange.sent_undoable(sent, Reply::Forward, Undo::TooLong);
        } else {
            desk.exchange.sent(sent, Reply::Forward);
        }
    }

    /// The client's unnamed statement is another now.
    pub(super) fn parsed_unnamed(&mut self, before: Option<Unnamed>, desk: &mut Desk<'_>) {
        desk.server.unnamed_is_here();
        self.unnamed_was_read = true;
        Self::sent_unnamed(Sent::Parse(None), before, desk);
    }

    /// Leaves no unnamed statement of another client's on the server, should the Parse of the next be
    /// refused before it does that.
    pub(super) fn drop_unnamed(&mut self, desk: &mut Desk<'_>) {
        own::close_unnamed(self.outbox.after(&mut self.buffer));
        desk.exchange.sent(Sent::Close, Reply::Drop);
    }

    /// A simple query goes to the server. It destroys the unnamed statement (PostgreSQL
    /// documentation, 55.2.3), unless the server skips to a Sync, or cannot read it: then one of
    /// another client's is still there.
    pub(super) fn sent_query(desk: &mut Desk<'_>) {
        if desk.exchange.is_skipping() {
            return;
        }
        let before = desk.client.forget_unnamed();
        if desk.exchange.is_quiet() {
            // Nothing can throw it away.
            desk.exchange.sent(Sent::Query, Reply::Forward);
        } else {
            Self::sent_unnamed(Sent::Query, before, desk);
        }
    }

    /// Notes a message behind which the unnamed statement is another, or none.
    pub(super) fn sent_unnamed(sent: Sent, before: Option<Unnamed>, desk: &mut Desk<'_>) {
        let bytes = before.as_ref().map_or(0, Unnamed::bytes);
        let room = desk.client_max.1.saturating_sub(desk.exchange.undo_bytes());
        // What there is no room for is forgotten, if it comes to that.
        let before = if bytes > room { Some(Unnamed::too_long()) } else { before };
        desk.exchange.sent_undoable(sent, Reply::Forward, Undo::Unnamed(before));
    }

    /// Puts the client's own unnamed statement on the server, or none, where the client goes on with
    /// one it parsed in an earlier transaction.
    pub(super) fn ensure_unnamed(&mut self, desk: &mut Desk<'_>) {
        if desk.server.has_unnamed() || desk.exchange.is_skipping() {
            return;
        }
        if desk.client.unnamed().is_some_and(|body| !drops_unnamed(body)) {
            self.drop_unnamed(desk);
        }
        let out = self.outbox.after(&mut self.buffer);
        if let Some(other) = desk.client.executed().cloned() {
            own::ensure(&other, out, desk);
        }
        let sent = if let Some(body) = desk.client.unnamed() {
            own::parse(b"", body, out);
            Sent::Parse(None)
        } else {
            own::close_unnamed(out);
            Sent::Close
        };
        desk.exchange.sent_undoable(sent, Reply::Drop, Undo::Placed);
        desk.server.unnamed_is_here();
    }

    /// Whether it is not known what the client's statement of that name is before the server has
    /// answered: an earlier group has changed it behind something that may fail, and throw that
    /// away. Waited for is only what comes without another word from the client.
    pub(super) fn awaits(&mut self, name: &[u8], desk: &Desk<'_>) -> bool {
        let id = |name: &[u8]| desk.client.named(name).map(|prepared| prepared.id);
        let doubted = if name.is_empty() {
            desk.exchange.doubts_unnamed()
        } else {
            // Names that are being forgotten mean nothing in a moment.
            let forgets = self.hints.intersects(Hints::DISCARD | Hints::DEALLOCATE);
            forgets && !desk.exchange.is_quiet() || desk.exchange.doubts_named(name, || id(name))
        };
        // What it is about may be in doubt, too.
        let doubted = doubted
            || desk.exchange.is_naming()
                && desk.client.subject(name).is_some_and(|subject| {
                    desk.exchange.doubts_named(subject.name(), || id(subject.name()))
                });
        self.waits = doubted && desk.exchange.will_be_quiet(false);
        self.waits
    }
}

/// Whether the Parse of an unnamed statement drops the one before it whatever else becomes of it.
/// PostgreSQL reads the message first: its text, which may be none in the client's encoding, and the
/// parameters' types.
pub(super) fn drops_unnamed(body: &[u8]) -> bool {
    let Some((text, rest)) = memchr(0, body).map(|end| body.split_at(end)) else { return false };
    let [_, high, low, types @ ..] = rest else { return false };
    types.len() == 4 * usize::from(u16::from_be_bytes([*high, *low])) && text.is_ascii()
}
