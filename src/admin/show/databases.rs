//! SHOW DATABASES and SHOW USERS: the tenants that are here, not those that are merely registered.

use std::collections::BTreeMap;

use super::sockets;
use crate::admin::answer::{Column, Row, int4, row, text};
use crate::admin::desk::Desk;
use crate::ident::TenantId;
use crate::pool::RoomFigures;

pub(in crate::admin) const DATABASES: &[Column] = &[
    text("name"),
    text("host"),
    int4("port"),
    text("database"),
    text("force_user"),
    int4("pool_size"),
    int4("min_pool_size"),
    int4("reserve_pool_size"),
    int4("server_lifetime"),
    text("pool_mode"),
    text("load_balance_hosts"),
    int4("max_connections"),
    int4("current_connections"),
    int4("max_client_connections"),
    int4("current_client_connections"),
    int4("paused"),
    int4("disabled"),
];

/// Rooms, and tenants that an operator holds back although nobody is there.
pub(in crate::admin) fn databases(desk: &Desk) -> Vec<Row> {
    let mut tenants: BTreeMap<TenantId, Option<RoomFigures>> =
        desk.pools().held_tenants().into_iter().map(|tenant| (tenant, None)).collect();
    tenants.extend(desk.rooms().into_iter().map(|room| (room.tenant.clone(), Some(room))));
    tenants.iter().map(|(tenant, room)| database(desk, tenant, room.as_ref())).collect()
}

fn database(desk: &Desk, id: &TenantId, room: Option<&RoomFigures>) -> Row {
    let tenant = desk.parts.directory.cached(id);
    let (paused, disabled) = desk.pools().held(id);
    let known = tenant.as_ref().map(|tenant| desk.parts.rules.of(tenant));
    let limits = room.map(|room| room.limits.clone()).or(known);
    let limits = limits.as_ref();
    row![
        id.database(),
        tenant.as_ref().map(|tenant| tenant.route.host.to_string()),
        tenant.as_ref().map(|tenant| tenant.route.port),
        desk.database(id),
        None::<String>,
        limits.map(|limits| limits.server_max),
        limits.map(|limits| limits.server_min),
        0,
        limits.map(|limits| limits.server_lifetime.get().as_secs()),
        desk.pool_mode(tenant.as_deref()),
        None::<String>,
        limits.map(|limits| limits.server_max),
        room.map_or(0, RoomFigures::used),
        limits.map(|limits| limits.client_max),
        room.map_or(0, |room| room.clients),
        paused,
        disabled,
    ]
}

pub(in crate::admin) const USERS: &[Column] = &[
    text("name"),
    text("pool_size"),
    text("reserve_pool_size"),
    text("pool_mode"),
    int4("max_user_connections"),
    int4("current_connections"),
    int4("max_user_client_connections"),
    int4("current_client_connections"),
];

/// The users that sessions run as now: clients, and servers lent to them.
pub(in crate::admin) fn users(desk: &Desk) -> Vec<Row> {
    let mut users: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for card in sockets::cards(desk) {
        let (servers, clients) = users.entry(sockets::user(desk, &card)).or_default();
        *servers += u32::from(card.server().is_some());
        *clients += 1;
    }
    // Limits are a tenant's, not a user's: 0 is PgBouncer's word for none.
    let row = |(name, (servers, clients))| {
        row![name, None::<String>, None::<String>, None::<String>, 0, servers, 0, clients]
    };
    users.into_iter().map(row).collect()
}
