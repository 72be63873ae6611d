//! A server's budget is all processes' together: this one's part of it. Pure.

use std::collections::HashMap;

use crate::ident::ServerKey;

/// What every budget is as a whole, and which of how many processes this one is.
#[derive(Debug)]
pub(super) struct Shares {
    totals: HashMap<ServerKey, u32>,
    default: u32,
    rank: u32,
    count: u32,
}

impl Shares {
    /// This process alone, on servers with budgets of `default` unless told otherwise.
    pub(super) fn new(default: u32) -> Self {
        Self { totals: HashMap::new(), default, rank: 0, count: 1 }
    }

    pub(super) fn set_total(&mut self, server: &ServerKey, total: u32) {
        self.totals.insert(server.clone(), total);
    }

    /// This process is number `rank`, counted from zero, of `count`. `false` when that is nothing
    /// new.
    pub(super) fn set_place(&mut self, rank: u32, count: u32) -> bool {
        let count = count.max(1);
        let place = (rank.min(count - 1), count);
        let is_new = place != (self.rank, self.count);
        (self.rank, self.count) = place;
        is_new
    }

    /// The budget of all processes together.
    pub(super) fn total(&self, server: &ServerKey) -> u32 {
        self.totals.get(server).copied().unwrap_or(self.default)
    }

    /// This process's part. What does not divide goes to the first, one each, so that the parts
    /// of all are never more than the whole.
    pub(super) fn own(&self, server: &ServerKey) -> u32 {
        let total = self.total(server);
        total / self.count + u32::from(self.rank < total % self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole() {
        let server = ServerKey::new("pg");
        for total in [0, 1, 2, 7, 90, 100] {
            for count in 1..12 {
                let part = |rank| {
                    let mut shares = Shares::new(total);
                    shares.set_place(rank, count);
                    shares.own(&server)
                };
                let parts: Vec<_> = (0..count).map(part).collect();
                assert_eq!(parts.iter().sum::<u32>(), total, "{total} by {count}");
                assert!(parts.iter().max().unwrap_or(&0) - parts.iter().min().unwrap_or(&0) <= 1);
            }
        }
    }

    #[test]
    fn a_place_beyond_the_last_is_the_last() {
        let mut shares = Shares::new(10);
        assert!(!shares.set_place(0, 0));
        assert!(shares.set_place(9, 2));
        assert!(!shares.set_place(1, 2));
        shares.set_total(&ServerKey::new("big"), 41);
        assert_eq!(shares.own(&ServerKey::new("big")), 20);
        assert_eq!(shares.own(&ServerKey::new("other")), 5);
    }
}
