//! SHOW STATS and its parts. Totals are a room's: they begin anew when a tenant comes back after
//! its room was closed. `xact_time` is the time servers were lent.

use crate::admin::answer::{Cell, Column, Row, int8, row, text};
use crate::admin::averages::{Average, Totals};
use crate::admin::desk::Desk;
use crate::ident::TenantId;

pub(in crate::admin) const STATS: &[Column] = &[
    text("database"),
    int8("total_server_assignment_count"),
    int8("total_xact_count"),
    int8("total_query_count"),
    int8("total_received"),
    int8("total_sent"),
    int8("total_xact_time"),
    int8("total_query_time"),
    int8("total_wait_time"),
    int8("total_client_parse_count"),
    int8("total_server_parse_count"),
    int8("total_bind_count"),
    int8("avg_server_assignment_count"),
    int8("avg_xact_count"),
    int8("avg_query_count"),
    int8("avg_recv"),
    int8("avg_sent"),
    int8("avg_xact_time"),
    int8("avg_query_time"),
    int8("avg_wait_time"),
    int8("avg_client_parse_count"),
    int8("avg_server_parse_count"),
    int8("avg_bind_count"),
];

/// The columns of STATS_TOTALS and of STATS_AVERAGES.
pub(in crate::admin) const STATS_PART: &[Column] = &[
    text("database"),
    int8("server_assignment_count"),
    int8("xact_count"),
    int8("query_count"),
    int8("bytes_received"),
    int8("bytes_sent"),
    int8("xact_time"),
    int8("query_time"),
    int8("wait_time"),
    int8("client_parse_count"),
    int8("server_parse_count"),
    int8("bind_count"),
];

pub(in crate::admin) const TOTALS: &[Column] = &[text("name"), int8("value")];

/// The figures of one half of STATS, in its order.
type Half = [Cell; 11];

fn half(leases: u64, transactions: u64, leased_us: u64, wait_us: u64) -> Half {
    [
        leases.into(),
        transactions.into(),
        // Queries and bytes are not counted by tenant.
        Cell::Null,
        Cell::Null,
        Cell::Null,
        leased_us.into(),
        Cell::Null,
        wait_us.into(),
        Cell::Null,
        Cell::Null,
        Cell::Null,
    ]
}

fn half_of_totals(t: Totals) -> Half {
    half(t.leases, t.transactions, t.leased_us, t.wait_us)
}

fn half_of_average(a: Average) -> Half {
    half(a.leases, a.transactions, a.leased_us, a.wait_us)
}

/// One row for each room: what both halves are made of.
fn rows(desk: &Desk, make: impl Fn(&TenantId, Totals) -> Vec<Cell>) -> Vec<Row> {
    let row = |room: crate::pool::RoomFigures| {
        let mut row = row![desk.database(&room.tenant)];
        row.extend(make(&room.tenant, Totals::of(&room)));
        row
    };
    desk.rooms().into_iter().map(row).collect()
}

pub(in crate::admin) fn stats(desk: &Desk) -> Vec<Row> {
    let averages = desk.averages();
    rows(desk, |tenant, totals| {
        half_of_totals(totals).into_iter().chain(half_of_average(averages.of(tenant))).collect()
    })
}

pub(in crate::admin) fn stats_totals(desk: &Desk) -> Vec<Row> {
    rows(desk, |_, totals| half_of_totals(totals).into())
}

pub(in crate::admin) fn stats_averages(desk: &Desk) -> Vec<Row> {
    let averages = desk.averages();
    rows(desk, |tenant, _| half_of_average(averages.of(tenant)).into())
}

/// All tenants together, one figure a row.
pub(in crate::admin) fn totals(desk: &Desk) -> Vec<Row> {
    let rooms = desk.rooms();
    let sum = rooms.iter().map(Totals::of).fold(Totals::default(), Totals::plus);
    let names = STATS[1..].iter().take(11).map(|column| Cell::from(column.name));
    names.zip(half_of_totals(sum)).map(|(name, value)| vec![name, value]).collect()
}
