//! The registration itself.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::course::Course;
use super::courtesy::{AtWork, Courtesy};
use super::job::{self, Claim, Claimed, Earlier, Job};
use super::metrics::Timings;
use super::placement::{Placement, Region};
use super::view::{AdminView, ChurchView, Registered};
use super::warm::{Busy, Warm, fresh_id};
use super::{
    Failure, Hold, Janitor, NewOrganisation, RegistrationMetrics, RegistrationSettings, seal,
};
use crate::control::health::Health;
use crate::control::provision::{NewAdmin, Servers};
use crate::control::seams::Claims;
use crate::control::{
    EmailIndex, FieldProblem, Passwords, Presence, Refused, Sessions, failed, verifier,
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
    passwords: Passwords,
    courtesy: Courtesy,
    emails: EmailIndex,
    pub(super) sessions: Sessions,
    places: Arc<Semaphore>,
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

/// A claimed job, and what is to be done for it.
struct Begun {
    job: Job,
    admin: NewAdmin,
    timings: Timings,
    /// Held until the job is at its end.
    _place: (OwnedSemaphorePermit, Busy),
}

/// What became of a request.
enum Reserved {
    Begun(Box<Begun>),
    /// The same Idempotency-Key came before, with the same body.
    Again(Earlier),
}

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
            Reserved::Begun(begun) => {
                let (job, trial_ends_at, mut timings) = Box::pin(self.carried_out(*begun)).await?;
                let metrics = &self.course.metrics;
                let answer = self.answer(organisation, (job.id, job.tenant, job.admin_id), true);
                let mut made = metrics.step("tokens", &mut timings, answer).await?;
                made.church.trial_ends_at = Some(trial_ends_at);
                made.timings = timings;
                Ok(made)
            }
        }
    }

    /// The password hashed and R1, or what came before under the same key.
    async fn reserved(
        &self,
        organisation: &NewOrganisation,
        key: Option<[u8; 32]>,
        deferred: bool,
    ) -> Result<Reserved, Refused> {
        let course = &self.course;
        let digest = organisation.digest(course.registry.master_key());
        if let Some(key) = &key
            && let Some(earlier) = self.earlier(key).await?
        {
            return same_body(&digest, earlier);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refused::Busy)?;
        let place = (place, course.warm.busy());
        let mut timings = Timings::default();
        let hash = self.passwords.hash(organisation.password.clone());
        let hash = async { self.courtesy.in_turn(hash).await? };
        let hash = course.metrics.step("hash", &mut timings, hash).await?;
        course.hold_at.at(Hold::Hashed).await;
        let admin = NewAdmin {
            id: verifier::random_name(24)?,
            email: organisation.email.clone(),
            password: hash,
            first_name: organisation.first_name.clone(),
            last_name: organisation.last_name.clone(),
        };
        let claim = self.claim(organisation, &admin, (&digest, key.as_ref()), deferred);
        match course.metrics.step("claim", &mut timings, claim).await? {
            Claimed::Job(job) => {
                let what = if job.was_warm { "claimed" } else { "missing" };
                course.metrics.warm.with_label_values(&[what]).inc();
                if job.was_warm {
                    course.warm.claimed();
                }
                Ok(Reserved::Begun(Box::new(Begun { job, admin, timings, _place: place })))
            }
            Claimed::EmailTaken => Err(Refused::EmailTaken),
            Claimed::KeyTaken => {
                let key = key.unwrap_or_default();
                let earlier = self.earlier(&key).await?;
                same_body(&digest, earlier.ok_or(Refused::InProgress)?)
            }
        }
    }

    async fn claim(
        &self,
        organisation: &NewOrganisation,
        admin: &NewAdmin,
        (body, key): (&[u8; 32], Option<&[u8; 32]>),
        deferred: bool,
    ) -> Result<Claimed, Refused> {
        let course = &self.course;
        let region = organisation.region.as_deref();
        let candidates = course.placement.candidates(region)?;
        let fresh = candidates.first().ok_or_else(|| failed::internal("no candidate"))?;
        let names: Vec<String> = candidates.iter().map(|s| s.name().to_string()).collect();
        let (id, fresh_tenant) = (registration_id()?, fresh_id()?);
        let key_of_all = course.registry.master_key();
        let sealed = deferred.then(|| seal::seal(key_of_all, &id, admin)).transpose()?;
        let claim = Claim {
            id: &id,
            idempotency_digest: key.map(<[u8; 32]>::as_slice),
            body_digest: body,
            email: &organisation.email,
            email_hashes: &self.emails.hashes(&organisation.email),
            church_name: &organisation.church_name,
            admin_id: &admin.id,
            fresh_tenant: fresh_tenant.as_str(),
            fresh_server: fresh.name(),
            servers: &names,
            held: &course.warm.held_ids(),
            region,
            sealed: sealed.as_deref(),
            schema_version: &fresh.warm_version(),
            holder: course.presence.id(),
        };
        let client = course.registry.client().await?;
        Ok(job::claim(&client, &claim).await?)
    }

    /// The rest of a claimed job: its tenant and when the trial ends, or nothing at all.
    async fn carried_out(&self, begun: Begun) -> Result<(Job, String, Timings), Refused> {
        let Begun { mut job, admin, mut timings, _place } = begun;
        match Box::pin(self.course.carry_out(&mut job, &admin, &mut timings)).await {
            Ok(trial_ends_at) => {
                tracing::info!(tenant = %job.tenant, server = job.server, warm = job.was_warm,
                    "tenant registered");
                Ok((job, trial_ends_at, timings))
            }
            Err(refused) => {
                let taken = matches!(refused, Refused::EmailTaken);
                let why = if taken { Failure::EmailTaken } else { Failure::Broken };
                if let Err(fault) = Janitor::new(Arc::clone(&self.course)).undo(&job, why).await {
                    fault.log();
                }
                Err(refused)
            }
        }
    }

    async fn earlier(&self, key: &[u8; 32]) -> Result<Option<Earlier>, Fault> {
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
        let of = (earlier.id, tenant, earlier.admin_id);
        let mut made = self.answer(organisation, of, earlier.is_fresh).await?;
        made.church.trial_ends_at = trial_ends_at;
        Ok(made)
    }

    async fn answer(
        &self,
        organisation: &NewOrganisation,
        (registration, tenant, admin_id): (String, TenantId, String),
        let_in: bool,
    ) -> Result<Registered, Refused> {
        let claims = Claims { tenant, subject: admin_id, role: Role::Owner };
        let tokens = if let_in { Some(self.sessions.begin(&claims).await?) } else { None };
        let admin = AdminView {
            id: claims.subject,
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
        Ok(Registered { registration, tenant: claims.tenant, admin, church, tokens, timings })
    }
}

/// Who repeats a key must repeat the body.
fn same_body(digest: &[u8; 32], earlier: Earlier) -> Result<Reserved, Refused> {
    let same = constant_time::verify_slices_are_equal(digest, &earlier.body_digest).is_ok();
    if same { Ok(Reserved::Again(earlier)) } else { Err(Refused::KeyReused) }
}

fn registration_id() -> Result<String, Refused> {
    use base64::Engine as _;
    let bytes = verifier::random::<16>()?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
