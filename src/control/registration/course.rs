//! The way of one job from its claim to a tenant: what the request does, and the janitor when the
//! request's process is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::board::{Board, Posted};
use super::job::{self, Job, KEY_VERSION, Terms};
use super::metrics::Timings;
use super::placement::Placement;
use super::underway::Underway;
use super::warm::{self, Warm};
use super::{Hold, RegistrationMetrics, Step};
use crate::control::provision::{NewAdmin, Provisioner};
use crate::control::{Presence, Refused};
use crate::fault::{Blame, Fault, SqlState};
use crate::tenant::Registry;

/// What carrying a job out takes.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) registry: Registry,
    pub(super) placement: Placement,
    pub(super) presence: Presence,
    pub(super) warm: Warm,
    /// The jobs of this process that are being carried out or undone.
    pub(super) underway: Underway,
    /// Held by the one pass of the janitor at a time.
    pub(super) sweeping: Mutex<()>,
    pub(super) board: Board,
    pub(super) metrics: RegistrationMetrics,
    pub(super) trial_days: i32,
    pub(super) collect_within: Duration,
    pub(super) hold_at: Hold,
}

/// How often a job may be given another place, should server after server go away.
const PLACES_MAX: u32 = 4;

impl Course {
    /// R2 and R3, and the clone before them where there was no warm database. When the trial ends.
    pub(super) async fn carry_out(
        &self,
        job: &mut Job,
        admin: &NewAdmin,
        timings: &mut Timings,
    ) -> Result<String, Refused> {
        let posted = self.board.post(&job.id, job.was_warm);
        self.hold_at.at(Hold::Claimed).await;
        let mut places = 1;
        while let Err(refused) = Box::pin(self.made(job, admin, &posted, timings)).await {
            let Refused::Failed(fault) = refused else { return Err(refused) };
            places += 1;
            if places > PLACES_MAX || !self.moved(job, &fault).await? {
                return Err(fault.into());
            }
            tracing::warn!(%fault, cause = fault.cause(), server = job.server,
                "the server went away: placed elsewhere");
            posted.reached(Step::Claimed, false);
        }
        posted.reached(Step::Written, job.was_warm);
        self.hold_at.at(Hold::Written).await;
        let finish = async {
            let client = self.registry.client().await?;
            let server = self.placement.server(&job.server)?;
            job::finish(&client, job, server, &self.terms()).await
        };
        let ends = self.metrics.step("finish", timings, finish).await?;
        posted.reached(Step::Done, job.was_warm);
        self.hold_at.at(Hold::Finished).await;
        Ok(ends)
    }

    /// R3 for a job whose admin is written.
    pub(super) async fn finish(&self, job: &Job, server: &Provisioner) -> Result<String, Refused> {
        let client = self.registry.client().await?;
        job::finish(&client, job, server, &self.terms()).await
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            holder: self.presence.id(),
            trial_days: self.trial_days,
            collect_within: self.collect_within,
        }
    }

    /// The database, and the admin in it.
    async fn made(
        &self,
        job: &Job,
        admin: &NewAdmin,
        posted: &Posted,
        timings: &mut Timings,
    ) -> Result<(), Refused> {
        let server = self.placement.server(&job.server)?;
        let held = if job.was_warm {
            self.warm.held(&job.tenant)
        } else {
            let clone = server.ensure_tenant(&job.tenant, KEY_VERSION);
            let inside = self.metrics.step("clone", timings, clone).await?;
            let client = self.registry.client().await?;
            if !job::note(&client, job, "cloned", self.presence.id()).await? {
                return Err(Refused::InProgress);
            }
            drop(client);
            posted.reached(Step::Cloned, false);
            self.hold_at.at(Hold::Cloned).await;
            Some(inside)
        };
        let write = async {
            match held {
                Some(inside) => server.ensure_admin_by(inside, admin).await,
                None => server.ensure_admin(&job.tenant, admin).await,
            }
        };
        Ok(self.metrics.step("admin", timings, write).await?)
    }

    /// Gives the job another place if its server is away and there is one.
    async fn moved(&self, job: &mut Job, fault: &Fault) -> Result<bool, Fault> {
        let unreachable =
            fault.blame() == Blame::Server && fault.state() == SqlState::CONNECTION_FAILURE;
        let server = Arc::clone(self.placement.server(&job.server)?);
        if !unreachable || self.placement.health().look(&server).await {
            return Ok(false);
        }
        let Ok(candidates) = self.placement.candidates(job.region.as_deref()) else {
            return Ok(false);
        };
        let Some(other) = candidates.first() else { return Ok(false) };
        let tenant = warm::fresh_id()?;
        let client = self.registry.client().await?;
        job::replace(&client, job, (&tenant, other), self.presence.id()).await
    }
}
