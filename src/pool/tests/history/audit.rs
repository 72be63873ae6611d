//! What holds after every step, and at the end of all of them.

use super::*;

impl World {
    /// The ledgers and the budget tell the same, and nobody waits for what is there.
    pub(super) fn audit(&self) {
        let (mut used, mut closing, mut dialing, mut pinned) = (0, 0, 0, 0);
        for member in &self.members {
            let room = member.room();
            let (share, totals, total) = room.till_figures();
            let book = room.book();
            let counts = book.counts();
            let id = room.tenant().as_str();
            assert_eq!(share.used, book.used(), "{id}: slots of the ledger and of the budget");
            assert_eq!(share.pinned, counts.pinned, "{id}: pins");
            assert_eq!(self.postgres.count(id), book.used(), "{id}: PostgreSQL's own count");
            used += book.used();
            closing += counts.closing;
            dialing += counts.dialing;
            pinned += counts.pinned;
            if counts.waiting > 0 && book.gate() == Gate::Open && book.dials() == Dials::Open {
                let bound = book.used() >= book.cap();
                assert!(bound || share.wanted > 0, "{id}: waits for nothing: {counts:?} {share:?}");
                let free = !totals.is_full
                    && totals.used < total
                    && totals.dialing < 4
                    && counts.dialing < 2;
                assert!(bound || !free, "{id}: a free slot is not given: {counts:?} {totals:?}");
            }
        }
        let totals = self.members[0].room().till_figures().1;
        assert_eq!((used, closing), (totals.used, totals.closing));
        assert_eq!((dialing, pinned), (totals.dialing, totals.pinned));
    }

    /// Everything in use ends: everybody in line is served, and nothing is left.
    pub(super) fn quiesce(&mut self) {
        self.pools.set_split(Split::alone());
        self.note_budget();
        for member in &self.members {
            let mut deeds = Deeds::new();
            member.room().set_gate(Gate::Open, self.now, &mut deeds);
            deeds.perform(self.now);
        }
        for _ in 0..20_000 {
            if let Some((mut lease, client)) = self.leases.pop() {
                lease.unpin_all();
                self.clients.returns(lease, client, true, self.now);
                self.clients.done(client);
            }
            if let Some((slot, hold, client)) = self.dials.pop() {
                let class = slot.class();
                let lease = slot.opened_at(fake(class, hold), self.now);
                self.clients.lent(&lease, client, self.now);
                self.leases.push((lease, client));
            }
            let ended = lock(&self.postgres.closing).pop();
            drop(ended.map(|(hold, slot)| {
                drop(hold);
                slot
            }));
            self.now += Duration::from_millis(10);
            self.pools.tick(self.now);
            self.claim_all();
        }
        for member in &self.members {
            let room = member.room();
            let (book, till) = (room.book(), room.till_figures());
            let counts = book.counts();
            let state = (book.dials(), book.limits(), till);
            assert_eq!(
                counts.waiting, 0,
                "waits for ever: {counts:?} {state:?} {}",
                book.told_want
            );
        }
        assert!(self.tickets.is_empty(), "{} answers were lost", self.tickets.len());
    }
}
