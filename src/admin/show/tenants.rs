//! pgusher's own: SHOW TENANTS, SHOW BUDGETS, SHOW PINS.

use std::sync::Arc;

use futures_util::FutureExt as _;

use crate::admin::answer::{Column, Row, int4, int8, row, text};
use crate::admin::command::Outcome;
use crate::admin::desk::Desk;
use crate::ident::TenantId;
use crate::pool::{Pin, RoomFigures};
use crate::tenant::Tenant;

pub(in crate::admin) const TENANTS: &[Column] = &[
    text("tenant"),
    text("name"),
    text("status"),
    text("server"),
    text("plan"),
    text("pool_mode"),
    int4("paused"),
    int4("disabled"),
    int4("clients"),
    int4("client_max"),
    int4("waiting"),
    int4("queue_max"),
    int8("queue_timeout_ms"),
    int8("oldest_wait_ms"),
    int4("servers"),
    int4("server_max"),
    int4("server_min"),
    int4("weight"),
    int4("idle"),
    int4("leased"),
    int4("pinned"),
    int4("dialing"),
    int4("closing"),
    int8("leases"),
    int8("transactions"),
    int8("lease_time_us"),
    int8("wait_time_us"),
    int8("query_timeout_ms"),
    int8("transaction_timeout_ms"),
    int8("idle_in_transaction_timeout_ms"),
    int8("client_idle_timeout_ms"),
];

/// One tenant by name; without, those that have a room or are held back.
pub(in crate::admin) fn tenants<'a>(
    desk: &'a Desk,
    argument: Option<&'a str>,
) -> Outcome<'a, Vec<Row>> {
    async move {
        if let Some(name) = argument {
            let tenant = desk.tenant(name).await?;
            let room = desk.pools().room(&tenant.id);
            return Ok(vec![tenant_row(desk, &tenant.id, Some(&tenant), room.as_ref())]);
        }
        let mut rows = Vec::new();
        for room in desk.rooms() {
            let tenant = desk.parts.directory.cached(&room.tenant);
            rows.push(tenant_row(desk, &room.tenant, tenant.as_ref(), Some(&room)));
        }
        let mut held = desk.pools().held_tenants();
        held.retain(|id| desk.pools().room(id).is_none());
        held.sort();
        for id in held {
            let tenant = desk.parts.directory.tenant(&id).await.ok();
            rows.push(tenant_row(desk, &id, tenant.as_ref(), None));
        }
        Ok(rows)
    }
    .boxed()
}

fn tenant_row(
    desk: &Desk,
    id: &TenantId,
    tenant: Option<&Arc<Tenant>>,
    room: Option<&RoomFigures>,
) -> Row {
    let known = tenant.map(|tenant| desk.parts.rules.of(tenant));
    let limits = room.map(|room| room.limits.clone()).or(known);
    let limits = limits.as_ref();
    let (paused, disabled) = desk.pools().held(id);
    let count = |of: fn(&RoomFigures) -> u32| room.map_or(0, of);
    row![
        id.as_str(),
        tenant.map(|tenant| tenant.name.to_string()),
        tenant.map(|tenant| tenant.status.as_str()),
        tenant.map(|tenant| tenant.server.to_string()),
        tenant.map(|tenant| tenant.plan.to_string()),
        desk.pool_mode(tenant.map(|tenant| &**tenant)),
        paused,
        disabled,
        count(|room| room.clients),
        limits.map(|limits| limits.client_max),
        count(|room| room.waiting),
        limits.map(|limits| limits.queue_max),
        limits.map(|limits| limits.queue_timeout.get().as_millis()),
        room.and_then(|room| room.oldest_wait).unwrap_or_default().as_millis(),
        count(RoomFigures::used),
        limits.map(|limits| limits.server_max),
        limits.map(|limits| limits.server_min),
        limits.map(|limits| limits.weight),
        count(|room| room.idle),
        count(|room| room.leased),
        count(|room| room.pinned),
        count(|room| room.dialing),
        count(|room| room.closing),
        room.map_or(0, |room| room.leases),
        room.map_or(0, |room| room.transactions),
        room.map_or(0, |room| room.leased_time.as_micros()),
        room.map_or(0, |room| room.wait_time.as_micros()),
        limits.map(|limits| limits.query_timeout.get().as_millis()),
        limits.map(|limits| limits.transaction_timeout.get().as_millis()),
        limits.map(|limits| limits.idle_in_transaction_timeout.get().as_millis()),
        limits.map(|limits| limits.client_idle_timeout.get().as_millis()),
    ]
}

pub(in crate::admin) const BUDGETS: &[Column] = &[
    text("server"),
    int4("total"),
    int4("of_all"),
    int4("used"),
    int4("dialing"),
    int4("closing"),
    int4("pinned"),
    int4("pin_max"),
    int4("waiting_tenants"),
    int8("guaranteed"),
    int8("turn_ms"),
];

pub(in crate::admin) fn budgets(desk: &Desk) -> Vec<Row> {
    let mut budgets = desk.pools().budgets();
    budgets.sort_by(|a, b| a.server.cmp(&b.server));
    let row = |b: crate::pool::BudgetFigures| {
        row![
            b.server.as_str(),
            b.total,
            b.of_all,
            b.used,
            b.dialing,
            b.closing,
            b.pinned,
            b.pin_max,
            b.waiting,
            b.guaranteed,
            b.turn.as_millis(),
        ]
    };
    budgets.into_iter().map(row).collect()
}

pub(in crate::admin) const PINS: &[Column] = &[text("tenant"), text("reason"), int4("servers")];

/// Tenants and the reasons their leases outlive transactions for; a lease may have several.
pub(in crate::admin) fn pins(desk: &Desk) -> Vec<Row> {
    let mut rows = Vec::new();
    for room in desk.rooms() {
        for pin in Pin::ALL {
            let count = room.pins[pin.index()];
            if count > 0 {
                rows.push(row![room.tenant.as_str(), pin.as_str(), count]);
            }
        }
    }
    rows
}
