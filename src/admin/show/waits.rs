//! SHOW WAITS: tenants whose clients wait, and for what.

use crate::admin::answer::{Column, Row, int4, int8, row, text};
use crate::admin::desk::Desk;
use crate::pool::RoomFigures;

pub(in crate::admin) const WAITS: &[Column] = &[
    text("tenant"),
    text("server"),
    int4("waiting"),
    int8("oldest_wait_ms"),
    int8("queue_timeout_ms"),
    text("limit"),
    int4("used"),
    int4("of"),
    int4("tenant_used"),
    int4("tenant_pinned"),
    int4("waiting_tenants"),
    int8("turn_ms"),
];

/// The longest wait first.
pub(in crate::admin) fn waits(desk: &Desk) -> Vec<Row> {
    let budgets = desk.pools().budgets();
    let mut rooms = desk.rooms();
    rooms.retain(|room| room.waits_for.is_some());
    rooms.sort_by_key(|room| std::cmp::Reverse(room.oldest_wait));
    let row = |room: &RoomFigures| {
        let budget = budgets.iter().find(|budget| budget.server == room.server);
        let why = room.waits_for;
        row![
            room.tenant.as_str(),
            room.server.as_str(),
            room.waiting,
            room.oldest_wait.unwrap_or_default().as_millis(),
            room.limits.queue_timeout.get().as_millis(),
            why.map(|why| why.limit.to_owned()),
            why.map(|why| why.used),
            why.and_then(|why| why.of),
            room.used(),
            room.pinned,
            budget.map(|budget| budget.waiting),
            budget.map(|budget| budget.turn.as_millis()),
        ]
    };
    rooms.iter().map(row).collect()
}
