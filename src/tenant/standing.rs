//! What a tenant may still do, by how its subscription stands. Pure: the clock is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::ident::Role;
use crate::units::Span;

/// What a tenant in some state of payment may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permits {
    /// Everything, as if it had paid.
    Allow,
    /// Read. Inbound messages are stored all the same.
    Readonly,
    /// Nothing: its sessions are cut, new ones refused.
    Suspend,
}

/// Whether the policies hold at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforce {
    /// When `stripe.webhook_secret` is set: only then does a payment move the status back.
    #[default]
    Auto,
    /// Always; something else writes the status.
    Always,
    /// Never.
    Never,
}

/// `[billing]`: what a tenant may do that does not pay, or not any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BillingSettings {
    /// Whether the rest holds: `auto` (when `stripe.webhook_secret` is set), `always`, `never`.
    pub enforce: Enforce,
    /// What a tenant may do whose trial has ended and who took no subscription: `allow`,
    /// `readonly` or `suspend`.
    pub on_trial_expired: Permits,
    /// How long after its end a trial goes on.
    pub trial_grace: Span,
    /// The same for a payment that failed and is being tried again (`past_due`).
    pub on_past_due: Permits,
    /// The same when no payment came and none is tried any more (`unpaid`, `paused`).
    pub on_unpaid: Permits,
    /// The same for a subscription that was cancelled.
    pub on_cancelled: Permits,
}

impl Default for BillingSettings {
    fn default() -> Self {
        Self {
            enforce: Enforce::Auto,
            on_trial_expired: Permits::Readonly,
            trial_grace: Span::default(),
            on_past_due: Permits::Allow,
            on_unpaid: Permits::Readonly,
            on_cancelled: Permits::Readonly,
        }
    }
}

impl BillingSettings {
    /// The rules these settings make, where payments are heard of or not.
    pub fn rules(&self, payments_heard: bool) -> BillingRules {
        let holds = match self.enforce {
            Enforce::Auto => payments_heard,
            Enforce::Always => true,
            Enforce::Never => false,
        };
        let grace = i64::try_from(self.trial_grace.get().as_secs()).unwrap_or(i64::MAX);
        let held = |permits| if holds { permits } else { Permits::Allow };
        BillingRules {
            trial_expired: held(self.on_trial_expired),
            trial_grace: grace,
            past_due: held(self.on_past_due),
            unpaid: held(self.on_unpaid),
            cancelled: held(self.on_cancelled),
        }
    }
}

/// The policies in force. Without any, everybody may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BillingRules {
    trial_expired: Permits,
    trial_grace: i64,
    past_due: Permits,
    unpaid: Permits,
    cancelled: Permits,
}

impl Default for BillingRules {
    fn default() -> Self {
        BillingSettings::default().rules(false)
    }
}

impl BillingRules {
    /// Whether there is a policy at all.
    pub fn any(&self) -> bool {
        let all = [self.trial_expired, self.past_due, self.unpaid, self.cancelled];
        all.iter().any(|permits| *permits != Permits::Allow)
    }

    /// What a tenant may do with this `subscriptionStatus`, and this end of its trial in seconds
    /// since 1970. A word nobody knows takes nothing away: another system may have written it.
    pub fn permits(&self, status: &str, trial_ends_at: Option<i64>, now: SystemTime) -> Permits {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        match status.to_ascii_lowercase().as_str() {
            "trial" | "trialing" => match trial_ends_at {
                Some(end) if end.saturating_add(self.trial_grace) <= now => self.trial_expired,
                _ => Permits::Allow,
            },
            "trial_expired" | "expired" => self.trial_expired,
            "past_due" => self.past_due,
            "unpaid" | "paused" => self.unpaid,
            "cancelled" | "canceled" => self.cancelled,
            _ => Permits::Allow,
        }
    }
}

impl Permits {
    /// The role of a session that asks for `role`. pgusher's own hand is not bound: messages of a
    /// tenant that has not paid are not lost.
    pub fn role(self, role: Role) -> Role {
        match (self, role) {
            (Self::Readonly, Role::Owner | Role::App) => Role::Readonly,
            _ => role,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn nothing_is_enforced_where_no_payment_is_heard_of() {
        let settings = BillingSettings::default();
        assert!(!settings.rules(false).any() && settings.rules(true).any());
        let always = BillingSettings { enforce: Enforce::Always, ..settings.clone() };
        let never = BillingSettings { enforce: Enforce::Never, ..settings };
        assert!(always.rules(false).any() && !never.rules(true).any());
    }

    #[test]
    fn a_trial_ends_when_its_grace_is_over() {
        let settings = BillingSettings { trial_grace: Span::secs(10), ..Default::default() };
        let rules = settings.rules(true);
        for (now, permits) in
            [(99, Permits::Allow), (109, Permits::Allow), (110, Permits::Readonly)]
        {
            assert_eq!(rules.permits("trial", Some(100), at(now)), permits, "{now}");
        }
        assert_eq!(rules.permits("trial", None, at(1_000)), Permits::Allow);
        assert_eq!(rules.permits("active", Some(100), at(1_000)), Permits::Allow);
    }

    #[test]
    fn each_status_has_its_policy() {
        let settings = BillingSettings { on_cancelled: Permits::Suspend, ..Default::default() };
        let rules = settings.rules(true);
        for (status, permits) in [
            ("active", Permits::Allow),
            ("past_due", Permits::Allow),
            ("UNPAID", Permits::Readonly),
            ("paused", Permits::Readonly),
            ("canceled", Permits::Suspend),
            ("cancelled", Permits::Suspend),
            ("what another system wrote", Permits::Allow),
            ("", Permits::Allow),
        ] {
            assert_eq!(rules.permits(status, None, at(0)), permits, "{status}");
        }
    }

    #[test]
    fn only_those_who_could_write_are_bound() {
        use Role::{App, Owner, Readonly, Sidecar};
        let bound = |role| Permits::Readonly.role(role);
        assert_eq!(
            [Owner, App, Readonly, Sidecar].map(bound),
            [Readonly, Readonly, Readonly, Sidecar]
        );
        assert_eq!(Permits::Allow.role(Owner), Owner);
    }
}
