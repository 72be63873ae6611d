//! The pool's figures, for the console, the ops pages and the metrics.

use std::time::Duration;

use super::{Limits, Pin};
use crate::ident::{ServerKey, TenantId};

/// One tenant's room at an instant.
#[derive(Debug, Clone)]
pub struct RoomFigures {
    /// Whose.
    pub tenant: TenantId,
    /// The PostgreSQL server it leads to.
    pub server: ServerKey,
    /// Whether the tenant is suspended.
    pub suspended: bool,
    /// Whether an operator has paused it: clients wait, no server is held.
    pub paused: bool,
    /// The limits in force.
    pub limits: Limits,
    /// Clients logged in.
    pub clients: u32,
    /// Clients waiting for a server connection.
    pub waiting: u32,
    /// Server connections idle.
    pub idle: u32,
    /// Server connections lent, pinned ones included.
    pub leased: u32,
    /// Server connections pinned.
    pub pinned: u32,
    /// Server connections being dialed.
    pub dialing: u32,
    /// Server connections being closed.
    pub closing: u32,
    /// Pinned leases by [`Pin::index`]; one lease may count for several reasons.
    pub pins: [u32; Pin::ALL.len()],
    /// Leases given since the room was opened.
    pub leases: u64,
    /// How long leases that ended were held, all together.
    pub leased_time: Duration,
    /// How long those who were served from the line had waited, all together.
    pub wait_time: Duration,
    /// Transactions that ended, as far as sessions count them.
    pub transactions: u64,
    /// How long the first in line has waited.
    pub oldest_wait: Option<Duration>,
    /// What those in line wait for; `None` while nobody waits.
    pub waits_for: Option<WaitsFor>,
}

/// The limit in the way of a tenant's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitsFor {
    /// Its name: a setting, or what PostgreSQL says.
    pub limit: &'static str,
    /// How much of it is used,
    pub used: u32,
    /// of how much, where that is known.
    pub of: Option<u32>,
}

impl RoomFigures {
    /// Server connections that hold a slot.
    pub fn used(&self) -> u32 {
        self.idle + self.leased + self.dialing + self.closing
    }
}

/// One PostgreSQL server's budget at an instant.
#[derive(Debug, Clone)]
pub struct BudgetFigures {
    /// Which server.
    pub server: ServerKey,
    /// Connections all tenants together may hold in this process.
    pub total: u32,
    /// Connections they may hold in all processes.
    pub of_all: u32,
    /// Connections held: from the dial to the end of file.
    pub used: u32,
    /// Of those, being dialed.
    pub dialing: u32,
    /// Of those, being closed.
    pub closing: u32,
    /// Connections pinned or in session mode.
    pub pinned: u32,
    /// Connections that may be.
    pub pin_max: u32,
    /// Tenants waiting for a connection.
    pub waiting: usize,
    /// Connections guaranteed to the tenants present, all together. Above `total` every guarantee
    /// is scaled down by the same factor.
    pub guaranteed: u64,
    /// How long a tenant keeps a contended connection now.
    pub turn: Duration,
    /// Whether PostgreSQL had no connection left when it was last asked.
    pub is_full: bool,
}
