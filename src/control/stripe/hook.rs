//! Webhooks taken in: genuine, once, and in Stripe's order whatever the order of delivery.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::event::{Event, Subscription};
use super::signature::{self, BadSignature};
use super::subscription::{State, Status};
use super::{StripeMetrics, StripeSettings};
use crate::control::failed;
use crate::fault::Fault;
use crate::tenant::Registry;
use crate::units::Secret;

/// What became of a webhook. All are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It moved a tenant's status, or confirmed it.
    Applied,
    /// Taken in before.
    Duplicate,
    /// An event that was newer is known.
    Outdated,
    /// Its customer is no tenant's (yet): remembered.
    Stranger,
    /// Of a kind that moves nothing.
    Ignored,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Outdated => "outdated",
            Self::Stranger => "stranger",
            Self::Ignored => "ignored",
        }
    }
}

/// Why a webhook was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum HookRefused {
    /// Not Stripe's.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Signed, but no event this pgusher can read.
    #[error("the body is no event that can be read")]
    Unreadable,
    /// The registry fails: Stripe delivers it again.
    #[error(transparent)]
    Failed(#[from] Fault),
}

/// Takes webhooks in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StripeHook {
    registry: Registry,
    secret: Secret,
    tolerance: Duration,
    plans: BTreeMap<String, String>,
    metrics: StripeMetrics,
}

impl StripeHook {
    /// A hook, where the settings have a secret for it.
    pub fn new(
        registry: Registry,
        settings: &StripeSettings,
        metrics: StripeMetrics,
    ) -> Option<Self> {
        (!settings.webhook_secret.is_empty()).then(|| Self {
            registry,
            secret: settings.webhook_secret.clone(),
            tolerance: settings.tolerance.get(),
            plans: settings.plans.clone(),
            metrics,
        })
    }

    /// Takes one in: when this returns well, it is committed.
    ///
    /// # Errors
    /// [`HookRefused`].
    pub async fn take(
        &self,
        signature: &str,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Outcome, HookRefused> {
        let taken = Box::pin(self.taken(signature, body, now)).await;
        let word = match &taken {
            Ok(outcome) => outcome.as_str(),
            Err(HookRefused::Signature(_)) => "forged",
            Err(HookRefused::Unreadable) => "unreadable",
            Err(HookRefused::Failed(_)) => "failed",
        };
        self.metrics.events.with_label_values(&[word]).inc();
        taken
    }

    async fn taken(
        &self,
        signature: &str,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Outcome, HookRefused> {
        signature::verify(signature, body, &self.secret, (now, self.tolerance))?;
        let event = Event::read(body).ok_or(HookRefused::Unreadable)?;
        let Some(subscription) = &event.subscription else {
            return Ok(Outcome::Ignored);
        };
        let mut client = self.registry.client().await?;
        let tx = client.transaction().await.map_err(failed::registry)?;
        let sql = "INSERT INTO pgusher.stripe_events (id, kind, outcome) VALUES ($1, $2, 'applied')
                   ON CONFLICT DO NOTHING";
        if execute(&tx, sql, &[&event.id, &event.kind]).await? == 0 {
            return Ok(Outcome::Duplicate);
        }
        // One event of a customer at a time, and none beside the moment it becomes a tenant's.
        lock(&tx, &subscription.customer).await?;
        let outcome = if self.remember(&tx, subscription).await? {
            if settle(&tx, &subscription.customer).await? {
                Outcome::Applied
            } else {
                Outcome::Stranger
            }
        } else {
            Outcome::Outdated
        };
        let sql = "UPDATE pgusher.stripe_events SET outcome = $2 WHERE id = $1";
        execute(&tx, sql, &[&event.id, &outcome.as_str()]).await?;
        tx.commit().await.map_err(failed::registry)?;
        Ok(outcome)
    }

    /// Writes the subscription as the event has it, unless something newer is known.
    async fn remember(&self, tx: &Transaction<'_>, new: &Subscription) -> Result<bool, Fault> {
        let sql = "SELECT status, status_before, extract(epoch FROM event_at)::bigint, is_first
                   FROM pgusher.stripe_subscriptions WHERE id = $1 FOR UPDATE";
        let row = tx.query_opt(sql, &[&new.id]).await.map_err(failed::registry)?;
        let held = row.map(|row| state(&row)).transpose().map_err(failed::registry)?.flatten();
        if held.is_some_and(|held| !new.state.supersedes(&held)) {
            return Ok(false);
        }
        let plan = new.prices.iter().find_map(|price| self.plans.get(price));
        let sql = "INSERT INTO pgusher.stripe_subscriptions AS s (id, customer, status,
                       status_before, plan, trial_ends_at, event_at, is_first)
                   VALUES ($1, $2, $3, $4, $5, to_timestamp($6), to_timestamp($7), $8)
                   ON CONFLICT (id) DO UPDATE SET customer = excluded.customer,
                       status = excluded.status, status_before = excluded.status_before,
                       plan = coalesce(excluded.plan, s.plan),
                       trial_ends_at = excluded.trial_ends_at, event_at = excluded.event_at,
                       is_first = excluded.is_first, changed_at = now()";
        let row: [&(dyn ToSql + Sync); 8] = [
            &new.id,
            &new.customer,
            &new.state.status.as_str(),
            &new.state.before.map(Status::as_str),
            &plan,
            &new.trial_ends_at.map(seconds),
            &seconds(new.state.at),
            &new.state.is_first,
        ];
        execute(tx, sql, &row).await?;
        Ok(true)
    }
}

/// As PostgreSQL's `to_timestamp` takes it, within its calendar.
fn seconds(seconds: i64) -> f64 {
    // The years 1 to 9999.
    let within = seconds.clamp(-62_135_596_800, 253_402_300_799);
    let (high, low) = (within.div_euclid(1 << 20), within.rem_euclid(1 << 20));
    // Both halves fit an i32: nothing is lost on the way to a float.
    let half = |n: i64| f64::from(i32::try_from(n).unwrap_or_default());
    half(high) * f64::from(1 << 20) + half(low)
}

fn state(row: &tokio_postgres::Row) -> Result<Option<State>, tokio_postgres::Error> {
    let (status, before): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let (at, is_first) = (row.try_get(2)?, row.try_get(3)?);
    let before = before.as_deref().and_then(Status::parse);
    Ok(Status::parse(&status).map(|status| State { status, before, at, is_first }))
}

/// Holds a customer until the transaction ends.
pub(super) async fn lock(tx: &Transaction<'_>, customer: &str) -> Result<(), Fault> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended('stripe ' || $1, 0))";
    tx.query(sql, &[&customer]).await.map_err(failed::registry)?;
    Ok(())
}

/// Makes the tenant's status what its customer's subscriptions are. Whether it is a tenant's.
pub(super) async fn settle(tx: &Transaction<'_>, customer: &str) -> Result<bool, Fault> {
    let sql = "SELECT status, plan, extract(epoch FROM trial_ends_at)::bigint
               FROM pgusher.stripe_subscriptions WHERE customer = $1 ORDER BY event_at DESC, id";
    let mut all: Vec<(Status, Option<String>, Option<i64>)> = Vec::new();
    for row in tx.query(sql, &[&customer]).await.map_err(failed::registry)? {
        let status: String = row.try_get(0).map_err(failed::registry)?;
        let plan = row.try_get(1).map_err(failed::registry)?;
        let trial = row.try_get(2).map_err(failed::registry)?;
        all.extend(Status::parse(&status).map(|status| (status, plan, trial)));
    }
    let best = Status::best(all.iter().map(|(status, ..)| *status));
    let chosen = best.and_then(|best| all.iter().find(|(status, ..)| *status == best));
    let Some((status, plan, trial)) = chosen else {
        let sql = r#"SELECT FROM public."Church" WHERE "stripeCustomerId" = $1"#;
        return Ok(tx.query_opt(sql, &[&customer]).await.map_err(failed::registry)?.is_some());
    };
    let trial = trial.filter(|_| *status == Status::Trialing).map(seconds);
    // The registry's timestamps have no zone: everybody writes them in UTC.
    let sql = r#"
        WITH church AS (
            UPDATE public."Church" SET "subscriptionStatus" = $2,
                "trialEndsAt" = coalesce(to_timestamp($3) AT TIME ZONE 'UTC', "trialEndsAt"),
                "updatedAt" = current_timestamp
            WHERE "stripeCustomerId" = $1 RETURNING "id"),
        tenant AS (
            UPDATE public."Tenant" SET "subscriptionStatus" = $2,
                "subscriptionPlan" = coalesce($4, "subscriptionPlan"),
                "trialEndsAt" = coalesce(to_timestamp($3) AT TIME ZONE 'UTC', "trialEndsAt"),
                "updatedAt" = current_timestamp
            WHERE "churchId" IN (SELECT "id" FROM church) RETURNING 1)
        SELECT EXISTS (SELECT FROM church)"#;
    let row: [&(dyn ToSql + Sync); 4] = [&customer, &status.registry_word(), &trial, plan];
    let found = tx.query_one(sql, &row).await.and_then(|row| row.try_get(0));
    found.map_err(failed::registry)
}

async fn execute(
    tx: &Transaction<'_>,
    sql: &str,
    row: &[&(dyn ToSql + Sync)],
) -> Result<u64, Fault> {
    tx.execute(sql, row).await.map_err(failed::registry)
}

#[cfg(test)]
mod tests {
    #[test]
    fn seconds_keep_their_value() {
        for n in [0, 1, 1_795_287_330, 253_402_300_799, -1, i64::MAX, i64::MIN] {
            let within = n.clamp(-62_135_596_800, 253_402_300_799);
            assert_eq!(format!("{}", super::seconds(n)), format!("{within}"));
        }
    }
}
