//! What Stripe is to be told: taken from the registry's outbox after the commit that put it there,
//! tried until it is done. Several processes may run this side by side.

use std::time::{Duration, Instant};

use super::breaker::Breaker;
use super::client::{CallFailed, NewCustomer, StripeApi};
use super::hook::{lock, settle};
use super::{StripeMetrics, StripeSettings};
use crate::control::{failed, verifier};
use crate::fault::Fault;
use crate::tenant::Registry;

/// How often it is looked for work. Nobody waits for it.
const STEP: Duration = Duration::from_secs(1);

/// Rows taken at once.
const BATCH: usize = 10;

/// How often what nobody needs any more is dropped.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Makes tenants Stripe's customers.
#[derive(Debug)]
pub struct Outbox {
    registry: Registry,
    api: StripeApi,
    settings: StripeSettings,
    breaker: Breaker,
    metrics: StripeMetrics,
}

/// A row that was taken.
struct Taken {
    id: i64,
    attempts: i32,
    customer: NewCustomer,
}

impl Outbox {
    /// An outbox, where the settings have a key for it.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(
        registry: Registry,
        settings: &StripeSettings,
        metrics: StripeMetrics,
    ) -> Result<Option<Self>, String> {
        if settings.secret_key.is_empty() {
            return Ok(None);
        }
        let breaker = Breaker::new(settings.breaker_failures, settings.breaker_pause.get());
        let api = StripeApi::new(settings)?;
        Ok(Some(Self { registry, api, settings: settings.clone(), breaker, metrics }))
    }

    /// Works until cancelled.
    pub async fn run(mut self) {
        let mut pruned: Option<Instant> = None;
        let mut step = tokio::time::interval(STEP);
        step.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            step.tick().await;
            if let Err(fault) = self.pass().await {
                fault.log();
            }
            if pruned.is_none_or(|at| at.elapsed() > PRUNE_EVERY) {
                pruned = Some(Instant::now());
                if let Err(fault) = self.prune().await {
                    fault.log();
                }
            }
        }
    }

    /// Works off what is due.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn pass(&mut self) -> Result<(), Fault> {
        loop {
            let now = Instant::now();
            let wanted = self.breaker.allows(BATCH, now);
            self.metrics.breaker_open.set(i64::from(self.breaker.is_open(now)));
            let taken = if wanted == 0 { Vec::new() } else { self.take(wanted).await? };
            self.count().await?;
            if taken.is_empty() {
                return Ok(());
            }
            for row in taken {
                if self.breaker.is_open(Instant::now()) {
                    // Back it goes, as if it had not been taken.
                    self.put_back(&row, Duration::ZERO, None).await?;
                    continue;
                }
                self.work(row).await?;
            }
        }
    }

    async fn work(&mut self, row: Taken) -> Result<(), Fault> {
        // Once per tenant, however often it is sent and whoever sends it.
        let key = format!("pgusher-customer-{}", row.customer.tenant);
        match self.api.make_customer(&row.customer, &key).await {
            Ok(customer) => {
                self.breaker.succeeded();
                self.metrics.calls.with_label_values(&["done"]).inc();
                self.done(&row, &customer).await
            }
            Err(CallFailed::Again { why, after }) => {
                self.breaker.failed(Instant::now());
                self.metrics.calls.with_label_values(&["again"]).inc();
                tracing::warn!(tenant = row.customer.tenant, why, "stripe was not told yet");
                let wait = self.backoff(row.attempts)?.max(after.unwrap_or_default());
                self.put_back(&row, wait, Some(&why)).await
            }
            Err(CallFailed::ForGood(why)) => {
                // They answer: it is this row that is wrong.
                self.breaker.succeeded();
                self.metrics.calls.with_label_values(&["refused"]).inc();
                tracing::error!(tenant = row.customer.tenant, why, "stripe refuses a customer");
                let sql = "UPDATE pgusher.outbox SET failed_at = now(), failure = $2 WHERE id = $1";
                let client = self.registry.client().await?;
                client.execute(sql, &[&row.id, &why]).await.map_err(failed::registry)?;
                Ok(())
            }
        }
    }

    /// Takes rows that are due: whoever takes one moves it ahead, so that it comes again if its
    /// taker dies.
    async fn take(&self, wanted: usize) -> Result<Vec<Taken>, Fault> {
        let sql = r#"WITH due AS (
                         SELECT id FROM pgusher.outbox
                         WHERE kind = 'stripe_customer' AND failed_at IS NULL AND next_at <= now()
                         ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED),
                     taken AS (
                         UPDATE pgusher.outbox o SET attempts = attempts + 1,
                             next_at = now() + make_interval(secs => $2)
                         FROM due WHERE o.id = due.id RETURNING o.id, o.tenant_id, o.attempts)
                     SELECT taken.id, taken.attempts, taken.tenant_id, t."name"::text,
                         t."email"::text
                     FROM taken JOIN public."Tenant" t ON t."id" = taken.tenant_id"#;
        let hold = self.settings.timeout.get().as_secs_f64() * 12.0;
        let wanted = i64::try_from(wanted).unwrap_or(1);
        let client = self.registry.client().await?;
        let rows = client.query(sql, &[&wanted, &hold]).await.map_err(failed::registry)?;
        let read = |row: &tokio_postgres::Row| {
            let name: Option<String> = row.try_get(3)?;
            let email: Option<String> = row.try_get(4)?;
            let customer = NewCustomer {
                tenant: row.try_get(2)?,
                name: name.unwrap_or_default(),
                email: email.unwrap_or_default(),
            };
            Ok(Taken { id: row.try_get(0)?, attempts: row.try_get(1)?, customer })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(failed::registry)
    }

    /// The tenant is a customer, and has what was heard of that customer before.
    async fn done(&self, row: &Taken, customer: &str) -> Result<(), Fault> {
        let mut client = self.registry.client().await?;
        let tx = client.transaction().await.map_err(failed::registry)?;
        lock(&tx, customer).await?;
        let sql = r#"UPDATE public."Church" SET "stripeCustomerId" = $2,
                         "updatedAt" = current_timestamp
                     WHERE "stripeCustomerId" IS NULL AND "id" =
                         (SELECT "churchId" FROM public."Tenant" WHERE "id" = $1)"#;
        let row_of: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&row.customer.tenant, &customer];
        tx.execute(sql, &row_of).await.map_err(failed::registry)?;
        settle(&tx, customer).await?;
        let sql = "DELETE FROM pgusher.outbox WHERE id = $1";
        tx.execute(sql, &[&row.id]).await.map_err(failed::registry)?;
        tx.commit().await.map_err(failed::registry)
    }

    async fn put_back(&self, row: &Taken, wait: Duration, why: Option<&str>) -> Result<(), Fault> {
        let sql = "UPDATE pgusher.outbox SET failure = coalesce($3, failure),
                       attempts = CASE WHEN $3 IS NULL THEN attempts - 1 ELSE attempts END,
                       next_at = now() + make_interval(secs => $2) WHERE id = $1";
        let client = self.registry.client().await?;
        let secs = wait.as_secs_f64();
        client.execute(sql, &[&row.id, &secs, &why]).await.map_err(failed::registry)?;
        Ok(())
    }

    /// Twice as long with each failure, and by chance between half and all of it: those who failed
    /// together do not come back together.
    fn backoff(&self, attempts: i32) -> Result<Duration, Fault> {
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(31);
        let (min, max) = (self.settings.retry_min.get(), self.settings.retry_max.get());
        let whole = min.saturating_mul(1 << doublings).min(max).max(min);
        let chance = f64::from(u16::from_be_bytes(verifier::random::<2>()?)) / f64::from(u16::MAX);
        Ok(whole.mul_f64(0.5 + chance / 2.0))
    }

    async fn count(&self) -> Result<(), Fault> {
        let client = self.registry.client().await?;
        // Counted as far as it is worth knowing: after a long outage there may be many.
        let sql = "SELECT count(*) FROM (SELECT FROM pgusher.outbox WHERE failed_at IS NULL
                                         LIMIT 10000) waiting";
        let row = client.query_one(sql, &[]).await.and_then(|row| row.try_get(0));
        self.metrics.waiting.set(row.map_err(failed::registry)?);
        Ok(())
    }

    async fn prune(&self) -> Result<(), Fault> {
        let client = self.registry.client().await?;
        // Whoever made it a customer, it is one.
        let sql = r#"DELETE FROM pgusher.outbox o USING public."Tenant" t, public."Church" c
                     WHERE t."id" = o.tenant_id AND c."id" = t."churchId"
                     AND c."stripeCustomerId" IS NOT NULL"#;
        client.batch_execute(sql).await.map_err(failed::registry)
    }
}
