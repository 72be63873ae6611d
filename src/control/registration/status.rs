//! A registration looked at from outside: how far it is, and its first tokens, once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::job::{Earlier, UNTOUCHED};
use super::service::Parts;
use super::step::Told;
use super::{Progress, Registration};
use crate::control::seams::Claims;
use crate::control::{Refused, Tokens, failed};
use crate::fault::Fault;
use crate::ident::{Role, TenantId};

/// A registration as its caller may see it, who knows its id.
#[derive(Debug, Clone)]
pub struct Registering {
    /// How far it is.
    pub progress: Progress,
    /// The tenant, once there is one.
    pub tenant: Option<TenantId>,
}

/// What is handed out once.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The tenant.
    pub tenant: TenantId,
    /// The first admin's id.
    pub admin_id: String,
    /// Its e-mail.
    pub email: String,
    /// The organisation's name.
    pub church_name: String,
    /// RFC 3339.
    pub trial_ends_at: Option<String>,
    /// The admin's tokens, made now.
    pub tokens: Tokens,
}

/// The length of a registration's id: 128 bits as base64url.
const ID_CHARS: usize = 22;

/// How often the registry is asked about a registration that another process carries out.
const ASK_EVERY: Duration = Duration::from_millis(500);

impl Registration {
    /// How far a registration is.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn status(&self, id: &str) -> Result<Registering, Refused> {
        self.0.status(id).await
    }

    /// The first tokens of a registration that was answered before it was done: `None` when it is
    /// not done, when they were fetched before, or when it is too late. Whoever asks at the same
    /// time gets none.
    ///
    /// # Errors
    /// When the registry fails, or there is no key to sign with.
    pub async fn collect(&self, id: &str) -> Result<Option<Collected>, Refused> {
        let client = self.0.course.registry.client().await?;
        let sql = format!(
            r#"WITH job AS (
                   UPDATE pgusher.registrations r SET collect_until = NULL
                   WHERE id = $1 AND step = 'done' AND collect_until > now() AND {UNTOUCHED}
                   RETURNING tenant_id, admin_id)
               SELECT job.tenant_id, job.admin_id, t."email"::text, t."name"::text,
                   to_char(t."trialEndsAt", 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
               FROM job JOIN public."Tenant" t ON t."id" = job.tenant_id"#
        );
        let row = client.query_opt(&sql, &[&id]).await.map_err(failed::registry)?;
        drop(client);
        let Some(row) = row else { return Ok(None) };
        let text = |at| row.try_get::<_, String>(at).map_err(failed::registry);
        let tenant = TenantId::parse(&text(0)?).map_err(failed::internal)?;
        let claims = Claims { tenant: tenant.clone(), subject: text(1)?, role: Role::Owner };
        let tokens = self.0.sessions.begin(&claims).await?;
        Ok(Some(Collected {
            tenant,
            admin_id: claims.subject,
            email: text(2)?,
            church_name: text(3)?,
            trial_ends_at: row.try_get(4).map_err(failed::registry)?,
            tokens,
        }))
    }

    /// Its steps as they come, those after the one numbered `after`.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub async fn watch(&self, id: &str, after: u8) -> Result<Watch, Refused> {
        // The board first: what happens between the two is seen.
        let here = self.0.course.board.watch(id);
        let now = self.0.status(id).await?.progress;
        let parts = Arc::clone(&self.0);
        let mut watch =
            Watch { parts, id: id.to_owned(), here, after, over: false, steps: VecDeque::new() };
        watch.take(now);
        Ok(watch)
    }
}

impl Parts {
    async fn status(&self, id: &str) -> Result<Registering, Refused> {
        // Nothing else is an id; and PostgreSQL's texts hold no NUL.
        if id.len() != ID_CHARS || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refused::NotFound);
        }
        let client = self.course.registry.client().await?;
        let sql = "SELECT step, was_warm, failure, tenant_id FROM pgusher.registrations \
                   WHERE id = $1";
        let statement = client.prepare_cached(sql).await.map_err(failed::registry)?;
        let row = client.query_opt(&statement, &[&id]).await.map_err(failed::registry)?;
        let row = row.ok_or(Refused::NotFound)?;
        let step: String = row.try_get(0).map_err(failed::registry)?;
        let failure: Option<String> = row.try_get(2).map_err(failed::registry)?;
        let was_warm = row.try_get(1).map_err(failed::registry)?;
        let tenant: String = row.try_get(3).map_err(failed::registry)?;
        let tenant = TenantId::parse(&tenant).map_err(failed::internal)?;
        Ok(Registering {
            progress: Progress::of_row(&step, was_warm, failure.as_deref()),
            tenant: (step == "done").then_some(tenant),
        })
    }

    /// A repeated request that proved its body may fetch tokens, once, as long as those of the first
    /// could be fetched.
    pub(super) async fn defer(&self, earlier: &Earlier) -> Result<(), Refused> {
        let client = self.course.registry.client().await?;
        let sql = "UPDATE pgusher.registrations SET deferred = true, collect_until =
                       CASE WHEN step = 'done' THEN changed_at + make_interval(secs => $2) END
                   WHERE id = $1";
        let within = self.course.collect_within.as_secs_f64();
        client.execute(sql, &[&earlier.id, &within]).await.map_err(failed::registry)?;
        Ok(())
    }
}

/// Follows one registration. Dropping it changes nothing about the registration.
#[derive(Debug)]
pub struct Watch {
    parts: Arc<Parts>,
    id: String,
    /// Where it is carried out by this process.
    here: Option<watch::Receiver<Progress>>,
    /// The last step that was told.
    after: u8,
    steps: VecDeque<Told>,
    over: bool,
}

impl Watch {
    /// Whether it is over and nothing is left to tell.
    pub fn has_nothing(&self) -> bool {
        self.over && self.steps.is_empty()
    }

    /// The next step; `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn next(&mut self) -> Result<Option<Told>, Fault> {
        loop {
            if let Some(told) = self.steps.pop_front() {
                return Ok(Some(told));
            }
            if self.over {
                return Ok(None);
            }
            let progress = self.changed().await?;
            self.take(progress);
        }
    }

    async fn changed(&mut self) -> Result<Progress, Fault> {
        if let Some(here) = &mut self.here {
            if here.changed().await.is_ok() {
                return Ok(*here.borrow_and_update());
            }
            // It left the board: the registry knows how it ended.
            self.here = None;
        } else {
            tokio::time::sleep(ASK_EVERY).await;
        }
        match self.parts.status(&self.id).await {
            Ok(now) => Ok(now.progress),
            Err(Refused::Failed(fault)) => Err(fault),
            Err(other) => Err(failed::internal(other)),
        }
    }

    fn take(&mut self, progress: Progress) {
        let told = progress.told().into_iter().filter(|told| told.ordinal > self.after);
        self.steps.extend(told);
        if let Some(last) = self.steps.back() {
            self.after = last.ordinal;
        }
        self.over = progress.is_over();
    }
}
