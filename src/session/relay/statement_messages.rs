//! The Parse, Bind, Describe and Close messages pgusher writes in a client's place.

use std::sync::Arc;

use super::exchange::{Reply, Sent, Undo};
use super::upstream::Desk;
use crate::server::{Prepared, moment};
use crate::session::statements::Asked;
use crate::wire::{Writer, tag};

/// A statement that is made only to be closed: closing it is a question the server answers with
/// CloseComplete.
pub(super) const NOTHING: &[u8] = b"pgusher_nothing";

/// Prepares `prepared` on the server unless it is there already; `true` when it was not.
pub(super) fn ensure(prepared: &Arc<Prepared>, out: &mut Writer, desk: &mut Desk<'_>) -> bool {
    let other = prepared.executes().filter(|other| !desk.server.touch(other.id));
    if let Some(other) = other {
        prepare(other, None, out, desk);
        // What it was read as goes by what that was.
        desk.server.remove(prepared.id);
    }
    let here = desk.server.touch(prepared.id);
    if !here {
        prepare(prepared, None, out, desk);
    }
    other.is_some() || !here
}

/// Prepares `prepared`, closing the server's least used statement when it has too many. `asked`
/// when the client asked for it and gets the answer; what is undone then if it fails.
///
/// What is to be prepared is closed first: closing what is not there is no error, and what an
/// error or a DEALLOCATE out of sight has left there would be one.
pub(super) fn prepare(
    prepared: &Arc<Prepared>,
    asked: Option<Undo>,
    out: &mut Writer,
    desk: &mut Desk<'_>,
) {
    if desk.exchange.is_skipping() {
        // Never read by the server: what it would prepare is not there afterwards.
        parse(&prepared.id.server_name(), &prepared.body, out);
        return;
    }
    if let Some(oldest) = desk.server.insert(prepared.id, desk.server_statements_max) {
        desk.server.forget_later(oldest);
    }
    close_doomed(out, desk);
    named(tag::CLOSE, &prepared.id.server_name(), out);
    desk.exchange.sent(Sent::Close, Reply::Drop);
    parse(&prepared.id.server_name(), &prepared.body, out);
    let sent = Sent::Parse(Some(prepared.id));
    match asked {
        Some(undo) => desk.exchange.sent_undoable(sent, Reply::Forward, undo),
        None if desk.exchange.is_risky() => {
            desk.exchange.sent_undoable(sent, Reply::Drop, Undo::Prepared(prepared.id));
        }
        None => desk.exchange.sent(sent, Reply::Drop),
    }
}

/// Closes what has to be closed on the server.
pub(super) fn close_doomed(out: &mut Writer, desk: &mut Desk<'_>) {
    for id in desk.server.take_doomed() {
        named(tag::CLOSE, &id.server_name(), out);
        desk.exchange.sent_undoable(Sent::Close, Reply::Drop, Undo::Forgotten(id));
    }
}

/// A Parse of `body` (query text, zero, parameter types) under `name`.
pub(super) fn parse(name: &[u8], body: &[u8], out: &mut Writer) {
    out.message(tag::PARSE, |b| {
        b.extend_from_slice(name);
        b.push(0);
        b.extend_from_slice(body);
    });
}

/// The front of a Bind whose remaining `rest` bytes the client sends.
pub(super) fn bind_head(name: &[u8], portal: &[u8], rest: usize, out: &mut Writer) {
    let length = 4 + portal.len() + 1 + name.len() + 1 + rest;
    // `rest` is bounded by the longest body, far below 4 GiB.
    let length = u32::try_from(length).expect("invariant: message lengths are bounded");
    out.raw(&[tag::BIND]).raw(&length.to_be_bytes());
    out.raw(portal).raw(&[0]).raw(name).raw(&[0]);
}

/// A Describe of the statement `name`.
pub(super) fn describe(name: &[u8], out: &mut Writer) {
    named(tag::DESCRIBE, name, out);
}

/// Asks what a statement is described as.
pub(super) fn ask_for(prepared: &Prepared, out: &mut Writer, desk: &mut Desk<'_>) {
    describe(&prepared.id.server_name(), out);
    let asked = Asked { id: prepared.id, name: Box::default(), at: moment() };
    desk.exchange.sent_undoable(Sent::Describe(Some(prepared.id)), Reply::Drop, Undo::Asked(asked));
}

/// What has been asked is to be answered at once.
pub(super) fn flush(out: &mut Writer) {
    out.message(tag::FLUSH, |_| {});
}

/// Makes the statement that is closed in the place of a client's. It is of no text, so it waits for
/// nothing and cannot fail, in a failed transaction neither.
pub(super) fn make_nothing(out: &mut Writer, desk: &mut Desk<'_>, undo: Option<Undo>) {
    close_nothing(out);
    desk.exchange.sent(Sent::Close, Reply::Drop);
    parse(NOTHING, b"\0\0\0", out);
    match undo {
        Some(undo) => desk.exchange.sent_undoable(Sent::Parse(None), Reply::Drop, undo),
        None => desk.exchange.sent(Sent::Parse(None), Reply::Drop),
    }
}

/// A Close of a statement that does not exist: answered, and changes nothing.
pub(super) fn close_nothing(out: &mut Writer) {
    named(tag::CLOSE, NOTHING, out);
}

/// A Sync.
pub(super) fn sync(out: &mut Writer) {
    out.message(tag::SYNC, |_| {});
}

/// A Close of the unnamed statement.
pub(super) fn close_unnamed(out: &mut Writer) {
    named(tag::CLOSE, b"", out);
}

fn named(kind: u8, name: &[u8], out: &mut Writer) {
    out.message(kind, |b| {
        b.push(b'S');
        b.extend_from_slice(name);
        b.push(0);
    });
}
