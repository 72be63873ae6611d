//! How subscriptions move, and which of two events is the newer. Pure.

/// Stripe's words for the state of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Trialing,
    PastDue,
    Unpaid,
    Paused,
    Canceled,
    Incomplete,
    IncompleteExpired,
}

/// Best first: what a customer with several subscriptions has. The last two never began.
const ALL: [(Status, &str, &str); 8] = [
    (Status::Active, "active", "active"),
    (Status::Trialing, "trialing", "trial"),
    (Status::PastDue, "past_due", "past_due"),
    (Status::Unpaid, "unpaid", "unpaid"),
    (Status::Paused, "paused", "paused"),
    (Status::Canceled, "canceled", "cancelled"),
    (Status::Incomplete, "incomplete", "incomplete"),
    (Status::IncompleteExpired, "incomplete_expired", "incomplete_expired"),
];

impl Status {
    /// Reads Stripe's word.
    pub(super) fn parse(text: &str) -> Option<Self> {
        ALL.iter().find(|(_, word, _)| *word == text).map(|(status, ..)| *status)
    }

    /// Stripe's word.
    pub(super) fn as_str(self) -> &'static str {
        ALL.iter().find(|(status, ..)| *status == self).map_or("", |(_, word, _)| word)
    }

    /// The registry's word for `subscriptionStatus`.
    pub(super) fn registry_word(self) -> &'static str {
        ALL.iter().find(|(status, ..)| *status == self).map_or("", |(.., word)| word)
    }

    /// The one that counts for a customer with all of these. A subscription whose first payment
    /// has not come neither gives nor takes anything.
    pub(super) fn best(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        let place = |status: Self| ALL.iter().position(|(known, ..)| *known == status);
        all.into_iter()
            .filter(|status| !matches!(status, Self::Incomplete | Self::IncompleteExpired))
            .min_by_key(|status| place(*status))
    }

    /// Nothing comes after it.
    fn is_last(self) -> bool {
        matches!(self, Self::Canceled | Self::IncompleteExpired)
    }
}

/// A subscription as one event tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) status: Status,
    /// The status it had before, where the event says that it changed.
    pub(super) before: Option<Status>,
    /// When, by Stripe's clock, in whole seconds.
    pub(super) at: i64,
    /// Whether the event is the subscription's creation.
    pub(super) is_first: bool,
}

impl State {
    /// Whether this one is to replace `held`. Deliveries come in any order, and several events
    /// often bear the same second: then what each says of the status before tells the order.
    pub(super) fn supersedes(&self, held: &Self) -> bool {
        if held.status.is_last() {
            return false;
        }
        if self.status.is_last() {
            return true;
        }
        if self.at != held.at {
            return self.at > held.at;
        }
        if self.is_first || held.is_first {
            return held.is_first && !self.is_first;
        }
        self.before == Some(held.status) || held.before != Some(self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: Status, before: Option<Status>, at: i64) -> State {
        State { status, before, at, is_first: false }
    }

    /// Takes events in some order, as the hook does.
    fn settled(events: &[State]) -> Status {
        let mut held: Option<State> = None;
        for event in events {
            if held.is_none_or(|held| event.supersedes(&held)) {
                held = Some(*event);
            }
        }
        held.expect("some").status
    }

    #[test]
    fn the_order_of_delivery_does_not_matter() {
        use Status::{Active, Canceled, Incomplete, PastDue, Trialing};
        let first = |status, at| State { is_first: true, ..state(status, None, at) };
        let lives: [&[State]; 4] = [
            &[
                first(Trialing, 1),
                state(Active, Some(Trialing), 5),
                state(PastDue, Some(Active), 9),
            ],
            // All within one second.
            &[first(Incomplete, 1), state(Active, Some(Incomplete), 1)],
            &[
                first(Trialing, 1),
                state(Active, Some(Trialing), 1),
                state(PastDue, Some(Active), 2),
            ],
            &[state(Active, None, 3), state(PastDue, Some(Active), 3), state(Canceled, None, 3)],
        ];
        for life in lives {
            let wanted = life.last().expect("not empty").status;
            let mut orders = vec![life.to_vec()];
            for n in 0..life.len() {
                let mut turned = life.to_vec();
                turned.rotate_left(n);
                orders.push(turned.clone());
                turned.reverse();
                orders.push(turned);
            }
            for order in orders {
                assert_eq!(settled(&order), wanted, "{order:?}");
            }
        }
    }

    #[test]
    fn the_best_of_several_counts() {
        use Status::{Active, Canceled, Incomplete, IncompleteExpired, PastDue, Trialing};
        for (all, best) in [
            (vec![Canceled, Active], Some(Active)),
            (vec![Canceled, PastDue, Canceled], Some(PastDue)),
            (vec![Incomplete, Trialing], Some(Trialing)),
            (vec![Incomplete, IncompleteExpired], None),
            (vec![Canceled, Incomplete], Some(Canceled)),
            (vec![], None),
        ] {
            assert_eq!(Status::best(all.clone()), best, "{all:?}");
        }
        for (status, word, _) in ALL {
            assert_eq!((Status::parse(word), status.as_str()), (Some(status), word));
        }
        assert_eq!(Trialing.registry_word(), "trial");
    }
}
