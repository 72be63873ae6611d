//! Live figures for the operators' door.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Built;
use crate::http::Figures;
use crate::ident::TenantId;
use crate::pool::RoomFigures;

/// What the rooms hold now.
pub(super) struct LiveFigures(pub(super) Arc<Built>);

impl Figures for LiveFigures {
    fn of(&self, tenant: &TenantId) -> Option<Value> {
        self.0.pools.room(tenant).map(|room| shown(&room))
    }

    fn totals(&self) -> Value {
        let rooms = self.0.pools.rooms();
        let sum = |of: fn(&RoomFigures) -> u32| rooms.iter().map(|r| u64::from(of(r))).sum::<u64>();
        json!({
            "sessions": self.0.shared.roster().len(),
            "tenants": rooms.len(),
            "clients": sum(|r| r.clients),
            "waiting": sum(|r| r.waiting),
            "servers": sum(RoomFigures::used),
        })
    }

    fn unready(&self) -> Vec<String> {
        let pools = &self.0.pools;
        let reasons = [
            (pools.is_draining(), "shutting down"),
            // Until then this process may hold no server connection: nobody could be served.
            (!pools.knows_others(), "the other processes are not known yet"),
        ];
        reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, why)| why.to_owned()).collect()
    }
}

fn shown(room: &RoomFigures) -> Value {
    json!({
        "tenantId": room.tenant.as_str(),
        "suspended": room.suspended,
        "clients": room.clients,
        "waiting": room.waiting,
        "serverMax": room.limits.server_max,
        "used": room.used(),
        "idle": room.idle,
        "leased": room.leased,
        "pinned": room.pinned,
        "dialing": room.dialing,
        "closing": room.closing,
        "leases": room.leases,
    })
}
