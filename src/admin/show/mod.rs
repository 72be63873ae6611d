//! The SHOW commands: each has its columns and its rows. Columns PgBouncer has are called as there,
//! in its order (1.25); what pgusher does not count is NULL. A pool is a tenant's room: all its
//! roles together.

mod databases;
mod plain;
mod pools;
mod sockets;
mod stats;
mod tenants;
mod waits;

pub(super) use databases::{DATABASES, USERS, databases, users};
pub(super) use plain::{
    CONFIG, DATE_STYLE, ENCODING, HELP, ISOLATION, KEY_VALUE, LISTS, STRINGS, TIME_ZONE, VERSION,
    config, help, lists, one, state, version,
};
pub(super) use pools::{POOLS, pools};
pub(super) use sockets::{CLIENTS, SOCKETS, clients, servers};
pub(super) use stats::{STATS, STATS_PART, TOTALS, stats, stats_averages, stats_totals, totals};
pub(super) use tenants::{BUDGETS, PINS, TENANTS, budgets, pins, tenants};
pub(super) use waits::{WAITS, waits};
