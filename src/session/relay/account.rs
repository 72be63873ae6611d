//! What was learned of a lease, for the session to take.

use super::{Heard, Relay};
use crate::server::Params;
use crate::session::clock::Doing;
use crate::session::lexer::Hints;
use crate::session::schema::Reading;

impl Relay {
    /// What the session is at.
    pub(in crate::session) fn doing(&self) -> Doing {
        if !self.is_busy() {
            Doing::Idle
        } else if self.exchange.is_idle_in_transaction() {
            Doing::IdleInTransaction
        } else {
            Doing::Query
        }
    }

    /// How often the server was ready for a query in this lease.
    pub(in crate::session) fn turns(&self) -> u32 {
        self.heard.turns
    }

    /// Starts a lease: the server owes nothing. The client's statements are read under `params`
    /// and what is known of the tenant's functions.
    pub(in crate::session) fn begin(&mut self, params: &Params, reading: &Reading) {
        self.exchange.reset();
        self.heard = Heard::default();
        self.up.forget_hints();
        self.up.read_under(params);
        self.up.read_with(reading);
    }

    /// The server has been told to begin a transaction, which has this status.
    pub(in crate::session) fn begun(&mut self, status: u8) {
        self.exchange.begun(status);
    }

    /// The tenant's functions were read anew.
    pub(in crate::session) fn read_with(&mut self, reading: &Reading) {
        self.up.read_with(reading);
    }

    /// Transactions ended since the lease began, and starts counting anew.
    pub(in crate::session) fn take_ends(&mut self) -> u32 {
        std::mem::take(&mut self.heard.ends)
    }

    /// Whether a command has changed functions since the last call, or who calls those that are
    /// known: then it named one.
    pub(in crate::session) fn take_functions_changed(&mut self) -> bool {
        let known =
            Hints::ROUTINE | Hints::FOREIGN | Hints::SEQ_NEXT | Hints::ADVANCER | Hints::LISTS;
        let named = self.up.hints.intersects(known);
        let callers = std::mem::take(&mut self.heard.callers_changed) && named;
        std::mem::take(&mut self.heard.functions_changed) || callers
    }

    /// Whether something was done that may have called functions of the tenant's.
    pub(in crate::session) fn runs_code(&self) -> bool {
        self.up.runs_code()
    }

    /// Whether a command has changed the schema since the last call.
    pub(in crate::session) fn take_migrated(&mut self) -> bool {
        std::mem::take(&mut self.heard.migrated)
    }

    /// Whether since the last call something was refused that is sent again.
    pub(in crate::session) fn take_repeated(&mut self) -> bool {
        std::mem::take(&mut self.heard.repeated)
    }

    /// What was done to session state since the last call, and which custom settings were named.
    pub(in crate::session) fn take_hints(&mut self) -> (Hints, Vec<String>) {
        let hints = self.up.done() | std::mem::take(&mut self.heard.hints);
        let settings = std::mem::take(&mut self.up.settings);
        self.up.forget_hints();
        (hints, settings)
    }
}
