//! All rooms and all budgets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::budget::Rules;
use super::common::Common;
use super::counters::Counters;
use super::deeds::Deeds;
use super::holds::Holds;
use super::ledger::Gate;
use super::metrics::PoolMetrics;
use super::room::Room;
use super::shares::Shares;
use super::till::Till;
use super::way::{Kept, Taken};
use super::{
    BudgetFigures, Conn, Limits, Membership, PinSettings, PoolSettings, RoomFigures, Way, lock,
    refusal,
};
use crate::fault::Fault;
use crate::ident::{ServerKey, TenantId};

/// The directory of rooms by tenant and of budgets by server. Cheap to clone; all clones are one.
///
/// A room exists while its tenant has clients or servers, and a little longer: tenants that are
/// merely registered cost nothing.
pub struct Pools<S: Conn>(pub(super) Arc<Directory<S>>);

pub(super) struct Directory<S: Conn> {
    pub(super) common: Arc<Common<S>>,
    rooms: Mutex<HashMap<TenantId, Opened<S>>>,
    tills: Mutex<HashMap<ServerKey, Arc<Till<S>>>>,
    is_draining: AtomicBool,
    pub(super) holds: Mutex<Holds>,
    pub(super) shares: Mutex<Shares>,
}

/// A room and the way its servers are dialled.
struct Opened<S: Conn> {
    room: Arc<Room<S>>,
    way: Kept,
}

impl<S: Conn> Opened<S> {
    /// Under the directory's lock, so that nobody comes by the new way before the servers of the
    /// old one are out of reach.
    fn take(&mut self, way: &Way, now: Instant, deeds: &mut Deeds<S>) -> Taken {
        let taken = self.way.take(way);
        if taken == Taken::Changed {
            self.room.recycle(now, deeds);
        }
        taken
    }
}

impl<S: Conn> Clone for Pools<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Conn> Pools<S> {
    /// Pools without rooms.
    ///
    /// # Errors
    /// When prometheus does not like a metric's name.
    pub fn new(pool: PoolSettings, pins: PinSettings) -> prometheus::Result<Self> {
        let counters = Arc::new(Counters::new()?);
        let shares = Mutex::new(Shares::new(pool.server_budget));
        Ok(Self(Arc::new(Directory {
            common: Arc::new(Common::new(pool, pins, counters)),
            rooms: Mutex::new(HashMap::new()),
            tills: Mutex::new(HashMap::new()),
            is_draining: AtomicBool::new(false),
            holds: Mutex::new(Holds::default()),
            shares,
        })))
    }

    /// Registers the pool's metrics; at most `tenant_series_max` tenants get series of their own.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(
        &self,
        registry: &prometheus::Registry,
        tenant_series_max: usize,
    ) -> prometheus::Result<()> {
        self.0.common.counters.register(registry)?;
        registry.register(Box::new(PoolMetrics::new(self.clone(), tenant_series_max)?))
    }

    /// Counts a client into its tenant's room, which is opened if there is none, and puts `limits`
    /// in force there. A `way` that was read later than the room's takes its place, as by
    /// [`Pools::reroute`].
    ///
    /// # Errors
    /// 53300 at `client_max`; 57P03 when the tenant is suspended or disabled, when its room leads
    /// to another server still, when `way` is out of date, or when pgusher is shutting down.
    pub fn enter(
        &self,
        tenant: &TenantId,
        way: &Way,
        limits: &Limits,
    ) -> Result<Membership<S>, Fault> {
        self.enter_at(tenant, way, limits, super::now())
    }

    pub(super) fn enter_at(
        &self,
        tenant: &TenantId,
        way: &Way,
        limits: &Limits,
        now: Instant,
    ) -> Result<Membership<S>, Fault> {
        if self.is_draining() {
            return Err(refusal::draining());
        }
        let (server, mut deeds) = (&way.server, Deeds::new());
        let entered = {
            let mut rooms = lock(&self.0.rooms);
            let (paused, disabled) = lock(&self.0.holds).of(tenant);
            if disabled {
                return Err(refusal::disabled());
            }
            if rooms.get(tenant).is_some_and(|opened| opened.way.is_newer_than(way)) {
                return Err(refusal::moving());
            }
            // A tenant that was moved gets a new room once the old one is empty, not before: its
            // cap is one over both servers.
            let room = rooms.get(tenant).map(|opened| &opened.room);
            let moved = room.filter(|r| r.server() != server).map(|r| r.is_empty());
            match moved {
                Some(false) => return Err(refusal::moving()),
                Some(true) => drop(rooms.remove(tenant)),
                None => {}
            }
            let opened = rooms.entry(tenant.clone()).or_insert_with(|| {
                let common = Arc::clone(&self.0.common);
                let place = lock(&self.0.shares).place();
                let state = (paused, place);
                let till = self.till(server);
                let room = Room::open(tenant.clone(), till, common, limits.clone(), state);
                Opened { room, way: Kept::new(way) }
            });
            opened.take(way, now, &mut deeds);
            // Counted in under the directory's lock, so that no sweep drops the room in between.
            let room = Arc::clone(&opened.room);
            room.count_in(limits).map(|()| Membership::new(room, opened.way.pass()))
        };
        if let Ok(membership) = &entered {
            membership.room().relimit(limits, now, &mut deeds);
        }
        deeds.perform(now);
        entered
    }

    /// Puts other limits in force for a tenant, if it has a room; all present sessions keep on.
    pub fn relimit(&self, tenant: &TenantId, limits: &Limits) {
        self.with_room(tenant, |room, now, deeds| room.relimit(limits, now, deeds));
    }

    /// Closes a tenant's idle servers, refuses those in line and those who ask. Leases end as
    /// their sessions end them, and their servers with them.
    pub fn suspend(&self, tenant: &TenantId) {
        self.with_room(tenant, |room, now, deeds| room.set_gate(Gate::Suspended, now, deeds));
    }

    /// Serves a suspended tenant again.
    pub fn resume(&self, tenant: &TenantId) {
        self.with_room(tenant, |room, now, deeds| room.set_gate(Gate::Open, now, deeds));
    }

    /// Replaces a tenant's server connections: idle ones are closed now, others when their leases
    /// end.
    pub fn recycle(&self, tenant: &TenantId) {
        self.with_room(tenant, Room::recycle);
    }

    /// The same, if the room's servers are not those of `way`: they are dialled by that from now on,
    /// and whoever came by another is given no more of them. `false`: the room knows better.
    pub fn reroute(&self, tenant: &TenantId, way: &Way) -> bool {
        let (now, mut deeds) = (super::now(), Deeds::new());
        let taken = lock(&self.0.rooms).get_mut(tenant).map(|o| o.take(way, now, &mut deeds));
        deeds.perform(now);
        taken != Some(Taken::Stale)
    }

    /// The same for every tenant.
    pub fn recycle_all(&self) {
        let now = super::now();
        for room in self.all_rooms() {
            let mut deeds = Deeds::new();
            room.recycle(now, &mut deeds);
            deeds.perform(now);
        }
    }

    /// Lets no more clients in. Those present are served until they leave.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether no more clients are let in.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Relaxed)
    }

    /// Sets how many connections one PostgreSQL server may be asked for by all processes
    /// together, instead of `pool.server_budget`. A smaller figure takes effect as connections
    /// come back.
    pub fn set_budget(&self, server: &ServerKey, total: u32) {
        lock(&self.0.shares).set_total(server, total);
        self.reform(&self.till(server));
    }

    pub(super) fn reform(&self, till: &Arc<Till<S>>) {
        let now = super::now();
        let mut deeds = Deeds::new();
        // Held until it is done, so that of two changes the last one stays.
        let shares = lock(&self.0.shares);
        let rules = self.rules(shares.own(till.key()));
        till.with(&mut deeds, |b, grants| b.reform(rules, now, grants));
        drop(shares);
        // What is idle beyond a smaller part goes at once.
        till.evict(now, &mut deeds);
        deeds.perform(now);
    }

    /// Every room's figures.
    pub fn rooms(&self) -> Vec<RoomFigures> {
        let now = super::now();
        self.all_rooms().iter().map(|room| room.figures(now)).collect()
    }

    /// One tenant's figures, if it has a room.
    pub fn room(&self, tenant: &TenantId) -> Option<RoomFigures> {
        let room = lock(&self.0.rooms).get(tenant).map(|opened| Arc::clone(&opened.room));
        room.map(|room| room.figures(super::now()))
    }

    /// Every server's figures.
    pub fn budgets(&self) -> Vec<BudgetFigures> {
        let tills = self.tills();
        let shares = lock(&self.0.shares);
        tills.iter().map(|till| till.budget_figures(shares.total(till.key()))).collect()
    }

    pub(super) fn with_room(
        &self,
        tenant: &TenantId,
        act: impl FnOnce(&Arc<Room<S>>, Instant, &mut Deeds<S>),
    ) {
        let room = lock(&self.0.rooms).get(tenant).map(|opened| Arc::clone(&opened.room));
        if let Some(room) = room {
            let (now, mut deeds) = (super::now(), Deeds::new());
            act(&room, now, &mut deeds);
            deeds.perform(now);
        }
    }

    fn till(&self, server: &ServerKey) -> Arc<Till<S>> {
        let mut tills = lock(&self.0.tills);
        let till = tills.entry(server.clone()).or_insert_with(|| {
            let rules = self.rules(lock(&self.0.shares).own(server));
            Arc::new(Till::new(server.clone(), rules))
        });
        Arc::clone(till)
    }

    fn rules(&self, total: u32) -> Rules {
        let (pool, pins) = (&self.0.common.pool, &self.0.common.pins);
        Rules {
            total,
            dial_max: pool.dial_max,
            turn_min: pool.turn_min.get(),
            turn_max: pool.turn_max.get().max(pool.turn_min.get()),
            pin_max: PinSettings::of(pins.budget_share, total),
            pause_max: pool.dial_backoff_max.get(),
        }
    }

    pub(super) fn tills(&self) -> Vec<Arc<Till<S>>> {
        lock(&self.0.tills).values().cloned().collect()
    }

    pub(super) fn all_rooms(&self) -> Vec<Arc<Room<S>>> {
        lock(&self.0.rooms).values().map(|opened| Arc::clone(&opened.room)).collect()
    }

    /// Drops a room that has been vacant long enough.
    pub(super) fn drop_vacant(&self, room: &Arc<Room<S>>, now: Instant) {
        let mut rooms = lock(&self.0.rooms);
        // The tenant may have another room by now, with clients in it.
        let is_its_own = rooms.get(room.tenant()).is_some_and(|o| Arc::ptr_eq(&o.room, room));
        if is_its_own && room.is_vacant(self.0.common.pool.room_idle_timeout.get(), now) {
            let dropped = rooms.remove(room.tenant());
            drop(rooms);
            drop(dropped);
        }
    }
}
