//! What other pgusher processes leave of a tenant's cap. Pure, like the ledger around it.
//!
//! PostgreSQL's CONNECTION LIMIT holds the cap over all processes, first come first served. So
//! that none of them starves, one that is refused there tells the others ([`Claim`]), and for a
//! short while each keeps to its part: the cap by the number of those who want servers, what does
//! not divide going round. Nobody gives up what the others do not want.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Dials, Ledger};

/// Another process was refused a server of the tenant.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which process.
    pub from: Arc<str>,
    /// Which process hears it.
    pub to: Arc<str>,
    /// Servers it holds.
    pub held: u32,
    /// Servers it could use beyond those.
    pub wants: u32,
    /// A number all processes count alike, one more every [`Claim::ROUND`]: whose turn it is to
    /// have one more where the cap does not divide.
    pub round: u64,
}

impl Claim {
    /// How long a process has the odd servers.
    pub const ROUND: Duration = Duration::from_millis(250);
    /// How long a claim holds: a process that still wants will be refused, and say so, again.
    pub(in crate::pool) const LIFE: Duration = Duration::from_millis(500);
}

/// Processes beyond these are not kept apart: their claims are dropped.
const RIVALS_MAX: usize = 64;

#[derive(Debug)]
struct Rival {
    claim: Claim,
    until: Instant,
}

/// Who sees to it that all processes together keep a tenant's cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holder {
    /// Not known yet: every process keeps to its part.
    #[default]
    Unknown,
    /// PostgreSQL, by the CONNECTION LIMIT of the tenant's database.
    PostgreSql,
    /// Nobody: every process keeps to its part, and to one server at least.
    Nobody,
}

/// The other processes' claims, and what follows from them.
#[derive(Debug)]
pub(super) struct Rivals {
    rivals: Vec<Rival>,
    holder: Holder,
    /// Which of how many processes this one is.
    place: (u32, u32),
}

impl Rivals {
    pub(super) fn new() -> Self {
        Self { rivals: Vec::new(), holder: Holder::default(), place: (0, 1) }
    }

    /// Whether somebody else wants servers.
    pub(super) fn is_empty(&self) -> bool {
        self.rivals.is_empty()
    }

    pub(super) fn hear(&mut self, claim: Claim, now: Instant) {
        self.rivals.retain(|r| r.claim.from != claim.from);
        if self.rivals.len() < RIVALS_MAX {
            self.rivals.push(Rival { claim, until: now + Claim::LIFE });
        }
    }

    /// Forgets claims that have had their time.
    pub(super) fn forget(&mut self, now: Instant) {
        self.rivals.retain(|r| now < r.until);
    }

    /// When the next claim ends.
    pub(super) fn ends(&self, now: Instant) -> Option<Instant> {
        self.rivals.iter().map(|r| r.until).filter(|until| *until > now).min()
    }

    /// This process's part where nobody holds the cap over all of them.
    fn part(&self, server_max: u32) -> u32 {
        let (rank, parts) = (self.place.0, self.place.1.max(1));
        let part = server_max / parts + u32::from(rank < server_max % parts);
        match self.holder {
            Holder::PostgreSql => server_max,
            Holder::Unknown => part,
            Holder::Nobody => part.max(1).min(server_max),
        }
    }

    /// How many of `server_max` this process may have now.
    pub(super) fn cap(&self, server_max: u32) -> u32 {
        let most = self.part(server_max);
        let Some(last) = self.rivals.last().map(|r| &r.claim) else { return most };
        let parties = u32::try_from(self.rivals.len()).unwrap_or(u32::MAX).saturating_add(1);
        let fair = |before: usize| {
            let place = (before as u64 + last.round) % u64::from(parties);
            server_max / parties + u32::from(place < u64::from(server_max % parties))
        };
        let before = |name: &str| {
            let others = self.rivals.iter().filter(|r| &*r.claim.from < name).count();
            others + usize::from(&*last.to < name)
        };
        let taken = self.rivals.iter().map(|r| {
            let needs = r.claim.held.saturating_add(r.claim.wants);
            needs.min(fair(before(&r.claim.from)))
        });
        let left = server_max.saturating_sub(taken.fold(0, u32::saturating_add));
        most.min(left.max(fair(before(&last.to))))
    }
}

impl<W, V> Ledger<W, V> {
    /// Servers this process may hold now: `server_max`, or what other processes leave of it.
    pub(in crate::pool) fn cap(&self) -> u32 {
        self.cap
    }

    /// Reckons the cap anew: asked for many times in a transaction, it changes seldom.
    pub(super) fn recap(&mut self) {
        self.cap = self.rivals.cap(self.limits.server_max);
    }

    /// Another process wants servers of the tenant.
    pub(in crate::pool) fn hear(&mut self, claim: Claim, now: Instant) {
        self.rivals.hear(claim, now);
        self.recap();
    }

    /// Whether another process wants some.
    pub(in crate::pool) fn has_rivals(&self) -> bool {
        !self.rivals.is_empty()
    }

    /// Forgets what other processes wanted some time ago.
    pub(in crate::pool) fn forget_rivals(&mut self, now: Instant) {
        if self.has_rivals() {
            self.rivals.forget(now);
            self.recap();
        }
    }

    /// Another process has let a server of the tenant go: PostgreSQL may have room now.
    pub(in crate::pool) fn freed(&mut self) {
        if matches!(self.dials, Dials::Full { .. }) {
            self.dials = Dials::Open;
        }
    }

    /// Says who holds the cap over all processes.
    pub(in crate::pool) fn set_holder(&mut self, holder: Holder) {
        self.rivals.holder = holder;
        self.recap();
    }

    /// This process is number `rank`, counted from zero, of `parts`.
    pub(in crate::pool) fn set_place(&mut self, rank: u32, parts: u32) {
        self.rivals.place = (rank, parts);
        self.recap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(from: &str, held: u32, wants: u32, round: u64) -> Claim {
        Claim { from: from.into(), to: "b".into(), held, wants, round }
    }

    #[test]
    fn who_wants_as_much_gets_as_much() {
        let now = Instant::now();
        let mut rivals = Rivals::new();
        assert_eq!(rivals.cap(10), 10);
        rivals.hear(claim("a", 0, 10, 0), now);
        assert_eq!(rivals.cap(10), 5);
        rivals.hear(claim("a", 0, 2, 0), now);
        assert_eq!(rivals.cap(10), 8, "what nobody wants is kept");
        rivals.hear(claim("c", 0, 200, 0), now);
        assert_eq!(rivals.cap(10), 5);
        rivals.forget(now + Claim::LIFE);
        assert_eq!((rivals.cap(10), rivals.is_empty()), (10, true));
    }

    #[test]
    fn parts_are_never_more_than_the_cap_and_the_odd_ones_go_round() {
        let names = ["a", "b", "c"];
        for cap in 0..12 {
            let mut had = [false; 3];
            for round in 0..3 {
                let part = |me: &str| {
                    let mut rivals = Rivals::new();
                    for other in names.iter().filter(|other| **other != me) {
                        let claim = Claim { to: me.into(), ..claim(other, 0, 99, round) };
                        rivals.hear(claim, Instant::now());
                    }
                    rivals.cap(cap)
                };
                let parts = names.map(part);
                assert_eq!(parts.iter().sum::<u32>(), cap, "{cap} in round {round}: {parts:?}");
                (0..3).for_each(|n| had[n] |= parts[n] > 0);
            }
            assert!(cap == 0 || had == [true; 3], "with {cap}: {had:?}");
        }
    }

    #[test]
    fn a_cap_that_nobody_holds_is_split() {
        let mut rivals = Rivals::new();
        assert_eq!(rivals.cap(10), 10);
        rivals.place = (2, 3);
        assert_eq!((rivals.cap(10), rivals.cap(2)), (3, 0));
        rivals.hear(claim("a", 0, 99, 0), Instant::now());
        assert_eq!(rivals.cap(10), 3);
        rivals.holder = Holder::Nobody;
        assert_eq!((rivals.cap(10), rivals.cap(2), rivals.cap(0)), (3, 1, 0));
        rivals.holder = Holder::PostgreSql;
        assert_eq!(rivals.cap(10), 5);
    }
}
