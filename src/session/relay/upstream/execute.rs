//! `EXECUTE` of a statement that was prepared by the protocol: servers know it by another name.

use std::sync::Arc;

use super::{Desk, Upstream, read};
use crate::server::Prepared;
use crate::session::lexer::{Facts, Target, TargetKind, Verb};
use crate::session::relay::exchange::{Reply, Sent};
use crate::session::relay::statement_messages as own;
use crate::session::statements::ClientStatements;
use crate::wire::{HEADER_BYTES, Header, tag};

/// An EXECUTE in a Parse, rewritten.
pub(super) struct Executing {
    /// What it executes.
    pub(super) other: Arc<Prepared>,
    /// The Parse's text, zero and types.
    pub(super) body: Vec<u8>,
    /// What the client's own text says.
    pub(super) facts: Facts,
}

/// Whether it is worth reading a text for an EXECUTE of a client's statement.
pub(super) fn may_execute(text: &[u8], client: &ClientStatements) -> bool {
    let first = text.iter().find(|b| !b.is_ascii_whitespace());
    client.len() > 0 && matches!(first, Some(b'e' | b'E' | b'-' | b'/'))
}

impl Upstream {
    /// `EXECUTE` and `DEALLOCATE` of a statement that was prepared by the protocol: the server
    /// knows it by another name. `true` when the message was rewritten and is done with.
    pub(super) fn rename_in_query(&mut self, header: Header, desk: &mut Desk<'_>) -> bool {
        let Some(message) = self.buffer.unparsed().get(HEADER_BYTES..header.total()) else {
            return false;
        };
        let first = message.iter().find(|b| !b.is_ascii_whitespace());
        let likely = matches!(first, Some(b'd' | b'D' | b'e' | b'E' | b'-' | b'/'));
        if desk.client.len() == 0 || !likely {
            return false;
        }
        let facts = read(&mut self.lexer, message);
        let by_name = facts.target.as_ref().filter(|t| facts.single && t.kind == TargetKind::Name);
        let Some(target) = by_name else { return false };
        let Some(prepared) = desk.client.named(target.name.as_bytes()).map(Arc::clone) else {
            return false;
        };
        let closes = match facts.first {
            Verb::Execute => false,
            Verb::Deallocate => true,
            _ => return false,
        };
        let (start, length) = (target.start as usize, target.len as usize);
        let (Some(before), Some(after)) = (message.get(..start), message.get(start + length..))
        else {
            return false;
        };
        let text = [before, &prepared.id.server_name(), after].concat();
        let out = self.outbox.after(&mut self.buffer);
        own::ensure(&prepared, out, desk);
        own::sync(out);
        desk.exchange.sent(Sent::Sync, Reply::Drop);
        out.message(tag::QUERY, |b| b.extend_from_slice(&text));
        desk.exchange.sent(Sent::Query, Reply::Forward);
        if closes && desk.exchange.status() != b'E' {
            desk.client.remove(target.name.as_bytes());
            desk.server.remove(prepared.id);
        }
        self.note(&facts);
        self.buffer.skip(header.total());
        true
    }

    /// What stands for a Parse's body (text, zero, types) that is an EXECUTE of the client's
    /// statement, and that statement.
    pub(super) fn executing(
        &mut self,
        body: &[u8],
        client: &ClientStatements,
    ) -> Option<Executing> {
        let facts = read(&mut self.lexer, body);
        let named = |t: &Target| t.kind == TargetKind::Name && facts.first == Verb::Execute;
        let target = facts.target.as_ref().filter(|t| facts.single && named(t))?;
        // One that executes another is not executed in its turn: no chain has to be followed.
        let other = client.named(target.name.as_bytes()).filter(|p| p.executes.is_none())?;
        let (start, end) = (target.start as usize, (target.start + target.len) as usize);
        let text = [body.get(..start)?, &other.id.server_name(), body.get(end..)?].concat();
        Some(Executing { other: Arc::clone(other), body: text, facts })
    }

    /// Parse of an unnamed EXECUTE of a statement prepared by the protocol. `true` when the message
    /// was rewritten and is done with.
    pub(super) fn parse_executing(&mut self, header: Header, desk: &mut Desk<'_>) -> bool {
        let body = &self.buffer.unparsed()[HEADER_BYTES + 1..header.total()];
        if !may_execute(body, desk.client) {
            return false;
        }
        let body = body.to_vec();
        let Some(executing) = self.executing(&body, desk.client) else { return false };
        let out = self.outbox.after(&mut self.buffer);
        own::ensure(&executing.other, out, desk);
        own::parse(b"", &executing.body, out);
        if !desk.exchange.is_skipping() {
            let before = desk.client.remember_unnamed(&executing.body, Some(executing.other));
            self.parsed_unnamed(before, desk);
        }
        self.note(&executing.facts);
        self.buffer.skip(header.total());
        true
    }
}
