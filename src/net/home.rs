//! Which thread's poller a socket is registered with.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// A thread, as the place where sockets are polled. Any thread may use any socket; at its own
/// home a wake-up costs no other thread anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home(u32);

impl Home {
    /// The thread this is called on.
    pub fn here() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        thread_local! {
            static HERE: Cell<u32> = const { Cell::new(0) };
        }
        let mut number = HERE.get();
        if number == 0 {
            number = NEXT.fetch_add(1, Ordering::Relaxed);
            HERE.set(number);
        }
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::Home;

    #[test]
    fn every_thread_is_its_own_home() {
        assert_eq!(Home::here(), Home::here());
        let other = std::thread::spawn(Home::here).join().expect("no panic");
        assert_ne!(Home::here(), other);
    }
}
