//! Connections that have not logged in yet: counted, and who floods gives way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::net::network;

/// The seats of connections before login. Cheap to clone.
///
/// When all are taken the connection that has sat longest is dropped, not the newest: who opens
/// sockets and says nothing pushes out its own. So that a flood does not push out those who only
/// take longer than it does to come round, a network with more than its share of the seats gives way
/// before the others.
#[derive(Debug, Clone)]
pub struct HalfOpen(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    seats: Mutex<Seats>,
}

/// Whom an address stands for; who comes by a unix socket has none.
type Network = Option<IpAddr>;

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    /// A network's share.
    share: usize,
    taken: BTreeMap<u64, (Network, oneshot::Sender<()>)>,
    networks: HashMap<Network, BTreeSet<u64>>,
    /// Those with more than their share. There is room for fewer than [`SHARES`].
    crowds: HashSet<Network>,
}

/// So many networks together may have all seats before one of them has more than its share.
const SHARES: usize = 8;

impl Seats {
    fn take(&mut self, network: Network) -> (u64, oneshot::Receiver<()>) {
        let (evict, evicted) = oneshot::channel();
        let id = self.next;
        self.next += 1;
        self.taken.insert(id, (network, evict));
        let own = self.networks.entry(network).or_default();
        own.insert(id);
        if own.len() > self.share {
            self.crowds.insert(network);
        }
        (id, evicted)
    }

    fn leave(&mut self, id: u64) -> Option<oneshot::Sender<()>> {
        let (network, evict) = self.taken.remove(&id)?;
        let own = self.networks.get_mut(&network)?;
        own.remove(&id);
        if own.len() <= self.share {
            self.crowds.remove(&network);
        }
        if own.is_empty() {
            self.networks.remove(&network);
        }
        Some(evict)
    }

    /// Who is to give way.
    fn oldest(&self) -> Option<u64> {
        let crowds = self.crowds.iter().filter_map(|network| self.networks.get(network));
        let crowded = crowds.filter_map(BTreeSet::first).min().copied();
        crowded.or_else(|| self.taken.first_key_value().map(|(id, _)| *id))
    }
}

impl HalfOpen {
    /// At most `max` seats, at least one.
    pub fn new(max: usize) -> Self {
        let max = max.max(1);
        let seats = Seats { share: (max / SHARES).max(1), ..Seats::default() };
        Self(Arc::new(Inner { max, seats: Mutex::new(seats) }))
    }

    /// Takes a seat for a connection from that address, from another one if need be.
    pub fn enter(&self, from: Option<IpAddr>) -> HalfOpenSeat {
        let mut seats = self.0.seats();
        if seats.taken.len() >= self.0.max
            && let Some(evict) = seats.oldest().and_then(|id| seats.leave(id))
        {
            // Gone already: then the seat is free all the same.
            let _ = evict.send(());
        }
        let (id, evicted) = seats.take(from.map(network));
        HalfOpenSeat { inner: Arc::clone(&self.0), id, evicted }
    }

    /// How many seats are taken.
    pub fn len(&self) -> usize {
        self.0.seats().taken.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.inner.seats().leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn seat(half_open: &HalfOpen, last: u8) -> HalfOpenSeat {
        half_open.enter(Some(IpAddr::from([192, 0, 2, last])))
    }

    fn is_evicted(seat: &mut HalfOpenSeat) -> bool {
        seat.evicted().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_gives_way() {
        let half_open = HalfOpen::new(2);
        let mut first = half_open.enter(None);
        let second = seat(&half_open, 1);
        drop(second);
        let mut third = seat(&half_open, 2);
        assert_eq!(half_open.len(), 2);
        let _fourth = seat(&half_open, 3);
        assert!(is_evicted(&mut first) && !is_evicted(&mut third));
        drop(first);
        assert_eq!(half_open.len(), 2);
    }

    #[test]
    fn who_floods_pushes_out_its_own_however_long_others_take() {
        let half_open = HalfOpen::new(80);
        let mut slow: Vec<_> = (10..20).map(|last| seat(&half_open, last)).collect();
        let mut flood = Vec::new();
        for n in 0..1_000 {
            flood.push(seat(&half_open, 1));
            if n % 100 == 0 {
                // Others come all the time, and there are two floods at times.
                slow.push(seat(&half_open, 30));
                flood.extend((0..20).map(|_| seat(&half_open, 2)));
            }
        }
        assert_eq!(half_open.len(), 80);
        assert!(!slow.iter_mut().any(is_evicted));
        let kept = flood.iter_mut().map(is_evicted).filter(|evicted| !evicted).count();
        assert_eq!(kept, 80 - slow.len());
        drop((slow, flood));
        let seats = half_open.0.seats();
        assert!(seats.taken.is_empty() && seats.networks.is_empty() && seats.crowds.is_empty());
    }

    #[test]
    fn one_who_floods_from_many_networks_is_as_one_who_does_not() {
        let half_open = HalfOpen::new(16);
        let mut seats: Vec<_> = (0..32).map(|last| seat(&half_open, last)).collect();
        assert_eq!(
            seats.iter_mut().map(is_evicted).collect::<Vec<_>>(),
            [[true; 16], [false; 16]].concat()
        );
    }
}
