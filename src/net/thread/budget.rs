//! How much a task may do before others have their turn.

use std::cell::Cell;
use std::task::{Context, Poll};

use tokio::task::coop;

/// Calls that a task makes in a row, as many as tokio grants.
const CALLS: u32 = 128;

/// On threads that are not data threads tokio counts.
const UNCOUNTED: u32 = u32::MAX;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(UNCOUNTED) };
}

/// A task begins its turn.
pub(super) fn begin() {
    LEFT.set(CALLS);
}

/// `Pending`, and woken at once, when the turn is over.
pub(super) fn poll(cx: &mut Context<'_>) -> Poll<()> {
    match LEFT.get() {
        0 => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        UNCOUNTED => coop::poll_proceed(cx).map(|turn| turn.made_progress()),
        _ => Poll::Ready(()),
    }
}

/// A call was made.
pub(super) fn spend() {
    let left = LEFT.get();
    if left != UNCOUNTED {
        LEFT.set(left.saturating_sub(1));
    }
}
