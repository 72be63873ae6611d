//! Relays not in use, kept by each thread for the next client.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use super::Relay;

/// Relays a thread keeps. More were needed only in a burst; they go back to the allocator.
const KEPT_MAX: usize = 64;

thread_local! {
    #[expect(clippy::vec_box, reason = "they are lent as boxes: moving one is moving a pointer")]
    static KEPT: RefCell<Vec<Box<Relay>>> = const { RefCell::new(Vec::new()) };
}

/// A relay borrowed from the thread's stock; goes back when dropped, to whatever thread that is.
#[derive(Debug)]
pub(in crate::session) struct Stocked(Option<Box<Relay>>);

impl Stocked {
    /// Takes a clean one.
    pub(in crate::session) fn take() -> Self {
        let kept = KEPT.with_borrow_mut(Vec::pop);
        Self(Some(kept.unwrap_or_else(|| Box::new(Relay::new()))))
    }
}

impl Deref for Stocked {
    type Target = Relay;
    fn deref(&self) -> &Relay {
        self.0.as_ref().expect("invariant: taken only in drop")
    }
}

impl DerefMut for Stocked {
    fn deref_mut(&mut self) -> &mut Relay {
        self.0.as_mut().expect("invariant: taken only in drop")
    }
}

impl Drop for Stocked {
    fn drop(&mut self) {
        let Some(mut relay) = self.0.take() else { return };
        relay.reset();
        // The thread may be ending, its stock gone already.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(relay);
            }
        });
    }
}
