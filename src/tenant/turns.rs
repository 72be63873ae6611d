//! Whose turn it is to have the registry asked for something that anybody may name.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// So many at once, network by network in turn: who asks for thousands waits behind those alone.
/// When too many wait, the last of the network that has most of them waiting is sent away.
#[derive(Debug)]
pub(super) struct Turns {
    waiting_max: usize,
    state: Mutex<State>,
}

/// A network, or the sockets of this machine.
type Network = Option<IpAddr>;

#[derive(Debug)]
struct State {
    free: usize,
    waiting: usize,
    lines: HashMap<Network, VecDeque<oneshot::Sender<Turn>>>,
    /// Networks with a line, the next to be served first.
    next: VecDeque<Network>,
}

/// Too many wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

/// A turn; the next one's when dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// `at_once` turns, for which at most `waiting_max` wait.
    pub(super) fn new(at_once: usize, waiting_max: usize) -> Arc<Self> {
        let (lines, next) = (HashMap::new(), VecDeque::new());
        let state = Mutex::new(State { free: at_once, waiting: 0, lines, next });
        Arc::new(Self { waiting_max, state })
    }

    /// Waits for a turn. Who stops waiting loses nothing but the place.
    ///
    /// # Errors
    /// [`Crowded`]: others have to be served first, and too many wait.
    pub(super) async fn take(self: &Arc<Self>, network: Network) -> Result<Turn, Crowded> {
        let place = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(Arc::clone(self))));
            }
            if state.waiting >= self.waiting_max {
                state.make_room(network)?;
            }
            state.line_up(network)
        };
        place.await.map_err(|_| Crowded)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line_up(&mut self, network: Network) -> oneshot::Receiver<Turn> {
        let (serve, served) = oneshot::channel();
        let line = self.lines.entry(network).or_default();
        if line.is_empty() {
            self.next.push_back(network);
        }
        line.push_back(serve);
        self.waiting += 1;
        served
    }

    /// Sends the last of the longest line away, unless the newcomer would stand there.
    fn make_room(&mut self, newcomer: Network) -> Result<(), Crowded> {
        let own = self.lines.get(&newcomer).map_or(0, VecDeque::len);
        let longest = self.lines.iter().max_by_key(|(_, line)| line.len());
        let Some((&network, _)) = longest.filter(|(_, line)| line.len() > own + 1) else {
            return Err(Crowded);
        };
        // It has two at least: the network keeps its place.
        if self.lines.get_mut(&network).and_then(VecDeque::pop_back).is_some() {
            self.waiting -= 1;
        }
        Ok(())
    }

    /// The next to be served, who may have left.
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let network = self.next.pop_front()?;
        let line = self.lines.get_mut(&network)?;
        let first = line.pop_front()?;
        self.waiting -= 1;
        if line.is_empty() {
            self.lines.remove(&network);
        } else {
            self.next.push_back(network);
        }
        Some(first)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        loop {
            let first = {
                let mut state = turns.state();
                let first = state.pop();
                state.free += usize::from(first.is_none());
                first
            };
            let Some(first) = first else { return };
            let turn = Self(Some(Arc::clone(&turns)));
            let Err(mut refused) = first.send(turn) else { return };
            // Its receiver has left: the next one's, from here.
            refused.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt as _;

    use super::*;

    const A: Network = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const B: Network = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));

    #[tokio::test]
    async fn networks_are_served_in_turn_whatever_one_asks_for() {
        let turns = Turns::new(1, 100);
        let turn = turns.take(A).await.expect("free");
        let mut flood: Vec<_> = (0..50).map(|_| Box::pin(turns.take(A))).collect();
        assert!(flood.iter_mut().all(|f| f.as_mut().now_or_never().is_none()));
        let mut other = Box::pin(turns.take(B));
        let mut local = Box::pin(turns.take(None));
        assert!(other.as_mut().now_or_never().is_none());
        assert!(local.as_mut().now_or_never().is_none());
        drop(turn);
        drop(flood.remove(0).await.expect("first come"));
        drop(other.await.expect("next, before forty-nine"));
        drop(local.await.expect("and then"));
        drop(flood);
        assert_eq!(turns.state().free, 1, "a turn is lost with nobody who left");
        assert!(turns.state().lines.is_empty() && turns.state().next.is_empty());
        assert_eq!(turns.state().waiting, 0);
    }

    #[tokio::test]
    async fn the_longest_line_makes_room() {
        let turns = Turns::new(1, 3);
        let turn = turns.take(A).await.expect("free");
        let mut flood: Vec<_> = (0..3).map(|_| Box::pin(turns.take(A))).collect();
        assert!(flood.iter_mut().all(|f| f.as_mut().now_or_never().is_none()));
        assert_eq!(turns.take(A).await.expect_err("full"), Crowded);
        let mut other = Box::pin(turns.take(B));
        assert!(other.as_mut().now_or_never().is_none());
        assert_eq!(flood.pop().expect("one").await.expect_err("sent away"), Crowded);
        // One each and one more: nobody's line is longer by two than the newcomer's would be.
        assert_eq!(turns.take(B).await.expect_err("full"), Crowded);
        drop((turn, flood));
        other.await.expect("served");
        let state = turns.state();
        assert_eq!((state.free, state.waiting), (1, 0));
    }

    #[tokio::test]
    async fn who_leaves_with_a_turn_on_its_way_hands_it_on() {
        let turns = Turns::new(1, 3);
        let turn = turns.take(None).await.expect("free");
        let mut leaves = Box::pin(turns.take(A));
        let mut stays = Box::pin(turns.take(B));
        assert!(leaves.as_mut().now_or_never().is_none());
        assert!(stays.as_mut().now_or_never().is_none());
        drop(turn);
        drop(leaves);
        stays.await.expect("served");
    }
}
