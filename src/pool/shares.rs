//! A server's budget is all processes' together: this one's part of it. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::ident::ServerKey;

/// One process's place among those alive, and what it holds beyond its part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Which one it is, counted from zero.
    pub rank: u32,
    /// Among how many it has split the budgets; 0: it holds nothing.
    pub parts: u32,
    /// Connections it holds of a server where that is more than its part: its share was larger
    /// before, and what is leased is not cut.
    pub beyond: BTreeMap<String, u32>,
}

impl Place {
    /// A process that is alone.
    pub fn alone() -> Self {
        Self { rank: 0, parts: 1, beyond: BTreeMap::new() }
    }

    /// Its part of `total`. What does not divide goes to the first, one each.
    fn part(&self, total: u32) -> u32 {
        if self.parts == 0 {
            return 0;
        }
        total / self.parts + u32::from(self.rank < total % self.parts)
    }

    /// What it may hold at most.
    fn holds(&self, server: &str, total: u32) -> u32 {
        let part = self.part(total);
        self.beyond.get(server).map_or(part, |beyond| part.max(*beyond))
    }
}

/// How the budgets are split, as one process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// This process.
    pub own: Place,
    /// The others alive.
    pub others: Vec<Place>,
}

impl Split {
    /// This process alone.
    pub fn alone() -> Self {
        Self { own: Place::alone(), others: Vec::new() }
    }

    /// Nothing is known of the others yet: this process holds nothing.
    pub fn unknown() -> Self {
        Self { own: Place::default(), others: Vec::new() }
    }

    /// This process's part, or less as long as others hold more than theirs.
    fn own(&self, server: &str, total: u32) -> u32 {
        let held = self.others.iter().map(|other| other.holds(server, total));
        let left = total.saturating_sub(held.fold(0, u32::saturating_add));
        self.own.part(total).min(left)
    }
}

/// What every budget is as a whole, and how it is split.
#[derive(Debug)]
pub(super) struct Shares {
    totals: HashMap<ServerKey, u32>,
    default: u32,
    now: Split,
    /// What will be in force once the others know of it; until then the smaller part counts.
    next: Option<Split>,
}

impl Shares {
    /// This process alone, on servers with budgets of `default` unless told otherwise.
    pub(super) fn new(default: u32) -> Self {
        Self { totals: HashMap::new(), default, now: Split::alone(), next: None }
    }

    pub(super) fn set_total(&mut self, server: &ServerKey, total: u32) {
        self.totals.insert(server.clone(), total);
    }

    /// Gives up what `split` does not leave to this process, and takes nothing more yet.
    pub(super) fn narrow(&mut self, split: Split) {
        self.next = Some(split);
    }

    /// Puts a split in force. `false` when that is nothing new.
    pub(super) fn set_split(&mut self, split: Split) -> bool {
        let is_new = self.now != split || self.next.is_some();
        (self.now, self.next) = (split, None);
        is_new
    }

    /// Whether the split in force leaves this process a place.
    pub(super) fn is_known(&self) -> bool {
        self.now.own.parts > 0
    }

    /// Which of how many processes this one is; counted as two while that is not known.
    pub(super) fn place(&self) -> (u32, u32) {
        let own = &self.next.as_ref().unwrap_or(&self.now).own;
        if own.parts == 0 { (0, 2) } else { (own.rank, own.parts) }
    }

    /// This process's part of a server's budget in a split.
    pub(super) fn part_of(split: &Split, server: &str, total: u32) -> u32 {
        split.own(server, total)
    }

    /// The budget of all processes together.
    pub(super) fn total(&self, server: &ServerKey) -> u32 {
        self.totals.get(server).copied().unwrap_or(self.default)
    }

    /// This process's part.
    pub(super) fn own(&self, server: &ServerKey) -> u32 {
        let total = self.total(server);
        let next = self.next.as_ref().map_or(u32::MAX, |next| next.own(server.as_str(), total));
        self.now.own(server.as_str(), total).min(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(rank: u32, parts: u32) -> Place {
        Place { rank, parts, beyond: BTreeMap::new() }
    }

    fn split(rank: u32, count: u32) -> Split {
        let others = (0..count).filter(|n| *n != rank).map(|n| place(n, count)).collect();
        Split { own: place(rank, count), others }
    }

    #[test]
    fn the_parts_are_the_whole() {
        let server = ServerKey::new("pg");
        for total in [0, 1, 2, 7, 90, 100] {
            for count in 1..12 {
                let part = |rank| {
                    let mut shares = Shares::new(total);
                    shares.set_split(split(rank, count));
                    shares.own(&server)
                };
                let parts: Vec<_> = (0..count).map(part).collect();
                assert_eq!(parts.iter().sum::<u32>(), total, "{total} by {count}");
                assert!(parts.iter().max().unwrap_or(&0) - parts.iter().min().unwrap_or(&0) <= 1);
            }
        }
    }

    #[test]
    fn a_newcomer_takes_what_the_others_have_let_go() {
        let server = ServerKey::new("pg");
        let mut shares = Shares::new(90);
        shares.set_split(Split::unknown());
        assert_eq!((shares.own(&server), shares.is_known()), (0, false));
        let mut other = place(0, 1);
        let of = |other: &Place| Split { own: place(1, 2), others: vec![other.clone()] };
        shares.set_split(of(&other));
        assert_eq!(shares.own(&server), 0, "the other holds all as far as one knows");
        assert!(shares.is_known());
        other = place(0, 2);
        other.beyond.insert("pg".into(), 60);
        shares.set_split(of(&other));
        assert_eq!(shares.own(&server), 30);
        assert_eq!(shares.own(&ServerKey::new("else")), 45);
        other.beyond.clear();
        shares.set_split(of(&other));
        assert_eq!(shares.own(&server), 45);
    }

    #[test]
    fn who_gives_up_does_so_before_the_others_take() {
        let server = ServerKey::new("big");
        let mut shares = Shares::new(10);
        shares.set_total(&server, 40);
        shares.narrow(split(0, 2));
        assert_eq!(shares.own(&server), 20);
        assert!(shares.set_split(split(0, 2)));
        assert!(!shares.set_split(split(0, 2)));
        shares.narrow(split(0, 1));
        assert_eq!(shares.own(&server), 20, "nothing is taken before the others know");
        shares.set_split(split(0, 1));
        assert_eq!((shares.own(&server), shares.own(&ServerKey::new("other"))), (40, 10));
    }
}
