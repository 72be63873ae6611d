//! How much a tenant's server may say to pgusher itself. Whoever owns a database decides what its
//! rows hold; a client reads a whole message into memory before anybody can look at it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest message, its type and length not counted.
const MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// The longest answer to one request, all its messages together.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Ends an answer; the server waits for the next request.
const READY: u8 = b'Z';

/// A stream of the PostgreSQL protocol, server to client, that fails at the head of a message that
/// is too long. It is never buffered.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    meter: Meter,
}

impl<S> Bounded<S> {
    /// `stream` from its first message on.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, meter: Meter::default() }
    }
}

/// Where in the messages the stream is.
#[derive(Debug, Default)]
struct Meter {
    /// The message's type and length, as far as they came.
    head: [u8; 5],
    head_len: usize,
    /// Bytes of the body still to come.
    body: u32,
    /// Bytes since the server last was ready.
    answer: u64,
}

impl Meter {
    /// Takes bytes in; false when they announce more than may come.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.body > 0 {
                let now = bytes.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
                bytes = &bytes[now..];
                self.body -= u32::try_from(now).unwrap_or(self.body);
                continue;
            }
            self.head[self.head_len] = first;
            self.head_len += 1;
            bytes = rest;
            if self.head_len == self.head.len() && !self.begin() {
                return false;
            }
        }
        true
    }

    /// A head is complete: its body is next, if it is not too long.
    fn begin(&mut self) -> bool {
        let [kind, length @ ..] = self.head;
        self.head_len = 0;
        // The length counts itself.
        let Some(body) = u32::from_be_bytes(length).checked_sub(4) else { return false };
        self.answer = if kind == READY { 0 } else { self.answer + 5 + u64::from(body) };
        self.body = body;
        body <= MESSAGE_BYTES_MAX && self.answer <= ANSWER_BYTES_MAX
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        if self.meter.take(new) {
            return Poll::Ready(Ok(()));
        }
        tracing::warn!("a tenant's server answers pgusher with more than it may; cut off");
        let text = "the tenant's server sent more than it may";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn message(kind: u8, body: u32) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend((body + 4).to_be_bytes());
        bytes.resize(5 + body as usize, 0);
        bytes
    }

    #[test]
    fn what_is_too_long_is_seen_at_its_head_however_it_is_cut() {
        for piece in [1, 3, 7, 4096] {
            let mut meter = Meter::default();
            let fits = [message(b'D', 300), message(b'C', 0), message(b'Z', 1)].concat();
            assert!(fits.chunks(piece).all(|bytes| meter.take(bytes)), "{piece}");
            let long = message(b'D', MESSAGE_BYTES_MAX + 1);
            assert!(!long[..5].chunks(piece).all(|bytes| meter.take(bytes)), "{piece}");
        }
        assert!(!Meter::default().take(&[b'D', 0, 0, 0, 3]), "shorter than its own length");
    }

    #[test]
    fn many_messages_make_an_answer_too_long_and_the_next_begins_anew() {
        let (row, ready) = (message(b'D', MESSAGE_BYTES_MAX), message(b'Z', 1));
        let mut meter = Meter::default();
        for _ in 0..3 {
            assert!((0..7).all(|_| meter.take(&row)));
            assert!(meter.take(&ready));
        }
        assert!(!(0..8).all(|_| meter.take(&row)));
    }

    #[tokio::test]
    async fn the_reader_is_told_before_the_body_comes() {
        let (mut server, client) = tokio::io::duplex(1 << 10);
        let mut client = Bounded::new(client);
        server.write_all(&message(b'R', 8)).await.expect("written");
        client.read_exact(&mut [0; 13]).await.expect("a message that fits");
        server.write_all(&[b'D', 0x40, 0, 0, 0]).await.expect("written");
        let error = client.read(&mut [0; 64]).await.expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
