//! Bytes pgusher wrote itself, to go out before the buffer's own.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::wire::{Buffer, Writer};

/// A run of own messages and how much of it is sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    run: Writer,
    sent: usize,
}

/// An outbox larger than this gives its memory back when it is empty.
const KEEP_BYTES_MAX: usize = 16 << 10;

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.run.clear();
        self.sent = 0;
    }

    /// The run to append to. What waits in `before` goes out first, so it is moved here.
    pub(super) fn after(&mut self, before: &mut Buffer) -> &mut Writer {
        let waiting = before.forward().len();
        if waiting > 0 {
            self.run.raw(before.forward());
            before.sent(waiting);
        }
        &mut self.run
    }

    /// Writes the outbox, then the buffer's forwardable bytes, until both are empty or the stream
    /// takes no more. `Ready(Ok(true))` when something was written.
    ///
    /// # Errors
    /// The stream's; a stream that takes nothing is `WriteZero`.
    pub(super) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        to: &mut W,
    ) -> Poll<io::Result<bool>> {
        let mut moved = false;
        while !self.is_empty() || !buffer.forward().is_empty() {
            let own = &self.run.bytes()[self.sent..];
            let rest = buffer.forward();
            let written = if own.is_empty() {
                Pin::new(&mut *to).poll_write(cx, rest)
            } else if rest.is_empty() {
                Pin::new(&mut *to).poll_write(cx, own)
            } else {
                let both = [IoSlice::new(own), IoSlice::new(rest)];
                Pin::new(&mut *to).poll_write_vectored(cx, &both)
            };
            let n = match written {
                Poll::Pending if moved => return Poll::Ready(Ok(true)),
                other => ready!(other)?,
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            moved = true;
            let own_sent = n.min(own.len());
            self.sent += own_sent;
            if self.sent == self.run.bytes().len() {
                self.clear();
                if self.run.capacity() > KEEP_BYTES_MAX {
                    self.run = Writer::new();
                }
            }
            buffer.sent(n - own_sent);
        }
        if moved {
            // Plain sockets need no flush; TLS may hold a record back.
            let _ = Pin::new(to).poll_flush(cx)?;
        }
        Poll::Ready(Ok(moved))
    }
}
