//! Connections that have not logged in yet: counted, and the oldest gives way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The seats of connections before login. Cheap to clone.
///
/// When all are taken the connection that has sat longest is dropped, not the newest: who opens
/// sockets and says nothing pushes out its own.
#[derive(Debug, Clone)]
pub struct HalfOpen(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    taken: BTreeMap<u64, oneshot::Sender<()>>,
}

impl HalfOpen {
    /// At most `max` seats, at least one.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Inner { max: max.max(1), seats: Mutex::default() }))
    }

    /// Takes a seat, from the one who has had it longest if need be.
    pub fn enter(&self) -> HalfOpenSeat {
        let (evict, evicted) = oneshot::channel();
        let mut seats = self.0.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.taken.len() >= self.0.max
            && let Some((_, oldest)) = seats.taken.pop_first()
        {
            // Gone already: then the seat is free all the same.
            let _ = oldest.send(());
        }
        let id = seats.next;
        seats.next += 1;
        seats.taken.insert(id, evict);
        HalfOpenSeat { inner: Arc::clone(&self.0), id, evicted }
    }

    /// How many seats are taken.
    pub fn len(&self) -> usize {
        self.0.seats.lock().unwrap_or_else(PoisonError::into_inner).taken.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A seat; given back when dropped.
#[derive(Debug)]
pub struct HalfOpenSeat {
    inner: Arc<Inner>,
    id: u64,
    evicted: oneshot::Receiver<()>,
}

impl HalfOpenSeat {
    /// Ends when another connection needs the seat.
    pub(super) async fn evicted(&mut self) {
        if (&mut self.evicted).await.is_err() {
            // The sender goes only with the seat.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for HalfOpenSeat {
    fn drop(&mut self) {
        self.inner.seats.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_gives_way() {
        let half_open = HalfOpen::new(2);
        let mut first = half_open.enter();
        let second = half_open.enter();
        drop(second);
        let _third = half_open.enter();
        assert_eq!(half_open.len(), 2);
        let _fourth = half_open.enter();
        first.evicted().await;
        drop(first);
        assert_eq!(half_open.len(), 2);
    }
}
