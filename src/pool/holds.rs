//! What an operator holds back: paused tenants wait, disabled ones let nobody in.
//!
//! Holds belong to this process and outlive the rooms they are put on: a tenant whose room closed
//! meanwhile comes back as it was left. Lock order: rooms, holds, room; the shares of
//! the budgets are locked before a till and with nothing else held but rooms and tills' list.

use std::collections::HashMap;
use std::sync::Arc;

use super::deeds::Deeds;
use super::room::Room;
use super::{Conn, Pools, lock};
use crate::ident::TenantId;

/// Which tenants are held back, and how.
#[derive(Debug, Default)]
pub(super) struct Holds {
    all_paused: bool,
    tenants: HashMap<TenantId, Hold>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Hold {
    paused: bool,
    disabled: bool,
}

impl Holds {
    /// Whether a tenant is paused, and whether it is disabled.
    pub(super) fn of(&self, tenant: &TenantId) -> (bool, bool) {
        let own = self.tenants.get(tenant).copied().unwrap_or_default();
        (self.all_paused || own.paused, own.disabled)
    }

    fn pause(&mut self, whom: Option<&TenantId>, paused: bool) {
        match whom {
            None => self.all_paused = paused,
            Some(tenant) => self.change(tenant, |hold| hold.paused = paused),
        }
    }

    /// Only tenants that are held take up memory.
    fn change(&mut self, tenant: &TenantId, change: impl FnOnce(&mut Hold)) {
        let hold = self.tenants.entry(tenant.clone()).or_default();
        change(hold);
        if *hold == Hold::default() {
            self.tenants.remove(tenant);
        }
    }
}

impl<S: Conn> Pools<S> {
    /// Stops serving a tenant, or all: whoever asks for a server waits in line until
    /// [`Pools::unpause`] or its queue timeout, idle servers are closed now, leased ones as their
    /// leases end. A tenant may be paused by name and with all others: both must be taken back.
    pub fn pause(&self, whom: Option<&TenantId>) {
        self.set_paused(whom, true);
    }

    /// Serves again what [`Pools::pause`] stopped.
    pub fn unpause(&self, whom: Option<&TenantId>) {
        self.set_paused(whom, false);
    }

    fn set_paused(&self, whom: Option<&TenantId>, paused: bool) {
        lock(&self.0.holds).pause(whom, paused);
        let now = super::now();
        // Rooms opened from here on have read the holds; those before are in the list.
        for room in self.rooms_of(whom) {
            let mut deeds = Deeds::new();
            // Read again and held until it is done: of two operators, the last one's word counts.
            let holds = lock(&self.0.holds);
            let (is_paused, _) = holds.of(room.tenant());
            room.set_paused(is_paused, now, &mut deeds);
            drop(holds);
            deeds.perform(now);
        }
        if !paused {
            // Who waits for its end waits no more.
            self.0.common.stilled.notify_waiters();
        }
    }

    /// Waits until no paused room of `whom` holds a server connection; a pause taken back is not
    /// waited for. Cancel-safe.
    pub async fn stilled(&self, whom: Option<&TenantId>) {
        loop {
            let rung = self.0.common.stilled.notified();
            tokio::pin!(rung);
            // Listens before it looks, so that nothing is missed in between.
            rung.as_mut().enable();
            if self.rooms_of(whom).iter().all(|room| room.is_still()) {
                return;
            }
            rung.await;
        }
    }

    /// Lets no new client of a tenant in. Those present are served.
    pub fn disable(&self, tenant: &TenantId) {
        lock(&self.0.holds).change(tenant, |hold| hold.disabled = true);
    }

    /// Takes [`Pools::disable`] back.
    pub fn enable(&self, tenant: &TenantId) {
        lock(&self.0.holds).change(tenant, |hold| hold.disabled = false);
    }

    /// Whether a tenant is paused, and whether it is disabled; for one without a room, too.
    pub fn held(&self, tenant: &TenantId) -> (bool, bool) {
        lock(&self.0.holds).of(tenant)
    }

    /// The tenants that are paused or disabled by name.
    pub fn held_tenants(&self) -> Vec<TenantId> {
        lock(&self.0.holds).tenants.keys().cloned().collect()
    }

    /// Whether all tenants are paused together.
    pub fn all_paused(&self) -> bool {
        lock(&self.0.holds).all_paused
    }

    /// Shows every idle server to `look`, each under its room's lock: keep it short.
    pub fn each_idle(&self, mut look: impl FnMut(&TenantId, &S)) {
        for room in self.all_rooms() {
            room.each_idle(&mut look);
        }
    }

    fn rooms_of(&self, whom: Option<&TenantId>) -> Vec<Arc<Room<S>>> {
        let mut rooms = self.all_rooms();
        rooms.retain(|room| whom.is_none_or(|tenant| room.tenant() == tenant));
        rooms
    }
}
