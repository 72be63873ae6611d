//! The seats of a door's connections: who waits longest with nothing to be done gives way.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{Notify, oneshot};

/// So many seats. One task hands them out.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    state: Mutex<State>,
    /// A seat was given back, or who was asked for one keeps it, or there is somebody to ask.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    next: u64,
    /// Connections with nothing to be done, in the order in which they came to that.
    idle: BTreeMap<u64, oneshot::Sender<()>>,
    /// Who was asked to give way and has not answered.
    asked: Option<u64>,
}

impl State {
    fn line_up(&mut self) -> Idle {
        let (ask, asked) = oneshot::channel();
        let place = self.next;
        self.next += 1;
        self.idle.insert(place, ask);
        Idle { place, asked, was_asked: false }
    }
}

impl Seats {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), state: Mutex::default(), changed: Notify::new() })
    }

    /// A seat: from the one that has had nothing to do longest if all are taken, and if all have
    /// something to do, when one is done.
    pub(super) async fn enter(self: &Arc<Self>) -> Seat {
        loop {
            if let Some(seat) = self.try_enter() {
                return seat;
            }
            self.changed.notified().await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Seat> {
        let mut state = self.state();
        if state.taken < self.most {
            state.taken += 1;
            let idle = Some(state.line_up());
            drop(state);
            return Some(Seat { seats: Arc::clone(self), idle });
        }
        if state.asked.is_none()
            && let Some((place, ask)) = state.idle.pop_first()
        {
            state.asked = Some(place);
            // Its receiver leaves the line before it goes.
            let _ = ask.send(());
        }
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    /// While there is nothing to be done.
    idle: Option<Idle>,
}

#[derive(Debug)]
struct Idle {
    place: u64,
    asked: oneshot::Receiver<()>,
    was_asked: bool,
}

impl Seat {
    /// Whether there is something to be done: then it is nobody else's.
    pub(super) fn set_busy(&mut self, busy: bool) {
        if busy != self.idle.is_none() {
            let mut state = self.seats.state();
            match self.idle.take() {
                Some(idle) => idle.leave(&mut state),
                None => self.idle = Some(state.line_up()),
            }
            drop(state);
            self.seats.changed.notify_one();
        }
    }

    /// A request came, and perhaps its answer went: whoever has nothing to do since then has had it
    /// for the shortest time.
    pub(super) fn renew(&mut self) {
        if let Some(idle) = self.idle.take() {
            let mut state = self.seats.state();
            idle.leave(&mut state);
            self.idle = Some(state.line_up());
            drop(state);
            self.seats.changed.notify_one();
        }
    }

    /// Ready while another connection waits for the seat.
    pub(super) fn poll_asked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(idle) = &mut self.idle else { return Poll::Pending };
        idle.was_asked = idle.was_asked || Pin::new(&mut idle.asked).poll(cx).is_ready();
        if idle.was_asked { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Idle {
    fn leave(&self, state: &mut State) {
        state.idle.remove(&self.place);
        if state.asked == Some(self.place) {
            state.asked = None;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.seats.state();
        if let Some(idle) = &self.idle {
            idle.leave(&mut state);
        }
        state.taken -= 1;
        drop(state);
        self.seats.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_oldest_idle_one_is_asked_and_may_have_become_busy() {
        let seats = Seats::new(3);
        let (mut first, mut second, mut third) =
            (seats.enter().await, seats.enter().await, seats.enter().await);
        first.set_busy(true);
        let mut fourth = Box::pin(seats.enter());
        assert!(fourth.as_mut().now_or_never().is_none());
        poll_fn(|cx| second.poll_asked(cx)).await;
        assert!(poll_fn(|cx| third.poll_asked(cx)).now_or_never().is_none(), "one at a time");
        // Its request came meanwhile: the next is asked.
        second.set_busy(true);
        assert!(fourth.as_mut().now_or_never().is_none());
        poll_fn(|cx| third.poll_asked(cx)).await;
        drop(third);
        let fourth = fourth.await;
        // Who is done stands at the end of the line.
        first.set_busy(false);
        let mut fifth = Box::pin(seats.enter());
        assert!(fifth.as_mut().now_or_never().is_none());
        drop(fourth);
        drop(fifth.await);
        assert_eq!(seats.state().taken, 2);
        assert_eq!(seats.state().asked, None);
        drop((first, second));
        assert!(seats.state().idle.is_empty());
    }

    #[tokio::test]
    async fn when_all_are_busy_the_next_waits() {
        let seats = Seats::new(1);
        let mut first = seats.enter().await;
        first.set_busy(true);
        let mut next = Box::pin(seats.enter());
        assert!(next.as_mut().now_or_never().is_none());
        first.set_busy(false);
        assert!(next.as_mut().now_or_never().is_none());
        poll_fn(|cx| first.poll_asked(cx)).await;
        drop(first);
        next.await;
    }
}
