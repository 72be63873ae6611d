//! A proven webhook on its way to the tenants it is for, within the provider's patience.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::event::Parcel;
use super::lanes::Lanes;
use super::settling::Settling;
use super::{Event, Inbound, IntakeSettings, Receipt, SmsMetrics, Store};
use crate::control::phone::{E164, Numbers};
use crate::fault::Fault;
use crate::ident::TenantId;

/// Takes events in. Cheap to clone.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    numbers: Numbers,
    store: Store,
    lanes: Lanes,
    metrics: SmsMetrics,
    deadline: Duration,
    settling: Arc<Settling>,
}

/// What became of one webhook that was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Tenants whose database has it now.
    pub stored: u32,
    /// Tenants whose database had it before.
    pub duplicate: u32,
    /// Tenants whose dead letters have it.
    pub dead: u32,
    /// Events for numbers that are nobody's.
    pub unknown: u32,
}

/// Why a webhook was not taken. Nothing of it is promised; the provider brings it again.
#[derive(Debug, thiserror::Error)]
pub enum Untaken {
    /// Not within the deadline.
    #[error("it took too long; bring it again")]
    Slow,
    /// Something is away.
    #[error(transparent)]
    Failed(#[from] Fault),
}

impl Intake {
    /// An intake over its parts.
    pub fn new(
        settings: &IntakeSettings,
        numbers: Numbers,
        store: Store,
        metrics: SmsMetrics,
    ) -> Self {
        Self(Arc::new(Inner {
            numbers,
            store,
            lanes: Lanes::new(settings),
            metrics,
            deadline: settings.deadline.get(),
            settling: Arc::default(),
        }))
    }

    /// Takes an event of `provider` to every tenant it is for. When this returns a tally, all of it
    /// is committed where it belongs.
    ///
    /// # Errors
    /// [`Untaken`]: some of it may be committed, and will be a duplicate when it is brought again.
    pub async fn take(&self, provider: &'static str, event: &Event) -> Result<Tally, Untaken> {
        let begun = Instant::now();
        let work = Box::pin(self.deliver(provider, event));
        let taken = tokio::time::timeout(self.0.deadline, work).await;
        let taken = taken.unwrap_or(Err(Untaken::Slow));
        self.0.metrics.took(provider, begun.elapsed().as_secs_f64());
        let answer = if taken.is_ok() { "taken" } else { "later" };
        self.0.metrics.answered(provider, answer);
        taken
    }

    async fn deliver(&self, provider: &'static str, event: &Event) -> Result<Tally, Untaken> {
        let parcels = match event {
            Event::Message(inbound) => self.addressed(inbound).await?,
            Event::Receipt(receipt) => self.returned(receipt).await?,
            Event::Other => {
                self.0.metrics.ended(provider, "ignored");
                return Ok(Tally::default());
            }
        };
        if parcels.is_empty() {
            self.0.metrics.ended(provider, "unknown_number");
            tracing::info!(provider, "a webhook for a number that is nobody's");
            return Ok(Tally { unknown: 1, ..Tally::default() });
        }
        let hand = |(tenant, parcel)| self.hand_over(provider, tenant, parcel);
        let mut tally = Tally::default();
        // All of them, whatever becomes of one: a group's other tenants do not wait for it.
        for outcome in join_all(parcels.into_iter().map(hand)).await {
            match outcome?.as_str() {
                "duplicate" => tally.duplicate = tally.duplicate.saturating_add(1),
                "dead" => tally.dead = tally.dead.saturating_add(1),
                _ => tally.stored = tally.stored.saturating_add(1),
            }
        }
        Ok(tally)
    }

    /// One parcel for each tenant that was written to; other numbers of a group are strangers'.
    async fn addressed(&self, inbound: &Inbound) -> Result<Vec<(TenantId, Parcel)>, Fault> {
        let owners = self.0.numbers.owners(&inbound.to).await?;
        let mut parcels: Vec<(TenantId, Parcel)> = Vec::with_capacity(owners.len());
        for number in &inbound.to {
            let Some(tenant) = owners.get(number) else { continue };
            // Two numbers of one tenant in a group: it is one message to it.
            if parcels.iter().all(|(other, _)| other != tenant) {
                parcels.push((tenant.clone(), inbound.parcel(number)));
            }
        }
        Ok(parcels)
    }

    async fn returned(&self, receipt: &Receipt) -> Result<Vec<(TenantId, Parcel)>, Fault> {
        let from: &E164 = &receipt.from;
        let owners = self.0.numbers.owners(std::slice::from_ref(from)).await?;
        Ok(owners.into_values().map(|tenant| (tenant, receipt.parcel())).collect())
    }

    /// Into one tenant's database. The work is a task of its own: it goes on when the deadline has
    /// passed, so that a cold tenant is warm, or the message there, at the next try.
    async fn hand_over(
        &self,
        provider: &'static str,
        tenant: TenantId,
        parcel: Parcel,
    ) -> Result<String, Untaken> {
        let place = self.0.lanes.enter(&tenant).await.ok_or(Untaken::Slow)?;
        let inner = Arc::clone(&self.0);
        let task = tokio::spawn(async move {
            let work = Box::pin(inner.store.take(provider, &tenant, &parcel));
            let said = match inner.lanes.work(place, work).await {
                Some(Ok(said)) => said,
                Some(Err(fault)) => {
                    inner.metrics.ended(provider, "failed");
                    tracing::warn!(%tenant, provider, %fault, cause = fault.cause(),
                        "a message was not taken");
                    return Err(Untaken::Failed(fault));
                }
                None => {
                    inner.metrics.ended(provider, "failed");
                    tracing::warn!(%tenant, provider, "a tenant's database takes no message");
                    return Err(Untaken::Slow);
                }
            };
            inner.metrics.ended(provider, word(&said.outcome));
            if said.outcome == "parked" {
                inner.settle_later(&tenant);
            }
            if said.outcome == "dead" {
                let sqlstate = said.state.unwrap_or_default();
                tracing::warn!(%tenant, provider, sqlstate, "a message went to the dead letters");
            }
            Ok(said.outcome)
        });
        // The task does not panic; if it were cancelled, nothing is promised.
        task.await.unwrap_or(Err(Untaken::Slow))
    }
}

impl Inner {
    /// Tries a tenant's parked receipts again in a while.
    fn settle_later(self: &Arc<Self>, tenant: &TenantId) {
        let (inner, whose) = (Arc::clone(self), tenant.clone());
        self.settling.later(tenant, move || {
            let (inner, tenant) = (Arc::clone(&inner), whose.clone());
            async move {
                let Some(place) = inner.lanes.enter(&tenant).await else { return };
                let settled = inner.lanes.work(place, inner.store.settle(&tenant)).await;
                if let Some(Err(fault)) = settled {
                    tracing::info!(%tenant, %fault, cause = fault.cause(),
                        "parked receipts could not be settled yet");
                }
            }
        });
    }
}

/// An outcome as a label: whatever a database may say, there are so many series and no more.
fn word(outcome: &str) -> &'static str {
    const WORDS: [&str; 6] = ["stored", "duplicate", "dead", "applied", "stale", "parked"];
    WORDS.into_iter().find(|word| *word == outcome).unwrap_or("other")
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intake")
    }
}
