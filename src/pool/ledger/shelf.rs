//! The idle servers, and who may have which.
//!
//! A server remembers the session that had it last, and that session finds it again while nobody
//! else has taken it: what PostgreSQL keeps for a session (sequences, plans, statistics) is then
//! there. Each class has three lanes. In `Held` lie servers that only their session may have, for
//! a moment. In `Warm`, those whose session was here within the last second: others take them
//! last, and the one first whose session has been away for longest. In `Free`, those for anybody,
//! the warmest first, so that servers that are too many grow old and are closed.
//!
//! Every operation on the way of a transaction costs the same however many servers there are: the
//! lanes are linked lists through one array, and a server moves down a lane once per lease at most.

use std::time::{Duration, Instant};

use super::Kept;
use crate::pool::{Asker, Class};

/// For how long a session is expected back.
const WARM: Duration = Duration::from_secs(1);

/// For how long a server is held for its session alone. Who inserts a row and then asks for its
/// number asks at once; longer than that, others have waited long enough.
pub(in crate::pool) const HOLD: Duration = Duration::from_millis(50);

/// How many servers a new session is shown at most.
const LOOKS: usize = 32;

const NOWHERE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Held,
    Warm,
    Free,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    top: u32,
    bottom: u32,
}

/// The lanes of one class.
#[derive(Debug, Clone, Copy)]
struct Lanes([Ends; 3]);

struct Cell<V> {
    /// `None`: the cell is free, and `below` the next free one.
    kept: Option<Kept<V>>,
    class: Class,
    lane: Lane,
    above: u32,
    below: u32,
}

/// See the module's text.
pub(super) struct Shelf<V> {
    cells: Vec<Cell<V>>,
    unused: u32,
    lanes: Vec<Lanes>,
    count: u32,
}

impl<V> Shelf<V> {
    pub(super) fn new() -> Self {
        Self { cells: Vec::new(), unused: NOWHERE, lanes: Vec::new(), count: 0 }
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Puts a server on top of its lane. Returns where it lies.
    pub(super) fn put(&mut self, class: Class, kept: Kept<V>, hold: bool) -> u32 {
        let lane = match (kept.session, hold) {
            (0, _) => Lane::Free,
            (_, true) => Lane::Held,
            (_, false) => Lane::Warm,
        };
        if self.lanes.len() <= class.index() {
            let none = Ends { top: NOWHERE, bottom: NOWHERE };
            self.lanes.resize(class.index() + 1, Lanes([none; 3]));
        }
        let cell = Cell { kept: Some(kept), class, lane, above: NOWHERE, below: NOWHERE };
        let at = self.unused;
        let at = if let Some(unused) = self.cells.get_mut(index(at)) {
            self.unused = unused.below;
            *unused = cell;
            at
        } else {
            self.cells.push(cell);
            u32::try_from(self.cells.len() - 1).unwrap_or(NOWHERE)
        };
        self.link(at);
        self.count += 1;
        at
    }

    /// The server its session had last, if nobody has had it since.
    pub(super) fn take_own(&mut self, class: Class, asker: &Asker) -> Option<Kept<V>> {
        let at = asker.place?;
        let cell = self.cells.get_mut(index(at))?;
        let kept = cell.kept.as_mut().filter(|kept| kept.session == asker.session)?;
        if !class.takes(cell.class) {
            // It gets another now: this is its last no more, whatever becomes of that one.
            kept.session = 0;
            return None;
        }
        self.take_at(at)
    }

    /// Whether a client of `class` may have one of them, now or when it is no longer held.
    pub(super) fn has(&self, class: Class) -> bool {
        let lanes = [Lane::Held, Lane::Warm, Lane::Free];
        let fit = [class, class.plain()];
        fit.iter().any(|class| lanes.iter().any(|lane| self.ends(*class, *lane).top != NOWHERE))
    }

    /// A server for a client of `class`: of its own flavour first, and of those whose session is
    /// expected back only if there is no other. A `picky` client can have a new one: it takes
    /// neither these nor a worn one nor one without its flavour.
    pub(super) fn take(&mut self, class: Class, picky: bool, now: Instant) -> Option<Kept<V>> {
        self.settle(class, now);
        if !class.is_plain() {
            self.settle(class.plain(), now);
        }
        let own = self.ends(class, Lane::Free).top;
        if picky {
            let kept = self.cells.get(index(own)).and_then(|cell| cell.kept.as_ref());
            let good = kept.is_some_and(|kept| !kept.stamp.is_worn);
            return if good { self.take_at(own) } else { None };
        }
        let free = [own, self.ends(class.plain(), Lane::Free).top];
        let warm = [class, class.plain()].map(|class| self.ends(class, Lane::Warm).bottom);
        let at = free.into_iter().chain(warm).find(|at| *at != NOWHERE)?;
        self.take_at(at)
    }

    /// Puts aside for a new session a server that anybody may have and `pick` takes, as if it had
    /// been the session's last. Of its very class: what it would be given first. Returns where it
    /// lies.
    pub(super) fn introduce(
        &mut self,
        (class, session): (Class, u64),
        now: Instant,
        pick: &mut dyn FnMut(&mut V) -> bool,
    ) -> Option<u32> {
        self.settle(class, now);
        let mut at = self.ends(class, Lane::Free).top;
        for _ in 0..LOOKS {
            let cell = self.cells.get_mut(index(at))?;
            let kept = cell.kept.as_mut()?;
            if !kept.stamp.is_worn && pick(&mut kept.server) {
                (kept.session, kept.parked) = (session, now);
                self.shift(at, Lane::Warm);
                return Some(at);
            }
            at = cell.below;
        }
        None
    }

    /// A session gets something else, or with `leaves` has ended: the server that was put aside
    /// for it is for others, and its last no more. Returns where it lies if it is to be closed.
    pub(super) fn release(&mut self, asker: &Asker, leaves: bool) -> Option<u32> {
        let at = asker.place?;
        let cell = self.cells.get_mut(index(at))?;
        let lane = cell.lane;
        let kept = cell.kept.as_mut().filter(|kept| kept.session == asker.session)?;
        let is_worn = kept.stamp.is_worn;
        kept.session = 0;
        if leaves {
            self.shift(at, Lane::Free);
        } else if lane == Lane::Held {
            self.shift(at, Lane::Warm);
        }
        (leaves && is_worn).then_some(at)
    }

    /// The server that has lain here longest, except those that a client of `except` may have.
    /// Those held for their sessions only when `all` is said.
    pub(super) fn coldest(&self, except: Option<Class>, all: bool) -> Option<(u32, Instant)> {
        let lanes = if all { &[Lane::Free, Lane::Warm, Lane::Held][..] } else { &FOR_OTHERS[..] };
        let bottoms = self.lanes.iter().flat_map(|of| lanes.iter().map(|l| of.0[*l as usize]));
        bottoms
            .filter_map(|ends| {
                let cell = self.cells.get(index(ends.bottom))?;
                let kept = cell.kept.as_ref()?;
                let fits = except.is_some_and(|class| class.takes(cell.class));
                (!fits).then_some((ends.bottom, kept.parked))
            })
            .min_by_key(|(_, parked)| *parked)
    }

    /// Lets go of what was held for long enough.
    pub(super) fn settle_all(&mut self, now: Instant) {
        for n in 0..self.lanes.len() {
            self.settle_lanes(n, now);
        }
    }

    /// When the next server is no longer held for its session: what is past has been.
    pub(super) fn releases(&self, now: Instant) -> Option<Instant> {
        let bottoms = self.lanes.iter().map(|of| of.0[Lane::Held as usize].bottom);
        let next = bottoms.filter_map(|bottom| {
            let mut at = bottom;
            // The oldest lies at the bottom: the first that is still held is the next.
            while let Some(cell) = self.cells.get(index(at)) {
                let ends = cell.kept.as_ref()?.parked + HOLD;
                if ends > now {
                    return Some(ends);
                }
                at = cell.above;
            }
            None
        });
        next.min()
    }

    /// Takes the server at `at`.
    pub(super) fn take_at(&mut self, at: u32) -> Option<Kept<V>> {
        self.cells.get(index(at)).filter(|cell| cell.kept.is_some())?;
        self.unlink(at);
        let cell = &mut self.cells[index(at)];
        cell.below = self.unused;
        let kept = cell.kept.take();
        self.unused = at;
        self.count -= 1;
        kept
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kept<V>> {
        self.cells.iter().filter_map(|cell| cell.kept.as_ref())
    }

    /// Takes all that `is_spent` picks.
    pub(super) fn extract(
        &mut self,
        mut is_spent: impl FnMut(&mut Kept<V>) -> bool,
    ) -> Vec<Kept<V>> {
        let mut spent = Vec::new();
        for at in 0..u32::try_from(self.cells.len()).unwrap_or(NOWHERE) {
            if self.cells[index(at)].kept.as_mut().is_some_and(&mut is_spent) {
                spent.extend(self.take_at(at));
            }
        }
        if self.count == 0 {
            (self.cells, self.unused) = (Vec::new(), NOWHERE);
        }
        spent
    }

    fn settle(&mut self, class: Class, now: Instant) {
        if class.index() < self.lanes.len() {
            self.settle_lanes(class.index(), now);
        }
    }

    /// Moves what has lain in a lane for its time to the next, warmest last.
    fn settle_lanes(&mut self, n: usize, now: Instant) {
        for (from, to, span) in [(Lane::Held, Lane::Warm, HOLD), (Lane::Warm, Lane::Free, WARM)] {
            loop {
                let at = self.lanes[n].0[from as usize].bottom;
                let parked =
                    self.cells.get(index(at)).and_then(|c| c.kept.as_ref()).map(|k| k.parked);
                if parked.is_none_or(|at| now.saturating_duration_since(at) < span) {
                    break;
                }
                self.shift(at, to);
            }
        }
    }

    fn ends(&self, class: Class, lane: Lane) -> Ends {
        let none = Ends { top: NOWHERE, bottom: NOWHERE };
        self.lanes.get(class.index()).map_or(none, |of| of.0[lane as usize])
    }

    fn shift(&mut self, at: u32, to: Lane) {
        self.unlink(at);
        self.cells[index(at)].lane = to;
        self.link(at);
    }

    /// Puts a cell on top of the lane it says.
    fn link(&mut self, at: u32) {
        let cell = &mut self.cells[index(at)];
        let ends = &mut self.lanes[cell.class.index()].0[cell.lane as usize];
        (cell.above, cell.below) = (NOWHERE, ends.top);
        let below = ends.top;
        ends.top = at;
        if below == NOWHERE {
            ends.bottom = at;
        } else {
            self.cells[index(below)].above = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let cell = &self.cells[index(at)];
        let (above, below) = (cell.above, cell.below);
        let ends = &mut self.lanes[cell.class.index()].0[cell.lane as usize];
        match above {
            NOWHERE => ends.top = below,
            above => self.cells[index(above)].below = below,
        }
        match below {
            NOWHERE => ends.bottom = above,
            below => self.cells[index(below)].above = above,
        }
    }
}

/// The lanes whose servers anybody may have.
const FOR_OTHERS: [Lane; 2] = [Lane::Free, Lane::Warm];

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Ledger, Stamp};
    use super::*;
    use crate::pool::Limits;

    fn kept(server: u32, parked: Instant) -> Kept<u32> {
        let stamp = Stamp { since: parked, retires: None, epoch: 0, lent: parked, is_worn: false };
        Kept { server, stamp, parked, session: 1 }
    }

    /// Whatever becomes of the server it gets instead: one that is destroyed is not given back.
    #[test]
    fn who_gets_another_server_has_no_last_one_here() {
        let (now, class) = (Instant::now(), Class::new(0));
        let mut ledger: Ledger<(), u32> = Ledger::new(Limits::default());
        let put = |ledger: &mut Ledger<(), u32>| {
            let place = Some(ledger.idle.put(class, kept(7, now), true));
            Asker { session: 1, place, ..Asker::STRANGER }
        };
        let asker = put(&mut ledger);
        assert_eq!(ledger.idle.take_own(class, &asker).map(|kept| kept.server), Some(7));
        // It stands in line.
        let asker = put(&mut ledger);
        ledger.let_go(&asker);
        assert!(ledger.idle.take_own(class, &asker).is_none());
        // It asks with other settings, and then with those again.
        let asker = put(&mut ledger);
        assert!(ledger.idle.take_own(Class::new(1), &asker).is_none());
        assert!(ledger.idle.take_own(class, &asker).is_none());
    }

    #[test]
    fn a_hold_that_is_over_hides_none_that_is_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ledger: Ledger<(), u32> = Ledger::new(Limits::default());
        for (class, server, parked) in [(0, 1, 0), (1, 2, 20), (1, 3, 40)] {
            ledger.idle.put(Class::new(class), kept(server, at(parked)), true);
        }
        let held = u64::try_from(HOLD.as_millis()).unwrap_or(u64::MAX);
        assert_eq!(ledger.wakes(at(5)), None, "nobody waits");
        assert!(ledger.join(Class::new(0), at(5), ()).is_ok());
        for (now, next) in
            [(5, Some(0)), (held, Some(20)), (held + 20, Some(40)), (held + 40, None)]
        {
            assert_eq!(ledger.wakes(at(now)), next.map(|parked| at(parked + held)), "{now}");
        }
    }
}
