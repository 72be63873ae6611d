//! What a crash left: finished where the admin is written, undone where not.

use std::sync::Arc;
use std::time::Duration;

use super::job::{self, Job};
use super::warm;
use crate::control::provision::Servers;
use crate::control::{Presence, Refused, failed};
use crate::fault::Fault;
use crate::tenant::Registry;

/// Sweeps after registrations and warm databases whose process is gone.
#[derive(Debug, Clone)]
pub struct Janitor {
    registry: Registry,
    servers: Arc<Servers>,
    presence: Presence,
    trial_days: i32,
}

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
    /// A janitor over these servers.
    pub fn new(
        registry: Registry,
        servers: Arc<Servers>,
        presence: Presence,
        trial_days: i32,
    ) -> Self {
        Self { registry, servers, presence, trial_days }
    }

    /// One pass over everything nobody alive works on. May run in several processes at once.
    ///
    /// # Errors
    /// When the registry fails. What could not be done on a PostgreSQL server is counted as left.
    pub async fn pass(&self) -> Result<Swept, Fault> {
        let mut swept = Swept::default();
        self.presence.bury().await?;
        self.presence.beat().await?;
        let mut left = Vec::new();
        for _ in 0..JOBS_MAX {
            let client = self.registry.client().await?;
            let Some(job) = job::take_over(&client, self.presence.id()).await? else {
                break;
            };
            drop(client);
            match self.settle(&job).await {
                Ok(true) => swept.finished += 1,
                Ok(false) => swept.undone += 1,
                Err(refused) => {
                    tracing::warn!(job = job.id, why = refused.to_string(), "left for later");
                    swept.left += 1;
                    left.push(job);
                }
            }
        }
        // Held until now, so that this pass met each of them once.
        for job in left {
            self.let_go(&job).await?;
        }
        swept.dropped = warm::sweep(&self.registry, &self.servers, self.presence.id()).await?;
        self.prune().await?;
        if swept != Swept::default() {
            tracing::info!(?swept, "janitor");
        }
        Ok(swept)
    }

    /// Brings one job, held by this process, to its end. Whether it was finished.
    async fn settle(&self, job: &Job) -> Result<bool, Refused> {
        let Some(server) = self.servers.get(job.server.as_str()) else {
            return Err(failed::internal("its server is not configured any more").into());
        };
        // Who was told that it failed may have registered again: that one counts.
        if !job.failed && server.has_admin(&job.tenant, &job.admin_id).await? {
            let client = self.registry.client().await?;
            let holder = self.presence.id();
            match job::finish(&client, job, server, holder, self.trial_days).await {
                Ok(_) => return Ok(true),
                Err(Refused::EmailTaken) => {}
                Err(other) => return Err(other),
            }
        }
        server.drop_tenant(&job.tenant).await?;
        job::undone(&*self.registry.client().await?, job).await?;
        Ok(false)
    }

    async fn let_go(&self, job: &Job) -> Result<(), Fault> {
        let client = self.registry.client().await?;
        let sql = "UPDATE pgusher.registrations SET held_by = NULL \
                   WHERE id = $1 AND held_by = $2";
        let holder = self.presence.id();
        client.execute(sql, &[&job.id, &holder]).await.map_err(failed::registry)?;
        Ok(())
    }

    /// Forgets what nobody can need any more.
    async fn prune(&self) -> Result<(), Fault> {
        let client = self.registry.client().await?;
        let sql = "DELETE FROM pgusher.registrations
                       WHERE step IN ('done', 'undone') AND changed_at < now() - interval '7 days';
                   DELETE FROM pgusher.revocations WHERE expires_at < now();
                   DELETE FROM pgusher.refresh_tokens WHERE expires_at < now() - interval '1 day';
                   DELETE FROM pgusher.refresh_families f WHERE created_at < now() - interval '1 day'
                       AND NOT EXISTS (SELECT FROM pgusher.refresh_tokens r
                                       WHERE r.family = f.id);
                   DELETE FROM pgusher.mfa_attempts WHERE began_at < now() - interval '30 days';
                   DELETE FROM pgusher.stripe_events
                       WHERE received_at < now() - interval '30 days'";
        client.batch_execute(sql).await.map_err(failed::registry)
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
