//! SHOW POOLS.

use crate::admin::answer::{Column, Row, int4, row, text};
use crate::admin::desk::Desk;

pub(in crate::admin) const POOLS: &[Column] = &[
    text("database"),
    text("user"),
    int4("cl_active"),
    int4("cl_waiting"),
    int4("cl_active_cancel_req"),
    int4("cl_waiting_cancel_req"),
    int4("sv_active"),
    int4("sv_active_cancel"),
    int4("sv_being_canceled"),
    int4("sv_idle"),
    int4("sv_used"),
    int4("sv_tested"),
    int4("sv_login"),
    int4("maxwait"),
    int4("maxwait_us"),
    text("pool_mode"),
    text("load_balance_hosts"),
    // pgusher's own.
    text("wait_limit"),
];

/// The user of a pool that all roles of a tenant share.
pub(super) const EVERY_USER: &str = "*";

pub(in crate::admin) fn pools(desk: &Desk) -> Vec<Row> {
    let row = |room: crate::pool::RoomFigures| {
        let tenant = desk.parts.directory.cached(&room.tenant);
        let wait = room.oldest_wait.unwrap_or_default();
        row![
            desk.database(&room.tenant),
            EVERY_USER,
            room.clients.saturating_sub(room.waiting),
            room.waiting,
            // Cancels are passed on at once and hold no place in a pool.
            0,
            0,
            room.leased,
            0,
            0,
            room.idle,
            0,
            0,
            room.dialing,
            wait.as_secs(),
            wait.subsec_micros(),
            desk.pool_mode(tenant.as_deref()),
            None::<String>,
            room.waits_for.map(|why| why.limit.to_owned()),
        ]
    };
    desk.rooms().into_iter().map(row).collect()
}
