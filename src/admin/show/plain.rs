//! The small ones: HELP, LISTS, STATE, CONFIG, VERSION, and what drivers ask of any server.

use std::collections::BTreeSet;

use super::sockets;
use crate::admin::answer::{Column, Row, int4, row, text};
use crate::admin::desk::Desk;
use crate::admin::table;
use crate::pool::RoomFigures;

pub(in crate::admin) const HELP: &[Column] = &[text("command"), text("power")];

pub(in crate::admin) fn help(_: &Desk) -> Vec<Row> {
    let row =
        |command: &crate::admin::command::Command| row![command.usage(), command.power.as_str()];
    table::COMMANDS.iter().map(row).collect()
}

pub(in crate::admin) const LISTS: &[Column] = &[text("list"), int4("items")];

/// PgBouncer's lists. It keeps the memory of sockets that are gone and resolves names itself;
/// pgusher does neither.
pub(in crate::admin) fn lists(desk: &Desk) -> Vec<Row> {
    let rooms = desk.rooms();
    let users: BTreeSet<_> = sockets::cards(desk)
        .iter()
        .map(|card| (card.identity().tenant().clone(), card.identity().role()))
        .collect();
    vec![
        row!["databases", rooms.len()],
        row!["users", users.len()],
        row!["peers", 0],
        row!["pools", rooms.len()],
        row!["peer_pools", 0],
        row!["free_clients", 0],
        row!["used_clients", desk.roster().len()],
        row!["login_clients", 0],
        row!["free_servers", 0],
        row![
            "used_servers",
            rooms.iter().map(|room| u64::from(RoomFigures::used(room))).sum::<u64>()
        ],
        row!["dns_names", 0],
        row!["dns_zones", 0],
        row!["dns_queries", 0],
        row!["dns_pending", 0],
    ]
}

pub(in crate::admin) const KEY_VALUE: &[Column] = &[text("key"), text("value")];

pub(in crate::admin) fn state(desk: &Desk) -> Vec<Row> {
    let word = |is: bool| if is { "yes" } else { "no" };
    let paused = desk.pools().all_paused();
    vec![row!["active", word(!paused)], row!["paused", word(paused)], row!["suspended", "no"]]
}

pub(in crate::admin) const CONFIG: &[Column] =
    &[text("key"), text("value"), text("default"), text("changeable")];

pub(in crate::admin) fn config(desk: &Desk) -> Vec<Row> {
    let settings = desk.parts.process.settings();
    settings.into_iter().map(|s| row![s.key, s.value, s.default, "no"]).collect()
}

pub(in crate::admin) const VERSION: &[Column] = &[text("version")];

pub(in crate::admin) fn version(_: &Desk) -> Vec<Row> {
    one(concat!("pgusher ", env!("CARGO_PKG_VERSION")))
}

pub(in crate::admin) const ENCODING: &[Column] = &[text("client_encoding")];
pub(in crate::admin) const DATE_STYLE: &[Column] = &[text("DateStyle")];
pub(in crate::admin) const TIME_ZONE: &[Column] = &[text("TimeZone")];
pub(in crate::admin) const STRINGS: &[Column] = &[text("standard_conforming_strings")];
pub(in crate::admin) const ISOLATION: &[Column] = &[text("transaction_isolation")];

/// A single value.
pub(in crate::admin) fn one(value: &str) -> Vec<Row> {
    vec![row![value]]
}
