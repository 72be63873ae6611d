//! The pools among those of other processes: budgets are split, tenants' caps are shared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::deeds::Deeds;
use super::room::Room;
use super::shares::Shares;
use super::{Claim, Conn, Holder, News, Pools, Split, lock};
use crate::ident::TenantId;

impl<S: Conn> Pools<S> {
    /// Tells `sender` what other processes, and PostgreSQL's administrator, have to hear. The first
    /// one stays; what does not fit is dropped.
    pub fn report_to(&self, sender: mpsc::Sender<News>) {
        self.0.common.report_to(sender);
    }

    /// Gives up what a coming split does not leave to this process: idle connections now, leased
    /// ones as their leases end. Says what is held beyond it, by server. Nothing more is taken
    /// until [`Pools::set_split`].
    pub fn narrow(&self, split: &Split) -> BTreeMap<String, u32> {
        lock(&self.0.shares).narrow(split.clone());
        self.resplit();
        let held = |till: &Arc<super::till::Till<S>>| {
            let figures = till.budget_figures(0);
            let part = Shares::part_of(split, figures.server.as_str(), self.total(till.key()));
            (figures.used > part).then(|| (figures.server.to_string(), figures.used))
        };
        self.tills().iter().filter_map(held).collect()
    }

    /// Puts a split of the budgets in force. A smaller part takes effect as connections come back.
    pub fn set_split(&self, split: Split) {
        if lock(&self.0.shares).set_split(split) {
            self.resplit();
        }
    }

    /// Whether it is known how the budgets are split; until then no server is dialled.
    pub fn knows_others(&self) -> bool {
        lock(&self.0.shares).is_known()
    }

    /// Whether there are other processes, as far as is known.
    pub fn has_peers(&self) -> bool {
        self.0.common.parts.load(Ordering::Relaxed) > 1
    }

    fn resplit(&self) {
        let place = lock(&self.0.shares).place();
        self.0.common.parts.store(place.1, Ordering::Relaxed);
        self.tills().iter().for_each(|till| self.reform(till));
        let now = super::now();
        for room in self.all_rooms() {
            let mut deeds = Deeds::new();
            room.set_place(place, now, &mut deeds);
            deeds.perform(now);
        }
    }

    fn total(&self, server: &crate::ident::ServerKey) -> u32 {
        lock(&self.0.shares).total(server)
    }

    /// Says who holds a tenant's cap over all processes.
    pub fn set_holder(&self, tenant: &TenantId, holder: Holder) {
        self.with_room(tenant, |room, now, deeds| room.set_holder(holder, now, deeds));
    }

    /// Another process was refused a server of the tenant at PostgreSQL.
    pub fn hear_claim(&self, tenant: &TenantId, claim: &Claim) {
        self.with_room(tenant, |room, now, deeds| room.hear_claim(claim, now, deeds));
    }

    /// Another process has let a server of the tenant go.
    pub fn hear_freed(&self, tenant: &TenantId) {
        self.with_room(tenant, Room::hear_freed);
    }
}
