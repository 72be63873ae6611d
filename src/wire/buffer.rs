//! The buffer of one direction: three cursors over fixed memory, `done ≤ parse ≤ recv`.
//!
//! Bytes are received at `recv`, understood up to `parse`, and handed on up to `done`. What lies
//! between `done` and `parse` may be forwarded as it stands; what lies between `parse` and `recv`
//! has not been looked at.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// One direction's bytes.
#[derive(Debug)]
pub struct Buffer {
    data: Vec<u8>,
    /// Where it begins in `data`.
    start: usize,
    done: usize,
    parse: usize,
    recv: usize,
    /// What has been handed on from here is not overwritten before there is no other room.
    kept: Option<usize>,
}

/// Where the next buffer begins in its memory. Buffers lie multiples of pages apart, and of most only
/// the first bytes are ever used: if all began where their memory does, those of many sessions would
/// compete for the same few sets of a processor's cache.
fn next_start() -> usize {
    /// Bytes of a cache line, and lines of a page.
    const LINE: usize = 64;
    const LINES: usize = 64;
    /// A message or two lie in so many.
    const STEP: usize = 5;
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(STEP, Ordering::Relaxed) % LINES * LINE
}

impl Buffer {
    /// An empty buffer of `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let start = next_start();
        let data = vec![0; start + capacity];
        Self { data, start, done: start, parse: start, recv: start, kept: None }
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.data.len() - self.start
    }

    /// Grows or shrinks to `capacity`; never below what it holds.
    pub fn resize(&mut self, capacity: usize) {
        self.compact();
        self.data.resize((self.start + capacity).max(self.recv), 0);
        self.data.shrink_to_fit();
    }

    /// Nothing is waiting to be parsed or forwarded.
    pub fn is_empty(&self) -> bool {
        self.done == self.recv
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.done, self.parse, self.recv, self.kept) = (self.start, self.start, self.start, None);
    }

    /// Keeps what comes next, as long as there is room behind it: see [`Self::put_back`]. Gives its
    /// place.
    pub fn keep(&mut self) -> usize {
        self.kept.get_or_insert(self.parse);
        self.parse
    }

    /// Whether what was to be kept is all still here.
    pub fn is_keeping(&self) -> bool {
        self.kept.is_some()
    }

    /// Nothing need be kept any more.
    pub fn release(&mut self) {
        self.kept = None;
        self.rewind();
    }

    /// What was handed on from this place is to be understood again. `false` when it is not there
    /// any more, or was not all handed on.
    pub fn put_back(&mut self, at: usize) -> bool {
        let here = self.kept.is_some_and(|kept| kept <= at);
        if !here || at > self.done || self.done != self.parse {
            return false;
        }
        (self.done, self.parse, self.kept) = (at, at, None);
        true
    }

    /// Received, not yet understood.
    pub fn unparsed(&self) -> &[u8] {
        &self.data[self.parse..self.recv]
    }

    /// The same, to be put in other words of the same length.
    pub fn unparsed_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.parse..self.recv]
    }

    /// Understood, to be forwarded as it stands.
    pub fn forward(&self) -> &[u8] {
        &self.data[self.done..self.parse]
    }

    /// The next `n` unparsed bytes are understood and will be forwarded.
    ///
    /// # Panics
    /// When fewer than `n` bytes are unparsed.
    pub fn pass(&mut self, n: usize) {
        assert!(n <= self.recv - self.parse, "invariant: parse ≤ recv");
        self.parse += n;
    }

    /// The next `n` unparsed bytes are understood and dropped. Nothing may be waiting to be
    /// forwarded before them.
    ///
    /// # Panics
    /// When fewer than `n` bytes are unparsed or something waits to be forwarded.
    pub fn skip(&mut self, n: usize) {
        assert!(self.done == self.parse, "invariant: nothing waits before what is dropped");
        self.pass(n);
        self.done = self.parse;
        self.rewind();
    }

    /// `n` bytes of [`Self::forward`] have been handed on.
    ///
    /// # Panics
    /// When fewer than `n` bytes were waiting.
    pub fn sent(&mut self, n: usize) {
        assert!(n <= self.parse - self.done, "invariant: done ≤ parse");
        self.done += n;
        self.rewind();
    }

    fn rewind(&mut self) {
        if self.done == self.recv && self.kept.is_none() {
            self.clear();
        }
    }

    /// Whether there is no room behind the received bytes.
    pub fn is_full(&self) -> bool {
        self.recv == self.data.len()
    }

    /// Moves what is held to the front, to make room behind.
    pub fn compact(&mut self) {
        self.kept = None;
        let free = self.done - self.start;
        if free > 0 {
            self.data.copy_within(self.done..self.recv, self.start);
            self.parse -= free;
            self.recv -= free;
            self.done = self.start;
        }
    }

    /// Receives once into the room behind, compacting first when there is none.
    ///
    /// `Ready(Ok(0))` is the end of the stream. Must not be called on a buffer full of unsent
    /// bytes. Cancel-safe.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
    ) -> Poll<io::Result<usize>> {
        if self.is_full() {
            self.compact();
        }
        let mut room = ReadBuf::new(&mut self.data[self.recv..]);
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        let n = room.filled().len();
        self.recv += n;
        Poll::Ready(Ok(n))
    }

    /// Appends bytes received elsewhere; returns how many fitted.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        if bytes.len() > self.data.len() - self.recv {
            self.compact();
        }
        let n = bytes.len().min(self.data.len() - self.recv);
        self.data[self.recv..self.recv + n].copy_from_slice(&bytes[..n]);
        self.recv += n;
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_holds_what_it_says_wherever_it_begins() {
        let mut starts = Vec::new();
        for _ in 0..64 {
            let mut buffer = Buffer::with_capacity(100);
            starts.push(buffer.start);
            assert_eq!((buffer.append(&[1; 200]), buffer.is_full()), (100, true));
            buffer.pass(60);
            buffer.sent(60);
            assert_eq!(buffer.append(&[2; 200]), 60, "room is made in front");
            buffer.resize(50);
            assert_eq!((buffer.capacity(), buffer.unparsed().len()), (100, 100), "what it holds");
            buffer.pass(100);
            buffer.sent(100);
            buffer.resize(50);
            assert_eq!((buffer.capacity(), buffer.append(&[3; 200])), (50, 50));
        }
        starts.sort_unstable();
        starts.dedup();
        assert!(starts.len() > 32, "they all begin where their memory does");
    }
}
