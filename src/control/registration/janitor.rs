//! What a crash left: finished where the admin is written or can be, undone where not.

use std::sync::Arc;
use std::time::Duration;

use super::course::Course;
use super::job::{self, Job};
use super::metrics::Timings;
use super::prune::prune;
use super::{Failure, seal};
use crate::control::{Refused, failed};
use crate::fault::Fault;

/// Sweeps after registrations and warm databases whose process is gone.
#[derive(Debug, Clone)]
pub struct Janitor(Arc<Course>);

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Registrations brought to their end.
    pub finished: u32,
    /// Registrations undone.
    pub undone: u32,
    /// Warm databases dropped.
    pub dropped: u32,
    /// Jobs left for the next pass.
    pub left: u32,
}

const PASS_EVERY: Duration = Duration::from_secs(60);

/// Jobs of one pass at most.
const JOBS_MAX: u32 = 1000;

impl Janitor {
    pub(super) fn new(course: Arc<Course>) -> Self {
        Self(course)
    }

    /// One pass over everything nobody alive works on. May run in several processes at once; in one
    /// of them, one pass waits for the other.
    ///
    /// # Errors
    /// When the registry fails. What could not be done on a PostgreSQL server is counted as left.
    pub async fn pass(&self) -> Result<Swept, Fault> {
        let course = &self.0;
        let _alone = course.sweeping.lock().await;
        let mut swept = Swept::default();
        course.presence.bury().await?;
        course.presence.beat().await?;
        self.let_go_of_given_up().await?;
        let mut left = Vec::new();
        for _ in 0..JOBS_MAX {
            let client = course.registry.client().await?;
            let Some(job) = job::take_over(&client, course.presence.id()).await? else {
                break;
            };
            drop(client);
            match Box::pin(self.settle(&job)).await {
                Ok(true) => swept.finished += 1,
                Ok(false) => swept.undone += 1,
                Err(refused) => {
                    tracing::warn!(job = job.id, why = refused.to_string(), "left for later");
                    if let Refused::Failed(fault) = &refused {
                        fault.log();
                    }
                    swept.left += 1;
                    left.push(job);
                }
            }
        }
        // Held until now, so that this pass met each of them once. Should this fail, the next pass
        // lets go of them as given up.
        for job in left {
            self.let_go(&job).await?;
        }
        swept.dropped = course.warm.sweep().await?;
        prune(&course.registry).await?;
        if swept != Swept::default() {
            tracing::info!(?swept, "janitor");
        }
        for (what, count) in [
            ("finished", swept.finished),
            ("undone", swept.undone),
            ("dropped", swept.dropped),
            ("left", swept.left),
        ] {
            course.metrics.swept.with_label_values(&[what]).inc_by(u64::from(count));
        }
        course.metrics.passes.inc();
        Ok(swept)
    }

    /// Brings one job, held by this process, to its end. Whether it was finished.
    async fn settle(&self, job: &Job) -> Result<bool, Refused> {
        let course = &self.0;
        course.placement.server(&job.server)?;
        let mut why = None;
        // Who was told that it failed may have registered again: that one counts.
        if !job.failed {
            match Box::pin(self.finished(job)).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(Refused::EmailTaken) => why = Some(Failure::EmailTaken),
                // Its caller was promised a tenant: tried again later, here or elsewhere.
                Err(other) if job.rest.is_some() => return Err(other),
                Err(other) => tracing::warn!(job = job.id, why = other.to_string(), "undone"),
            }
        }
        self.undo(job, why.unwrap_or(Failure::Broken)).await?;
        Ok(false)
    }

    /// Undoes a job of this process that failed, now. One that is done after all, or another
    /// process's by now, is let be: a commit whose answer was lost was made all the same.
    pub(super) async fn undo(&self, job: &Job, why: Failure) -> Result<(), Fault> {
        // Should this process die on the way, the next pass of another sees why.
        let client = self.0.registry.client().await?;
        let ours = job::failed(&client, job, self.0.presence.id(), why).await?;
        drop(client);
        if ours { self.drop_what_there_is(job, Some(why)).await } else { Ok(()) }
    }

    async fn drop_what_there_is(&self, job: &Job, why: Option<Failure>) -> Result<(), Fault> {
        let course = &self.0;
        let (server, holder) = (course.placement.server(&job.server)?, course.presence.id());
        match server.drop_unfinished(&job.tenant, Some(&job.admin_id)).await {
            Ok(_) => job::undone(&*course.registry.client().await?, job, holder, why).await,
            Err(fault) => {
                fault.log();
                let client = course.registry.client().await?;
                job::abandon(&client, job, holder, &server.warm_version()).await
            }
        }
    }

    /// Finishes a job where that is possible.
    async fn finished(&self, job: &Job) -> Result<bool, Refused> {
        let course = &self.0;
        if let Some(rest) = &job.rest {
            let key = course.registry.master_key();
            let admin = seal::open(key, &job.id, &rest.sealed, (&job.admin_id, &rest.email))?;
            if !job.was_warm {
                course.placement.server(&job.server)?.end_work_on(&job.tenant).await?;
            }
            let (mut job, mut timings) = (job.clone(), Timings::default());
            course.carry_out(&mut job, &admin, &mut timings).await?;
            return Ok(true);
        }
        let server = course.placement.server(&job.server)?;
        if !server.has_admin(&job.tenant, &job.admin_id).await? {
            return Ok(false);
        }
        course.finish(job, server).await.map(|_| true)
    }

    async fn let_go(&self, job: &Job) -> Result<(), Fault> {
        let client = self.0.registry.client().await?;
        let sql = "UPDATE pgusher.registrations SET held_by = NULL \
                   WHERE id = $1 AND held_by = $2";
        let holder = self.0.presence.id();
        client.execute(sql, &[&job.id, &holder]).await.map_err(failed::registry)?;
        Ok(())
    }

    /// Lets go of jobs that this process holds and works on no more: what it could not even undo,
    /// what an earlier pass left, and those whose R1 was committed and its answer lost.
    async fn let_go_of_given_up(&self) -> Result<(), Fault> {
        let (course, holder) = (&self.0, self.0.presence.id());
        let client = course.registry.client().await?;
        let sql = "SELECT id FROM pgusher.registrations \
                   WHERE held_by = $1 AND step IN ('claimed', 'cloned', 'written')";
        let mut held = Vec::new();
        for row in client.query(sql, &[&holder]).await.map_err(failed::registry)? {
            held.push(row.try_get(0).map_err(failed::registry)?);
        }
        let given_up = course.underway.given_up(held);
        if given_up.is_empty() {
            return Ok(());
        }
        tracing::warn!(jobs = given_up.len(), "registrations that were given up are looked after");
        let sql = "UPDATE pgusher.registrations SET held_by = NULL \
                   WHERE id = ANY ($1) AND held_by = $2";
        client.execute(sql, &[&given_up, &holder]).await.map_err(failed::registry)?;
        Ok(())
    }

    /// Passes until cancelled.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(PASS_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(fault) = self.pass().await {
                fault.log();
            }
        }
    }
}
