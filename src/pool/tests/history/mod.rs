//! Random histories of everything that can happen, on the real rooms with a simulated clock.

mod audit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clients::{Client, Clients};
use super::fake::{Dice, Fake, Hold, Postgres, fake, server, tenant, way};
use crate::fault::{Blame, Fault, SqlState};
use crate::pool::deeds::Deeds;
use crate::pool::ledger::{Dials, Gate};
use crate::pool::room::Room;
use crate::pool::{
    Attempt, Claim, FullOf, Grant, Holder, Lease, Limits, Membership, Pin, PinSettings, Place,
    PoolSettings, Pools, Slot, Split, Ticket, lock,
};
use crate::units::Span;

const TENANTS: usize = 6;

/// How many steps: a million, or `PGUSHER_STEPS`.
fn steps() -> usize {
    std::env::var("PGUSHER_STEPS").ok().map_or(1_000_000, |n| n.parse().expect("a number"))
}

struct World {
    dice: Dice,
    now: Instant,
    pools: Pools<Fake>,
    postgres: Arc<Postgres>,
    budget: u32,
    members: Vec<Membership<Fake>>,
    clients: Clients,
    dials: Vec<(Slot<Fake>, Hold, Client)>,
    leases: Vec<(Lease<Fake>, Client)>,
    tickets: Vec<(Ticket<Fake>, Client)>,
    served: u64,
    refused: u64,
    /// Those who had waited too long.
    late: u64,
    /// Servers that went from hand to hand.
    handed: u64,
}

impl World {
    fn new(dice: Dice) -> Self {
        let pool = PoolSettings { dial_max: 4, server_budget: 8, ..PoolSettings::default() };
        let pools = Pools::new(pool, PinSettings::default()).expect("names are fine");
        let now = Instant::now();
        let members = (0..TENANTS)
            .map(|n| pools.enter_at(&tenant(n), &way(), &Limits::default(), now).expect("open"))
            .collect();
        let postgres = Postgres::slow();
        Self {
            dice,
            now,
            pools,
            postgres,
            budget: 8,
            members,
            clients: Clients::new(TENANTS),
            dials: Vec::new(),
            leases: Vec::new(),
            tickets: Vec::new(),
            served: 0,
            refused: 0,
            late: 0,
            handed: 0,
        }
    }

    fn room(&mut self) -> Arc<Room<Fake>> {
        let n = self.dice.below(TENANTS);
        Arc::clone(self.members[n].room())
    }

    /// A random one of `list`, taken out.
    fn pick<T>(dice: &mut Dice, list: &mut Vec<T>) -> Option<T> {
        if list.is_empty() { None } else { Some(list.swap_remove(dice.below(list.len()))) }
    }

    fn got(&mut self, room: &Room<Fake>, grant: Grant<Fake>, client: Client) {
        self.served += 1;
        match grant {
            Grant::Lease(lease) => {
                self.clients.lent(&lease, client, self.now);
                self.leases.push((lease, client));
            }
            Grant::Dial(slot) => {
                let cap = room.book().limits().server_max;
                let id = room.tenant().as_str().to_owned();
                let hold = self.postgres.connect(&id, cap, self.budget);
                self.dials.push((slot, hold, client));
            }
        }
    }

    fn ask(&mut self) {
        let tenant = self.dice.below(TENANTS);
        let room = Arc::clone(self.members[tenant].room());
        let Some(client) = self.clients.idle(tenant, &mut self.dice) else { return };
        let class = client.class();
        let asker = self.clients.asks(client, &mut self.dice);
        match room.lease_at(class, &asker, self.now) {
            Ok(Attempt::Ready(lease)) => self.got(&room, Grant::Lease(lease), client),
            Ok(Attempt::Dial(slot)) => self.got(&room, Grant::Dial(slot), client),
            Ok(Attempt::Wait(ticket)) => self.tickets.push((ticket, client)),
            Err(_) => {
                self.clients.done(client);
                self.refused += 1;
            }
        }
        self.claim_all();
    }

    /// Every ticket that was answered is taken: PostgreSQL counts from the grant.
    fn claim_all(&mut self) {
        let mut n = 0;
        while n < self.tickets.len() {
            let answer = self.tickets[n].0.claim();
            let Some(answer) = answer else {
                n += 1;
                continue;
            };
            let (ticket, client) = self.tickets.swap_remove(n);
            let room = Arc::clone(ticket.room());
            drop(ticket);
            match answer {
                Ok(grant) => self.got(&room, grant, client),
                Err(fault) => {
                    let text = fault.detail_text().unwrap_or_default();
                    self.late += u64::from(text.contains("waited"));
                    self.clients.done(client);
                    self.refused += 1;
                }
            }
        }
    }

    /// Right after the alarms have gone off, nobody has waited too long.
    fn expired(&mut self) {
        for member in &self.members {
            let late = member.room().book().overdue(self.now);
            assert!(late.is_none(), "{late:?} has waited too long");
        }
    }

    fn end_dial(&mut self) {
        let picked = Self::pick(&mut self.dice, &mut self.dials);
        let Some((slot, hold, client)) = picked else { return };
        match self.dice.below(20) {
            0 => {
                self.clients.done(client);
                drop(hold);
                drop(slot);
            }
            1 => {
                self.clients.done(client);
                drop(hold);
                let why = Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, "refused");
                slot.failed_at(&why, self.now);
            }
            2 | 3 => {
                drop(hold);
                let of = if self.dice.below(2) == 0 { FullOf::Tenant } else { FullOf::Server };
                self.tickets.push((slot.refused_full_at(of, self.now), client));
            }
            _ => {
                let class = slot.class();
                let lease = slot.opened_at(fake(class, hold), self.now);
                self.clients.lent(&lease, client, self.now);
                self.leases.push((lease, client));
            }
        }
    }

    fn end_lease(&mut self) {
        let picked = Self::pick(&mut self.dice, &mut self.leases);
        let Some((mut lease, client)) = picked else { return };
        match self.dice.below(24) {
            0 => lease.destroy_at(self.now),
            1 => drop(lease),
            2 => {
                lease.is_alive = false;
                lease.finish_at(self.now);
            }
            3 | 4 => {
                let reason = Pin::ALL[self.dice.below(Pin::ALL.len())];
                let pinned = lease.pins().with(reason);
                drop(lease.repin(pinned, self.now));
                self.leases.push((lease, client));
                return;
            }
            5 => {
                lease.unpin_all();
                lease.finish_at(self.now);
            }
            _ => {
                lease.unpin_all();
                if self.dice.below(30) == 0 {
                    lease.wear();
                }
                let hold = self.dice.below(4) == 0;
                let room = Arc::clone(self.members[client.tenant].room());
                let free = !hold && room.till_figures().1.waiting == 0;
                let before = room.book().counts();
                self.clients.returns(lease, client, hold, self.now);
                let after = room.book().counts();
                let moved = (after.waiting + 1, after.leased) == (before.waiting, before.leased);
                self.handed += u64::from(free && moved && before.idle == 0);
            }
        }
        self.clients.done(client);
        if self.dice.below(40) == 0 {
            let asker = self.clients.leaves(client);
            self.members[client.tenant].room().forget_at(&asker, self.now);
        }
    }

    fn change(&mut self) {
        let (room, now, mut deeds) = (self.room(), self.now, Deeds::new());
        match self.dice.below(12) {
            0..4 => {
                let server_max = 1 + self.dice.u32_below(5);
                let limits = Limits {
                    server_max,
                    server_min: self.dice.u32_below(3).min(server_max),
                    weight: 1 << self.dice.below(3),
                    queue_max: 1 + self.dice.u32_below(20),
                    queue_timeout: Span::millis(self.dice.next() % 5_000),
                    server_lifetime: Span::millis(self.dice.next() % 9_000),
                    ..Limits::default()
                };
                room.relimit(&limits, now, &mut deeds);
            }
            4 => room.set_gate(Gate::Suspended, now, &mut deeds),
            5 => room.recycle(now, &mut deeds),
            6 => {
                let budget = 4 + self.dice.u32_below(8);
                self.pools.set_budget(&server(), budget);
                self.note_budget();
            }
            7 => self.split(),
            8 => room.hear_freed(now, &mut deeds),
            9 => {
                let holders = [Holder::Unknown, Holder::PostgreSql, Holder::Nobody];
                room.set_holder(holders[self.dice.below(3)], now, &mut deeds);
            }
            10 | 11 => {
                let claim = Claim {
                    from: ["a", "z"][self.dice.below(2)].into(),
                    to: "me".into(),
                    held: self.dice.u32_below(5),
                    wants: self.dice.u32_below(5),
                    round: self.dice.next() % 7,
                };
                room.hear_claim(&claim, now, &mut deeds);
            }
            _ => {}
        }
        deeds.perform(now);
        if self.dice.below(2) == 0 {
            for member in &self.members {
                let mut deeds = Deeds::new();
                if member.room().book().gate() != Gate::Open {
                    member.room().set_gate(Gate::Open, now, &mut deeds);
                }
                deeds.perform(now);
            }
        }
    }

    /// Other processes come or go, and hold what they like.
    fn split(&mut self) {
        let parts = 1 + self.dice.u32_below(3);
        let place = |rank, beyond: u32| Place {
            rank,
            parts,
            beyond: (beyond > 0).then(|| (server().to_string(), beyond)).into_iter().collect(),
        };
        let own = self.dice.u32_below(parts);
        let others = (0..parts).filter(|n| *n != own);
        let others = others.map(|n| place(n, self.dice.u32_below(4))).collect();
        let split = Split { own: place(own, 0), others };
        self.pools.narrow(&split);
        if self.dice.below(4) > 0 {
            self.pools.set_split(split);
        }
        self.note_budget();
    }

    /// What is in use beyond a smaller budget is let go, not cut.
    fn note_budget(&mut self) {
        let total = self.pools.budgets().first().map_or(0, |budget| budget.total);
        self.budget = total.max(self.postgres.total());
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..34 => {
                if self.tickets.len() < 60 {
                    self.ask();
                }
            }
            34..52 => self.end_dial(),
            52..76 => self.end_lease(),
            76..88 => {
                let mut closing = lock(&self.postgres.closing);
                let ended = Self::pick(&mut self.dice, &mut closing);
                drop(closing);
                if let Some((hold, slot)) = ended {
                    drop(hold);
                    let mut deeds = Deeds::new();
                    slot.end(self.now, &mut deeds);
                    deeds.perform(self.now);
                }
            }
            88..92 => {
                if let Some((ticket, client)) = Self::pick(&mut self.dice, &mut self.tickets) {
                    drop(ticket);
                    self.clients.done(client);
                }
            }
            92 => {
                if let Some((ticket, client)) = Self::pick(&mut self.dice, &mut self.tickets) {
                    let room = Arc::clone(ticket.room());
                    match ticket.expire(self.now) {
                        Ok(grant) => self.got(&room, grant, client),
                        Err(fault) => {
                            self.clients.done(client);
                            assert!(fault.detail_text().is_some(), "{fault:?}");
                        }
                    }
                }
            }
            93 => self.change(),
            _ => {
                self.now += Duration::from_micros(self.dice.next() % 20_000);
                self.pools.tick(self.now);
                self.expired();
                if self.dice.below(50) == 0 {
                    self.pools.sweep(self.now);
                }
            }
        }
        self.claim_all();
    }
}

#[test]
fn a_million_random_steps_never_pass_a_limit_nor_lose_a_slot_or_a_waiter() {
    let mut world = World::new(Dice::from_clock());
    let steps = steps();
    let quarter = steps.div_ceil(4);
    for step in 0..steps {
        world.step();
        if step % 64 == 0 {
            world.audit();
        }
        if (step + 1) % quarter == 0 {
            world.quiesce();
            world.audit();
        }
    }
    assert!(world.served > steps as u64 / 20, "only {} were served", world.served);
    assert!(
        world.clients.found > steps as u64 / 1_000,
        "only {} found their own",
        world.clients.found
    );
    assert!(world.late > steps as u64 / 10_000, "only {} waited too long", world.late);
    assert!(world.handed > steps as u64 / 1_000, "only {} were handed on", world.handed);
    world.now += Duration::from_secs(36_000);
    world.pools.sweep(world.now);
    for (hold, slot) in lock(&world.postgres.closing).drain(..).collect::<Vec<_>>() {
        drop(hold);
        drop(slot);
    }
    world.audit();
    assert_eq!(world.postgres.total(), 0, "a slot was lost");
    println!("served {}, refused {}, late {}", world.served, world.refused, world.late);
    println!("found their own: {}, handed on: {}", world.clients.found, world.handed);
}
