//! How a waiting client is reached: one cell with a lock, the client's waker and the answer.
//!
//! What a channel does beyond that (counted sides, closing by either, a state machine without a
//! lock) is dear when every transaction of a full room stands in line.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::{Conn, Grant, lock, refusal};
use crate::fault::Fault;

/// What a client that waits is told.
pub(super) type Answer<S> = Result<Grant<S>, Fault>;

enum State<S: Conn> {
    /// Nobody has answered; who listens is woken.
    Open(Option<Waker>),
    Answered(Answer<S>),
    /// The answer was taken, or nobody wants one any more.
    Over,
}

struct Cell<S: Conn>(Mutex<State<S>>);

/// The room's end: one answer goes through it.
pub(super) struct Reach<S: Conn>(Option<Arc<Cell<S>>>);

/// The client's end.
pub(super) struct Reply<S: Conn>(Arc<Cell<S>>);

/// A cell with both its ends.
pub(super) fn reach<S: Conn>() -> (Reach<S>, Reply<S>) {
    let cell = Arc::new(Cell(Mutex::new(State::Open(None))));
    (Reach(Some(Arc::clone(&cell))), Reply(cell))
}

impl<S: Conn> Cell<S> {
    /// Answers and wakes; the answer comes back when nobody wants it.
    fn answer(&self, answer: Answer<S>) -> Result<(), Answer<S>> {
        let mut state = lock(&self.0);
        let State::Open(waker) = &mut *state else { return Err(answer) };
        let waker = waker.take();
        *state = State::Answered(answer);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<S: Conn> Reach<S> {
    /// Answers the client. Comes back as an error when it has left.
    pub(super) fn answer(mut self, answer: Answer<S>) -> Result<(), Answer<S>> {
        match self.0.take() {
            Some(cell) => cell.answer(answer),
            None => Err(answer),
        }
    }
}

impl<S: Conn> Drop for Reach<S> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            // Whoever waited is not left to wait for ever.
            drop(cell.answer(Err(refusal::lost())));
        }
    }
}

impl<S: Conn> Reply<S> {
    /// The answer, once it is there. Ready at most once.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Answer<S>> {
        let mut state = lock(&self.0.0);
        match &mut *state {
            State::Open(Some(waker)) if waker.will_wake(cx.waker()) => Poll::Pending,
            State::Open(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => match std::mem::replace(&mut *state, State::Over) {
                State::Answered(answer) => Poll::Ready(answer),
                _ => Poll::Ready(Err(refusal::lost())),
            },
        }
    }

    /// The answer if it is there.
    pub(super) fn take(&self) -> Option<Answer<S>> {
        let mut state = lock(&self.0.0);
        if matches!(*state, State::Open(_)) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    /// Wants no answer from here on. One that was given comes back.
    pub(super) fn close(&self) -> Option<Answer<S>> {
        let state = std::mem::replace(&mut *lock(&self.0.0), State::Over);
        match state {
            State::Answered(answer) => Some(answer),
            _ => None,
        }
    }
}
