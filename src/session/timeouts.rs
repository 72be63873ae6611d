//! Timeouts of queries, transactions and idle clients, and of what is remembered: one task looks
//! over all of it.

use std::sync::Arc;
use std::time::Duration;

use super::clock::{Doing, Overdue};
use super::cut::Cut;
use super::live::Live;
use super::relay::{Relay, trim_pages};
use super::roster::Card;
use super::shared::Shared;
use crate::net;
use crate::pool::Timeout;
use crate::server::send_cancel;

/// How often it is looked.
const STEP: Duration = Duration::from_millis(100);

/// After so many steps it is looked what is out of date.
const SWEEP_STEPS: u32 = 50;

impl Shared {
    /// Looks after timeouts, for ever. One such task must run. What it costs is a read of an atomic
    /// or two for each session, ten times a second.
    pub async fn keep_time(self: &Arc<Self>) {
        let mut step = tokio::time::interval(STEP);
        step.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut steps = 0_u32;
        loop {
            step.tick().await;
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(SWEEP_STEPS) {
                self.sweep();
                trim_pages();
            }
            let mut slow = Vec::new();
            self.roster().each(|card| match card.overdue() {
                None => {}
                Some(Overdue::Query) => slow.push(Arc::clone(card)),
                Some(Overdue::Session(which)) => card.cut(Cut::Overdue(which)),
            });
            for card in slow {
                self.cancel_overdue(&card);
            }
        }
    }

    /// A real cancel, as a client would send it: PostgreSQL ends the statement with 57014.
    fn cancel_overdue(self: &Arc<Self>, card: &Arc<Card>) {
        let Some((gate, in_flight)) = card.begin_cancel() else { return };
        let (shared, card) = (Arc::clone(self), Arc::clone(card));
        net::spawn(async move {
            let sent = send_cancel(&shared.parts.dialer, &gate, in_flight).await;
            if sent.is_err() {
                // It is tried again.
                card.clock().not_cancelled();
            }
            let label = if sent.is_ok() { "timeout" } else { "failed" };
            shared.parts.metrics.cancels.with_label_values(&[label]).inc();
        });
    }
}

impl Live {
    /// Tells the time by what the session is at now. Costs next to nothing for tenants without
    /// timeouts.
    pub(super) fn now_at(&mut self, doing: Doing) {
        if self.doing != doing {
            self.doing = doing;
            let clock = self.entry.card().clock();
            if self.membership.room().timeouts().any() {
                clock.turn(doing);
            } else {
                clock.untimed(doing);
            }
        }
    }

    /// The same by what the relay is at; `ended` when a transaction was seen to end.
    pub(super) fn now_at_relay(&mut self, relay: &Relay, ended: bool) {
        let turns = relay.turns();
        if ended {
            self.entry.card().clock().transaction_ended();
        }
        if ended || turns != self.turns {
            // The next query, if there is one.
            self.turns = turns;
            self.doing = Doing::Waiting;
        }
        self.now_at(relay.doing());
    }

    /// Whether a reason to end the session still holds: what was overdue when it was looked may
    /// have come to its end since.
    pub(super) fn still_cut(&self, why: Cut, relay: Option<&Relay>) -> bool {
        let doing = relay.map_or(self.deferred.doing(), Relay::doing);
        let holds = match why {
            Cut::Overdue(Timeout::ClientIdle) => doing == Doing::Idle,
            Cut::Overdue(Timeout::IdleInTransaction) => doing == Doing::IdleInTransaction,
            Cut::Overdue(Timeout::Transaction) => doing != Doing::Idle,
            _ => true,
        };
        if !holds {
            self.entry.card().pardon(why);
        }
        holds
    }
}
