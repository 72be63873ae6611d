//! A whole rollout: who is first, how many at once, when to stop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::queue::{self, Goal};
use super::report::{FailedTenant, RolloutReport, RolloutStatus, Tally};
use super::tenant::{Ended, Left, Patience};
use crate::control::provision::Servers;
use crate::control::schema::MigrationSet;
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::Registry;

/// Without canaries named, so many tenants are tried alone before nobody else is touched.
const CANARIES_MAX: usize = 5;

/// How it is to go.
#[derive(Debug, Clone)]
pub struct Course {
    /// Who is first, one after another; when one fails, nobody else is touched. None named: one
    /// after another by id until one succeeds, five at most, unless an earlier run brought somebody
    /// to this version already.
    pub canaries: Vec<TenantId>,
    /// Tenants at once. Each holds one connection of its own cap, and one of the provisioner's.
    pub at_once: usize,
    /// How long a migration may wait for a lock before it lets the tenant's sessions by and tries
    /// again.
    pub lock_timeout: Duration,
    /// How long one tenant may take.
    pub timeout: Duration,
    /// After so many failures it stops. Those a tenant's owner may have brought about do not count.
    pub failures_max: usize,
}

/// Brings the fleet up.
pub struct Rollout {
    pub(super) registry: Registry,
    pub(super) servers: Arc<Servers>,
    pub(super) product: MigrationSet,
    pub(super) goal: Goal,
}

impl Rollout {
    /// Over these servers, to this version of the product's schema.
    pub fn new(registry: Registry, servers: Arc<Servers>, product: MigrationSet) -> Self {
        let own = MigrationSet::own().version();
        let goal = Goal { product: product.version().to_string(), own };
        Self { registry, servers, product, goal }
    }

    /// Where the fleet stands; changes nothing.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be asked.
    pub async fn status(&self) -> Result<RolloutStatus, Fault> {
        self.goal.status(&self.registry).await
    }

    /// Runs it. `progress` is told after every tenant.
    ///
    /// # Errors
    /// 57P03 when the registry fails. What was done is done; run it again.
    ///
    /// # Cancel safety
    /// Dropped, tenants at work are rolled back by their server; run it again.
    pub async fn run(
        &self,
        course: &Course,
        mut progress: impl FnMut(Tally),
    ) -> Result<RolloutReport, Fault> {
        let total = self.goal.count_behind(&self.registry).await?;
        let mut run = Run { tally: Tally { total, ..Tally::default() }, failed: Vec::new() };
        progress(run.tally);
        let mut tried: BTreeSet<TenantId> = BTreeSet::new();
        let canaries = self.canaries(course, &mut run, &mut tried, &mut progress);
        let mut stopped = Box::pin(canaries).await?;
        // A tenant made meanwhile by a process of the old version is found by the next round.
        while stopped.is_none() {
            let before = tried.len();
            stopped = self.round(course, &mut run, &mut tried, &mut progress).await?;
            if tried.len() == before {
                break;
            }
        }
        Ok(RolloutReport {
            schema_version: self.goal.product.clone(),
            total,
            migrated: run.tally.migrated,
            failed: run.failed,
            stopped,
            not_taken_over: queue::not_taken_over(&self.registry).await?,
        })
    }

    /// Everybody behind who was not tried yet. Why it stopped early, if it did.
    async fn round(
        &self,
        course: &Course,
        run: &mut Run,
        tried: &mut BTreeSet<TenantId>,
        progress: &mut impl FnMut(Tally),
    ) -> Result<Option<String>, Fault> {
        let mut after = String::new();
        loop {
            let page = self.goal.behind(&self.registry, &after).await?;
            let Some(last) = page.last() else { return Ok(None) };
            last.as_str().clone_into(&mut after);
            let fresh: Vec<TenantId> =
                page.into_iter().filter(|id| tried.insert(id.clone())).collect();
            let work = stream::iter(fresh.into_iter().map(|id| async move {
                let done = self.bring_up(&id, Patience::of(course)).await;
                (id, done)
            }));
            let mut work = std::pin::pin!(work.buffer_unordered(course.at_once.max(1)));
            while let Some((id, done)) = work.next().await {
                run.note(&id, done);
                progress(run.tally);
                let failures = run.failed.iter().filter(|failed| !failed.by_owner).count();
                if failures >= course.failures_max.max(1) {
                    return Ok(Some(format!("{failures} tenants failed; no more are tried")));
                }
            }
        }
    }

    /// Those who are first. Why nobody else is to be touched, if so: one of those named failed, or
    /// nobody came through. Who is first by id alone is nobody's choice, and may have seen to it that
    /// it fails: somebody else's success says as much.
    async fn canaries(
        &self,
        course: &Course,
        run: &mut Run,
        tried: &mut BTreeSet<TenantId>,
        progress: &mut impl FnMut(Tally),
    ) -> Result<Option<String>, Fault> {
        let are_named = !course.canaries.is_empty();
        let canaries = if are_named {
            course.canaries.clone()
        } else if self.goal.is_proven(&self.registry).await? {
            return Ok(None);
        } else {
            let mut first = self.goal.behind(&self.registry, "").await?;
            first.truncate(CANARIES_MAX);
            first
        };
        for canary in &canaries {
            let mut done = self.bring_up(canary, Patience::of(course)).await;
            if are_named && matches!(done, Ok(Ended::Gone)) {
                done = Err("no such tenant".to_owned().into());
            }
            let came_through = matches!(done, Ok(Ended::Up));
            run.note(canary, done);
            progress(run.tally);
            tried.insert(canary.clone());
            match (are_named, came_through) {
                (true, false) => {
                    return Ok(Some(format!(
                        "the canary {canary} failed; nobody else was touched"
                    )));
                }
                (false, true) => return Ok(None),
                _ => {}
            }
        }
        let failed = canaries.len();
        let none = format!("the first {failed} tenants failed; nobody else was touched");
        Ok((!are_named && failed > 0).then_some(none))
    }
}

impl std::fmt::Debug for Rollout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rollout").field("goal", &self.goal).finish_non_exhaustive()
    }
}

struct Run {
    tally: Tally,
    failed: Vec<FailedTenant>,
}

impl Run {
    fn note(&mut self, id: &TenantId, done: Result<Ended, Left>) {
        match done {
            Ok(Ended::Up) => self.tally.migrated += 1,
            Ok(Ended::Gone) => {}
            Err(Left { reason, by_owner }) => {
                self.tally.failed += 1;
                self.failed.push(FailedTenant { tenant_id: id.to_string(), reason, by_owner });
            }
        }
    }
}
