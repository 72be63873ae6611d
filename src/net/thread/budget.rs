//! How much a task may do before others have their turn.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Calls that a task makes in a row, as many as tokio grants.
const CALLS: u32 = 128;

/// On threads that are not data threads it is not counted: their runtime does.
const UNCOUNTED: u32 = u32::MAX;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(UNCOUNTED) };
}

/// A task begins its turn.
pub(super) fn begin() {
    LEFT.set(CALLS);
}

/// `Pending`, and woken at once, when the turn is over.
pub(super) fn poll(cx: &Context<'_>) -> Poll<()> {
    if LEFT.get() > 0 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// A call was made.
pub(super) fn spend() {
    let left = LEFT.get();
    if left != UNCOUNTED {
        LEFT.set(left.saturating_sub(1));
    }
}
