//! How far a connection is with its request: whether it is the door's turn or the client's.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame, SizeHint};

/// One connection's. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// So many heads were read.
    requests: AtomicU64,
    /// Of a request's body something has still to come.
    arriving: AtomicBool,
    /// A request was read and its answer is not written to its end.
    answering: AtomicBool,
    /// The client takes nothing of what is written.
    stalled: AtomicBool,
}

impl Progress {
    /// A request's head is read. Its body and the answer's have to be watched.
    pub(super) fn asked(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.answering.store(true, Ordering::Relaxed);
        self.0.arriving.store(true, Ordering::Relaxed);
    }

    /// The client takes nothing at the moment, or does again.
    pub(super) fn stalls(&self, stalled: bool) {
        self.0.stalled.store(stalled, Ordering::Relaxed);
    }

    /// How many requests there were.
    pub(super) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Whether the client has done its part of a request and the door not yet its own.
    pub(super) fn is_under_way(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        is(&self.0.answering) && !is(&self.0.arriving) && !is(&self.0.stalled)
    }

    /// The body of a request whose head was read.
    pub(super) fn request<B: Body>(&self, body: B) -> Watched<B> {
        let watched = Watched { body, progress: self.clone(), of: Of::Request };
        watched.note_end();
        watched
    }

    /// The body of its answer.
    pub(super) fn answer<B: Body>(&self, body: B) -> Watched<B> {
        Watched { body, progress: self.clone(), of: Of::Answer }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Request,
    Answer,
}

/// A body that notes when it has come, or gone.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    progress: Progress,
    of: Of,
}

impl<B: Body> Watched<B> {
    /// An answer's last bytes are on their way only when it is dropped.
    fn note_end(&self) {
        if self.of == Of::Request && self.body.is_end_stream() {
            self.progress.0.arriving.store(false, Ordering::Relaxed);
        }
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() && self.of == Of::Request {
            self.progress.0.arriving.store(false, Ordering::Relaxed);
        }
        self.note_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Watched<B> {
    /// What is dropped early is not waited for.
    fn drop(&mut self) {
        let over = match self.of {
            Of::Request => &self.progress.0.arriving,
            Of::Answer => &self.progress.0.answering,
        };
        over.store(false, Ordering::Relaxed);
    }
}
