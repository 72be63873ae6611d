//! The relay: client ⇄ server, both directions at once, in constant memory.
//!
//! A [`Relay`] is the state that exists only while bytes are in flight: two buffers, two outboxes
//! and the account of what the server owes. It is borrowed from a per-thread stock when a client's
//! first byte arrives and goes back when the client is idle again, so an idle client holds none.
//! [`Relay::poll`] moves bytes until something has to be decided, and says what.

mod account;
mod bulk;
mod downstream;
mod ends;
mod exchange;
mod next;
mod outbox;
mod repeat;
mod retold;
mod sequences;
mod statement_messages;
mod stock;
mod upstream;

use std::io;
use std::task::{Context, Poll};

use downstream::{Downstream, Heard, Listener};
pub(super) use ends::{CHANGED, Ends, Event, too_many_statements};
use exchange::Exchange;
pub(super) use sequences::SequenceUse;
pub use stock::trim_stock;
pub(super) use stock::{Stocked, trim_pages};
use upstream::{Desk, Stop, Upstream};

use crate::net::Stream;
use crate::wire::{Malformed, Writer};

/// Bytes of each direction's buffer. Two or three typical transactions fit; a bulk transfer costs
/// one system call for this much.
const BUFFER_BYTES: usize = 16 << 10;

/// Both directions' state.
#[derive(Debug)]
pub(super) struct Relay {
    up: Upstream,
    down: Downstream,
    exchange: Exchange,
    heard: Heard,
    /// The client sends nothing more. It may still read.
    client_ended: bool,
    /// The server takes nothing more. What it said before is still to be read.
    server_deaf: bool,
    /// What the client sent is sent again when the server has come to its Sync.
    repeating: bool,
}

impl Relay {
    fn new() -> Self {
        Self {
            up: Upstream::new(BUFFER_BYTES),
            down: Downstream::new(BUFFER_BYTES),
            exchange: Exchange::default(),
            heard: Heard::default(),
            client_ended: false,
            server_deaf: false,
            repeating: false,
        }
    }

    fn reset(&mut self) {
        self.up.reset();
        self.down.reset();
        self.exchange.reset();
        self.heard = Heard::default();
        (self.client_ended, self.server_deaf, self.repeating) = (false, false, false);
        for buffer in [&mut self.up.buffer, &mut self.down.buffer] {
            if buffer.capacity() != BUFFER_BYTES {
                buffer.resize(BUFFER_BYTES);
            }
        }
    }

    /// Reads from a client that has no server. `Ready(Ok(0))` is the end of its stream. Writes
    /// what is still owed to it, too.
    pub(super) fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        if !self.down.is_flushed() {
            if let Poll::Ready(Err(error)) = self.poll_flush(cx, client) {
                return Poll::Ready(Err(error));
            }
            // A client that does not read its answers is not asked for more questions.
            if !self.down.is_flushed() {
                return Poll::Pending;
            }
        }
        self.up.buffer.poll_fill(cx, client)
    }

    /// Writes what is owed to the client.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while !self.down.is_flushed() {
            std::task::ready!(self.down.outbox.poll_send(cx, &mut self.down.buffer, client))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Appends own messages behind what is owed to the client.
    pub(super) fn say(&mut self) -> &mut Writer {
        self.down.outbox.after(&mut self.down.buffer)
    }

    /// Reads more of what the client sends, if there is room. For watching a client that waits.
    pub(super) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.up.buffer.unparsed().len() == self.up.buffer.capacity() {
                return Poll::Pending;
            }
            match std::task::ready!(self.up.buffer.poll_fill(cx, client)) {
                Ok(n) if n > 0 => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Whether a whole message is there, or as much of it as the buffer takes.
    pub(super) fn is_ready(&self) -> Result<bool, Malformed> {
        self.up.is_ready()
    }

    /// Whether the server owes nothing, has been sent whole messages only, and will say nothing
    /// more of its own accord: it can be asked to clean up.
    pub(super) fn is_quiet(&self) -> bool {
        self.exchange.is_quiet()
            && self.exchange.is_certain()
            && !self.up.is_inside_message()
            && self.up.is_flushed()
    }

    /// Whether an answer is outstanding or a transaction open.
    pub(super) fn is_busy(&self) -> bool {
        !self.exchange.is_done()
    }

    /// Whether it is known that the server will say nothing more of its own accord.
    pub(super) fn is_certain(&self) -> bool {
        self.exchange.is_certain()
    }

    /// Whether the client has been sent part of a message whose rest is missing.
    pub(super) fn is_inside_answer(&self) -> bool {
        self.down.is_inside_body()
    }

    /// Nothing is buffered in either direction: the relay can go back.
    pub(super) fn is_empty(&self) -> bool {
        // The rest of a message that is being dropped is state, too: forgotten, it would be read
        // as messages.
        self.up.buffer.is_empty()
            && !self.up.is_inside_message()
            && self.up.is_flushed()
            && self.down.is_flushed()
            && !self.down.is_inside_message()
    }

    /// Whether the client has asked for something, to the end of it.
    pub(super) fn is_asked(&self) -> bool {
        self.up.is_asked()
    }

    /// See [`Upstream::skip_refused`].
    pub(super) fn skip_refused(&mut self, simple: bool) -> Result<bool, Malformed> {
        self.up.skip_refused(simple)
    }

    /// See [`Upstream::skip_late_copy`].
    pub(super) fn skip_late_copy(&mut self) -> Result<bool, Malformed> {
        self.up.skip_late_copy()
    }

    /// Moves bytes both ways until something has to be decided. With `hold`, an idle server is no
    /// reason to stop: the session keeps it and hears what it says of its own.
    ///
    /// Cancel-safe: all state is in `self`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Ends<'_>,
        hold: bool,
    ) -> Poll<Event> {
        // When all is sent it is the server's turn, and its answer may be the end of it: the
        // client need not be asked then.
        if !hold && self.up.buffer.is_empty() && self.up.is_flushed() && self.is_busy() {
            if let Some(event) = self.poll_down(cx, ends, &mut false) {
                return Poll::Ready(event);
            }
            if self.is_finished() {
                self.repeating = false;
                return Poll::Ready(Event::Done);
            }
        }
        loop {
            let mut moved = false;
            if let Some(event) = self.poll_up(cx, ends, &mut moved) {
                return Poll::Ready(event);
            }
            if let Some(event) = self.poll_down(cx, ends, &mut moved) {
                return Poll::Ready(event);
            }
            // What waits for the last answer is sent now that it is there, or in the next lease.
            if self.is_finished() && (self.repeating || !self.up.waits()) {
                if std::mem::take(&mut self.repeating) || !hold {
                    return Poll::Ready(Event::Done);
                }
                if ends.shared && (self.up.hints | self.heard.hints).intersects(ends.watched) {
                    return Poll::Ready(Event::Done);
                }
            }
            if self.client_ended && self.is_over() && !self.up.waits() {
                return Poll::Ready(Event::ClientGone);
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// Everything is sent and answered, and no transaction is open.
    fn is_finished(&self) -> bool {
        let sent = self.up.is_flushed() && !self.up.is_inside_message();
        sent && self.exchange.is_done() && !self.down.is_inside_message()
    }

    /// Whether nothing more can come of it when the client sends nothing more: all is answered, or
    /// the server waits for what the client will not send.
    fn is_over(&self) -> bool {
        let cut = self.up.is_inside_message();
        if self.exchange.is_quiet() && !cut {
            return self.down.is_flushed();
        }
        // What waits to be sent, or to be read behind too many questions, may hold the Sync.
        self.up.is_flushed() && self.exchange.has_room() && !self.exchange.will_be_quiet(cut)
    }

    fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Ends<'_>,
        moved: &mut bool,
    ) -> Option<Event> {
        if self.server_deaf {
            return None;
        }
        if self.up.buffer.is_keeping() && self.exchange.is_quiet() {
            self.up.buffer.release();
        }
        // A client that does not read its answers is not asked for more questions.
        let room = self.up.has_room() && self.exchange.has_room() && self.down.has_room();
        let asks = !self.client_ended && !self.repeating && room;
        if asks {
            match self.up.buffer.poll_fill(cx, ends.client) {
                // It has no halves: whoever dropped it hears no answer.
                Poll::Ready(Ok(0)) if ends.client.is_pipe() => return Some(Event::ClientGone),
                Poll::Ready(Ok(0)) => self.client_ended = true,
                Poll::Ready(Ok(_)) => {
                    *moved = true;
                    self.up.bulk.read(&mut self.up.buffer);
                }
                Poll::Ready(Err(_)) => return Some(Event::ClientGone),
                Poll::Pending => {}
            }
        }
        if std::mem::take(&mut self.heard.reread) {
            self.up.read_under(ends.params);
        }
        let mut desk = Desk {
            exchange: &mut self.exchange,
            client: ends.statements,
            server: &mut ends.server.statements,
            shared: ends.shared,
            salt: ends.salt,
            prepares: ends.prepares,
            server_statements_max: ends.server_statements_max,
            client_max: ends.client_max,
        };
        // What is to be sent again waits for the next lease.
        let parsed = if self.repeating { Ok(Stop::Starved) } else { self.up.parse(&mut desk) };
        let stop = match parsed {
            Ok(stop) => stop,
            Err(malformed) => return Some(Event::ClientBroke(malformed)),
        };
        match self.up.outbox.poll_send(cx, &mut self.up.buffer, &mut ends.server.stream) {
            // Sending is a reason to go on only where it has made room.
            Poll::Ready(Ok(some)) => *moved |= some && !(asks && self.up.buffer.is_empty()),
            Poll::Ready(Err(_)) => self.server_deaf = true,
            Poll::Pending => {}
        }
        match stop {
            Stop::Starved => None,
            Stop::Terminate => {
                self.client_ended = true;
                None
            }
            Stop::TooManyStatements => Some(Event::TooManyStatements),
            // Asked about on a server that says and is told nothing else.
            Stop::Stale(_) if !self.up.is_flushed() || self.down.is_inside_message() => None,
            Stop::Never => Some(Event::ServerGone(false)),
            Stop::Stale(name) => Some(Event::Stale(name)),
        }
    }

    fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Ends<'_>,
        moved: &mut bool,
    ) -> Option<Event> {
        let mut server_ended = false;
        let asks = self.down.has_room();
        if asks {
            match self.down.buffer.poll_fill(cx, &mut ends.server.stream) {
                Poll::Ready(Ok(0) | Err(_)) => server_ended = true,
                Poll::Ready(Ok(_)) => {
                    *moved = true;
                    self.down.bulk.read(&mut self.down.buffer);
                }
                Poll::Pending if self.down.buffer.is_empty() && self.down.is_flushed() => {
                    return None;
                }
                Poll::Pending => {}
            }
        }
        let mut listener = Listener {
            exchange: &mut self.exchange,
            server: ends.server,
            params: ends.params,
            client: ends.statements,
            heard: &mut self.heard,
            named: self.up.hints,
            keeps: self.up.buffer.is_keeping(),
            whole: self.up.is_flushed() && !self.up.is_inside_message(),
        };
        if self.down.parse(&mut listener).is_err() {
            return Some(Event::ServerBroke);
        }
        *moved |= self.put_back();
        match self.down.outbox.poll_send(cx, &mut self.down.buffer, ends.client) {
            Poll::Ready(Ok(some)) => *moved |= some && !(asks && self.down.buffer.is_empty()),
            Poll::Ready(Err(_)) => return Some(Event::ClientGone),
            Poll::Pending => {}
        }
        server_ended.then_some(Event::ServerGone(self.heard.fatal))
    }
}
