//! The registration itself.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::course::Course;
use super::courtesy::{AtWork, Courtesy};
use super::job::{self, Earlier, Job};
use super::metrics::Timings;
use super::placement::{Placement, Region};
use super::reserve::{Begun, Reserved};
use super::view::{AdminView, ChurchView, Registered};
use super::warm::Warm;
use super::{Failure, Janitor, NewOrganisation, RegistrationMetrics, RegistrationSettings};
use crate::control::health::Health;
use crate::control::provision::Servers;
use crate::control::seams::Claims;
use crate::control::{
    EmailIndex, FieldProblem, Passwords, Presence, Refused, Sessions, Tokens, failed,
};
use crate::fault::Fault;
use crate::ident::{Role, TenantId};
use crate::tenant::Registry;

/// Registers tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registration(pub(super) Arc<Parts>);

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) course: Arc<Course>,
    pub(super) passwords: Passwords,
    pub(super) courtesy: Courtesy,
    pub(super) emails: EmailIndex,
    pub(super) sessions: Sessions,
    pub(super) places: Arc<Semaphore>,
}

/// What a registration is built from.
#[derive(Debug)]
pub struct Builder {
    /// The registry.
    pub registry: Registry,
    /// Where tenants may be made.
    pub servers: Arc<Servers>,
    /// Which of them answer.
    pub health: Health,
    /// Hashes the admin's password.
    pub passwords: Passwords,
    /// Reserves the e-mail.
    pub emails: EmailIndex,
    /// Issues the first tokens.
    pub sessions: Sessions,
    /// Who holds the jobs.
    pub presence: Presence,
    /// Refilled after a claim.
    pub warm: Warm,
    /// Whether tenants are at work: a burst of registrations leaves them the processor.
    pub at_work: AtWork,
    /// Counts.
    pub metrics: RegistrationMetrics,
}

impl Builder {
    /// The registration.
    pub fn build(self, settings: &RegistrationSettings) -> Registration {
        let course = Course {
            registry: self.registry,
            placement: Placement::new(self.servers, self.health),
            presence: self.presence,
            warm: self.warm,
            underway: super::underway::Underway::default(),
            sweeping: tokio::sync::Mutex::default(),
            board: super::board::Board::default(),
            metrics: self.metrics,
            trial_days: i32::from(settings.trial_days),
            collect_within: settings.collect_within.get(),
            hold_at: settings.hold_at,
        };
        Registration(Arc::new(Parts {
            course: Arc::new(course),
            passwords: self.passwords,
            courtesy: Courtesy::new(self.at_work),
            emails: self.emails,
            sessions: self.sessions,
            places: Arc::new(Semaphore::new(settings.concurrent_max.max(1))),
        }))
    }
}

/// The longest Idempotency-Key.
const KEY_BYTES_MAX: usize = 255;

impl Registration {
    /// Makes an organisation a tenant. Once begun it goes on though the caller leaves: the work is
    /// a task of its own.
    ///
    /// # Errors
    /// [`Refused`]; nothing half-made stays.
    pub async fn register(
        &self,
        organisation: NewOrganisation,
        idempotency_key: Option<&str>,
    ) -> Result<Registered, Refused> {
        let (organisation, key) = self.0.checked(organisation, idempotency_key)?;
        let parts = Arc::clone(&self.0);
        let work = async move {
            let result = Box::pin(parts.registered(&organisation, key)).await;
            parts.course.metrics.ended(&result);
            result
        };
        tokio::spawn(work).await.map_err(failed::internal)?
    }

    /// Begins the same and answers as soon as the e-mail is reserved and the job is written down:
    /// from then on it is carried out, by this process or by another.
    ///
    /// # Errors
    /// [`Refused`]; nothing was begun then.
    pub async fn begin(
        &self,
        organisation: NewOrganisation,
        idempotency_key: Option<&str>,
    ) -> Result<String, Refused> {
        let (organisation, key) = self.0.checked(organisation, idempotency_key)?;
        let parts = Arc::clone(&self.0);
        let work = async move {
            let reserved = Box::pin(parts.reserved(&organisation, key, true)).await;
            if reserved.is_err() {
                parts.course.metrics.ended(&reserved);
            }
            match reserved? {
                Reserved::Again(earlier) => parts.defer(&earlier).await.map(|()| earlier.id),
                Reserved::Begun(begun) => {
                    let id = begun.job.id.clone();
                    tokio::spawn(async move {
                        let result = Box::pin(parts.carried_out(*begun)).await;
                        parts.course.metrics.ended(&result);
                    });
                    Ok(id)
                }
            }
        };
        tokio::spawn(work).await.map_err(failed::internal)?
    }

    /// The regions new tenants may be placed in, by name.
    pub fn regions(&self) -> Vec<Region> {
        self.0.course.placement.regions()
    }

    /// The janitor of the same registry and servers.
    pub fn janitor(&self) -> Janitor {
        Janitor::new(Arc::clone(&self.0.course))
    }
}

impl Parts {
    fn checked(
        &self,
        organisation: NewOrganisation,
        key: Option<&str>,
    ) -> Result<(NewOrganisation, Option<[u8; 32]>), Refused> {
        let checked = (|| {
            let organisation = organisation.checked()?;
            self.course.placement.checked(organisation.region.as_deref())?;
            let key = key.map(|key| self.key_digest(key)).transpose()?;
            Ok((organisation, key))
        })();
        if checked.is_err() {
            self.course.metrics.ended(&checked);
        }
        checked
    }

    fn key_digest(&self, key: &str) -> Result<[u8; 32], Refused> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let problem = FieldProblem::new("Idempotency-Key", "must have 1 to 255 bytes");
            return Err(Refused::Invalid(vec![problem]));
        }
        Ok(self.course.registry.master_key().derive("idempotency key", &[key.as_bytes()]))
    }

    async fn registered(
        &self,
        organisation: &NewOrganisation,
        key: Option<[u8; 32]>,
    ) -> Result<Registered, Refused> {
        match Box::pin(self.reserved(organisation, key, false)).await? {
            Reserved::Again(earlier) => self.again(organisation, earlier).await,
            Reserved::Begun(mut begun) => {
                let (tenant, tokens) = (begun.job.tenant.clone(), begun.tokens.take());
                let (job, trial_ends_at, timings) = Box::pin(self.carried_out(*begun)).await?;
                let tokens = match tokens {
                    Some(tokens) if job.tenant == tenant => tokens,
                    // Its server went away, and with it the id it had there.
                    _ => self.first_tokens(&job.tenant, &job.admin_id).await?,
                };
                let of = (job.id, job.tenant, job.admin_id);
                let mut made = answer(organisation, of, Some(tokens));
                made.church.trial_ends_at = Some(trial_ends_at);
                made.timings = timings;
                Ok(made)
            }
        }
    }

    /// The rest of a claimed job: its tenant and when the trial ends, or nothing at all.
    async fn carried_out(&self, begun: Begun) -> Result<(Job, String, Timings), Refused> {
        let Begun { mut job, admin, mut timings, tokens: _, place: _place } = begun;
        match Box::pin(self.course.carry_out(&mut job, &admin, &mut timings)).await {
            Ok(trial_ends_at) => {
                tracing::info!(tenant = %job.tenant, server = job.server, warm = job.was_warm,
                    "tenant registered");
                Ok((job, trial_ends_at, timings))
            }
            Err(refused) => {
                let taken = matches!(refused, Refused::EmailTaken);
                self.undo(&job, if taken { Failure::EmailTaken } else { Failure::Broken }).await;
                Err(refused)
            }
        }
    }

    /// Undoes a job now, or as far as that is possible: the rest is the janitor's.
    pub(super) async fn undo(&self, job: &Job, why: Failure) {
        if let Err(fault) = Janitor::new(Arc::clone(&self.course)).undo(job, why).await {
            fault.log();
        }
    }

    pub(super) async fn earlier(&self, key: &[u8; 32]) -> Result<Option<Earlier>, Fault> {
        let client = self.course.registry.client().await?;
        job::earlier(&client, key, self.course.collect_within).await
    }

    /// The same Idempotency-Key came before. Its tokens are made again for a caller whose answer
    /// was lost, not for one who keeps the request.
    async fn again(
        &self,
        organisation: &NewOrganisation,
        earlier: Earlier,
    ) -> Result<Registered, Refused> {
        if earlier.step != "done" {
            return Err(Refused::InProgress);
        }
        let tenant = TenantId::parse(&earlier.tenant).map_err(failed::internal)?;
        let client = self.course.registry.client().await?;
        let sql = r#"SELECT to_char("trialEndsAt", 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                     FROM public."Tenant" WHERE "id" = $1"#;
        let row = client.query_opt(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?;
        let row = row.ok_or(Refused::NotFound)?;
        let trial_ends_at = row.try_get(0).map_err(failed::registry)?;
        drop(client);
        let tokens = if earlier.is_fresh {
            Some(self.first_tokens(&tenant, &earlier.admin_id).await?)
        } else {
            None
        };
        let mut made = answer(organisation, (earlier.id, tenant, earlier.admin_id), tokens);
        made.church.trial_ends_at = trial_ends_at;
        Ok(made)
    }

    /// What the first admin of a tenant is let in with.
    pub(super) async fn first_tokens(
        &self,
        tenant: &TenantId,
        admin_id: &str,
    ) -> Result<Tokens, Refused> {
        let subject = admin_id.to_owned();
        let claims = Claims { tenant: tenant.clone(), subject, role: Role::Owner };
        self.sessions.begin(&claims).await
    }
}

fn answer(
    organisation: &NewOrganisation,
    (registration, tenant, admin_id): (String, TenantId, String),
    tokens: Option<Tokens>,
) -> Registered {
    let admin = AdminView {
        id: admin_id,
        email: organisation.email.clone(),
        first_name: organisation.first_name.clone(),
        last_name: organisation.last_name.clone(),
        role: "PRIMARY".to_owned(),
    };
    let church = ChurchView {
        name: organisation.church_name.clone(),
        subscription_status: "trial".to_owned(),
        trial_ends_at: None,
    };
    let timings = Timings::default();
    Registered { registration, tenant, admin, church, tokens, timings }
}
