//! Why a client gets no server connection: the limit, its figures, and what to do about it.
//!
//! 53300 is the tenant's own limit, 53400 the server's budget; DETAIL has the figures, HINT what
//! helps. Other tenants are never named, only counted.

use std::time::Duration;

use super::Conn;
use super::budget::{Share, Totals};
use super::ledger::{Counts, Dials, FullOf};
use super::room::Book;
use super::{Limits, WaitsFor};
use crate::fault::{Blame, Fault, SqlState};

/// How a wait went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// How many stood before the client.
    pub position: usize,
    pub waited: Duration,
}

/// What stood in the way of the head of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Tenant,
    Processes,
    Budget,
    Dial(FullOf),
    Unreachable,
    Paused,
}

impl Limit {
    pub(super) const ALL: [Self; 7] = [
        Self::Tenant,
        Self::Processes,
        Self::Budget,
        Self::Dial(FullOf::Tenant),
        Self::Dial(FullOf::Server),
        Self::Unreachable,
        Self::Paused,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "server_max",
            Self::Processes => "server_max_shared",
            Self::Budget => "server_budget",
            Self::Dial(FullOf::Tenant) => "postgres_tenant",
            Self::Dial(FullOf::Server) => "postgres_server",
            Self::Unreachable => "unreachable",
            Self::Paused => "paused",
        }
    }
}

/// What stands in the way now.
pub(super) fn limit<S: Conn>(book: &Book<S>, server_is_full: bool) -> Limit {
    if book.is_paused() {
        return Limit::Paused;
    }
    match book.dials() {
        Dials::Failing { .. } => Limit::Unreachable,
        _ if book.used() >= book.limits().server_max => Limit::Tenant,
        _ if book.used() >= book.cap() => Limit::Processes,
        Dials::Full { .. } => Limit::Dial(FullOf::Tenant),
        Dials::Open if server_is_full => Limit::Dial(FullOf::Server),
        Dials::Open => Limit::Budget,
    }
}

/// The same in figures, for those who watch.
pub(super) fn waits_for<S: Conn>(book: &Book<S>, totals: Totals, total: u32) -> WaitsFor {
    let limit = limit(book, totals.is_full);
    let (used, of) = match limit {
        Limit::Tenant => (book.used(), Some(book.limits().server_max)),
        Limit::Processes => (book.used(), Some(book.cap())),
        Limit::Budget => (totals.used, Some(total)),
        Limit::Dial(FullOf::Server) => (totals.used, None),
        Limit::Dial(FullOf::Tenant) | Limit::Unreachable | Limit::Paused => (book.used(), None),
    };
    WaitsFor { limit: limit.as_str(), used, of }
}

fn tenant(message: &'static str) -> Fault {
    Fault::new(Blame::Tenant, SqlState::TOO_MANY_CONNECTIONS, message)
}

pub(super) fn client_max(clients: u32, limits: &Limits) -> Fault {
    tenant("too many clients already for this tenant")
        .detail(format!("client_max: {clients} of {} clients are connected.", limits.client_max))
        .hint("Close idle connections, use a smaller pool in the application, or have client_max raised.")
}

pub(super) fn queue_full(counts: Counts, limits: &Limits) -> Fault {
    tenant("too many clients of this tenant are waiting for a server connection")
        .detail(format!(
            "queue_max: {} of {} clients are waiting; {} of {} server connections are in use.",
            counts.waiting,
            limits.queue_max,
            counts.held(),
            limits.server_max
        ))
        .hint("Shorten transactions, send fewer requests at once, or have server_max or queue_max raised.")
}

pub(super) fn tenant_full(counts: Counts, limits: &Limits, wait: Wait) -> Fault {
    tenant("timed out waiting for a server connection of this tenant")
        .detail(format!(
            "server_max: {} of {} server connections are in use, {} of them pinned; waited {} ms \
             at position {} of {} in line.",
            counts.held(),
            limits.server_max,
            counts.pinned,
            wait.waited.as_millis(),
            wait.position + 1,
            counts.waiting
        ))
        .hint("Shorten transactions, close what pins connections, or have server_max raised.")
}

pub(super) fn processes_full(counts: Counts, part: u32, wait: Wait) -> Fault {
    tenant("timed out waiting for a server connection of this tenant")
        .detail(format!(
            "server_max: {} of {part} server connections are in use, which are this process's part \
             while others of this tenant's clients are served by other processes; waited {} ms at \
             position {} of {} in line.",
            counts.held(),
            wait.waited.as_millis(),
            wait.position + 1,
            counts.waiting
        ))
        .hint("Shorten transactions, close what pins connections, or have server_max raised.")
}

pub(super) fn budget_full(share: Share, totals: Totals, total: u32, wait: Wait) -> Fault {
    Fault::new(
        Blame::Tenant,
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        "timed out waiting for a server connection shared with other tenants",
    )
    .detail(format!(
        "server_budget: {} of {total} connections to this PostgreSQL server are in use, {} by this \
         tenant, {} pinned; {} tenants are waiting; waited {} ms at position {} of this tenant's \
         line.",
        totals.used,
        share.used,
        totals.pinned,
        totals.waiting,
        wait.waited.as_millis(),
        wait.position + 1
    ))
    .hint("Try again; if it persists, have server_budget raised or this tenant's weight or server_min.")
}

pub(super) fn postgres_full(of: FullOf, counts: Counts, wait: Wait) -> Fault {
    let (state, whose) = match of {
        FullOf::Tenant => {
            (SqlState::TOO_MANY_CONNECTIONS, "the connection limit of this tenant's database")
        }
        FullOf::Server => {
            (SqlState::CONFIGURATION_LIMIT_EXCEEDED, "PostgreSQL's own connection limit")
        }
    };
    Fault::new(Blame::Tenant, state, "timed out waiting for PostgreSQL to accept a connection")
        .detail(format!(
            "{whose} is reached; {} connections are held by this process; waited {} ms at position \
             {} of {} in line.",
            counts.held(),
            wait.waited.as_millis(),
            wait.position + 1,
            counts.waiting
        ))
        .hint("Connections made by others count too: other pgusher processes, direct ones, autovacuum.")
}

pub(super) fn pins_of_budget(pinned: u32, most: u32) -> Fault {
    Fault::new(
        Blame::Tenant,
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        "too many server connections are held beyond their transactions",
    )
    .detail(format!(
        "pins.budget_share: {pinned} of {most} connections to this PostgreSQL server are pinned or \
         in session mode."
    ))
    .hint("End what holds session state, use transaction mode, or have pins.budget_share raised.")
}

pub(super) fn pins_of_tenant(pinned: u32, most: u32, server_max: u32) -> Fault {
    Fault::new(
        Blame::Tenant,
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        "too many server connections of this tenant are held beyond their transactions",
    )
    .detail(format!(
        "pins.tenant_share: {pinned} of {most} connections are pinned or in session mode; \
         server_max is {server_max}."
    ))
    .hint("End what holds session state, use transaction mode, or have server_max raised.")
}

pub(super) fn suspended() -> Fault {
    Fault::new(Blame::Tenant, SqlState::CANNOT_CONNECT_NOW, "this tenant is suspended")
}

pub(super) fn paused(counts: Counts, wait: Wait) -> Fault {
    Fault::new(
        Blame::Tenant,
        SqlState::CANNOT_CONNECT_NOW,
        "timed out while this tenant was paused by an operator",
    )
    .detail(format!(
        "Waited {} ms at position {} of {} in line.",
        wait.waited.as_millis(),
        wait.position + 1,
        counts.waiting
    ))
    .hint("Try again in a moment.")
}

pub(super) fn disabled() -> Fault {
    Fault::new(
        Blame::Tenant,
        SqlState::CANNOT_CONNECT_NOW,
        "new clients of this tenant are refused by an operator",
    )
    .hint("Try again later.")
}

pub(super) fn moving() -> Fault {
    Fault::new(
        Blame::Tenant,
        SqlState::CANNOT_CONNECT_NOW,
        "this tenant is being moved to another server",
    )
    .hint("Try again in a moment.")
}

pub(super) fn draining() -> Fault {
    Fault::new(Blame::Proxy, SqlState::CANNOT_CONNECT_NOW, "pgusher is shutting down")
}

pub(super) fn unreachable(why: &Fault) -> Fault {
    let fault = Fault::new(
        Blame::Server,
        SqlState::CONNECTION_FAILURE,
        "the tenant's PostgreSQL cannot be reached",
    );
    fault.detail(format!("The last connection attempt failed: {}", why.message()))
}

pub(super) fn unreachable_after(wait: Wait) -> Fault {
    Fault::new(
        Blame::Server,
        SqlState::CONNECTION_FAILURE,
        "the tenant's PostgreSQL cannot be reached",
    )
    .detail(format!(
        "Connection attempts fail; waited {} ms at position {} in line.",
        wait.waited.as_millis(),
        wait.position + 1
    ))
}

/// Nobody answers any more: a bug.
pub(super) fn lost() -> Fault {
    Fault::new(Blame::Proxy, SqlState::INTERNAL_ERROR, "a waiting client was forgotten")
}
