//! The registration itself.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use serde::{Deserialize, Serialize};

use super::job::{self, Claim, Claimed, Earlier, Job, KEY_VERSION};
use super::warm::{Warm, fresh_id};
use super::{Janitor, NewOrganisation};
use crate::control::provision::{NewAdmin, Provisioner, Servers};
use crate::control::seams::Claims;
use crate::control::{
    EmailIndex, Passwords, Presence, Refused, Sessions, Tokens, failed, verifier,
};
use crate::ident::{Role, TenantId};
use crate::tenant::Registry;
use crate::units::Secret;

/// `[registration]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrationSettings {
    /// Days until a new tenant's trial ends.
    pub trial_days: u16,
}

impl Default for RegistrationSettings {
    fn default() -> Self {
        Self { trial_days: 14 }
    }
}

/// An admin, for the answer.
#[derive(Debug, Clone)]
pub struct AdminView {
    /// Its id in the tenant's database.
    pub id: String,
    /// Normalised.
    pub email: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// `PRIMARY` for the first.
    pub role: String,
}

/// The organisation, for the answer.
#[derive(Debug, Clone)]
pub struct ChurchView {
    /// Its name.
    pub name: String,
    /// `trial` for a new one.
    pub subscription_status: String,
    /// RFC 3339.
    pub trial_ends_at: Option<String>,
}

/// A tenant that came to be, or had come to be under the same Idempotency-Key.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The registration's id: 128 random bits.
    pub registration: String,
    /// The tenant's id.
    pub tenant: TenantId,
    /// Its first admin.
    pub admin: AdminView,
    /// The organisation.
    pub church: ChurchView,
    /// The admin's tokens.
    pub tokens: Tokens,
}

/// Registers tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registration(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    registry: Registry,
    servers: Arc<Servers>,
    passwords: Passwords,
    emails: EmailIndex,
    sessions: Sessions,
    presence: Presence,
    warm: Warm,
    trial_days: i32,
}

/// What a registration is built from.
#[derive(Debug)]
pub struct Builder {
    /// The registry.
    pub registry: Registry,
    /// Where tenants may be made.
    pub servers: Arc<Servers>,
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
}

impl Builder {
    /// The registration.
    pub fn build(self, settings: &RegistrationSettings) -> Registration {
        Registration(Arc::new(Parts {
            registry: self.registry,
            servers: self.servers,
            passwords: self.passwords,
            emails: self.emails,
            sessions: self.sessions,
            presence: self.presence,
            warm: self.warm,
            trial_days: i32::from(settings.trial_days),
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
        let organisation = organisation.checked()?;
        let key = idempotency_key.map(|key| self.0.key_digest(key)).transpose()?;
        let parts = Arc::clone(&self.0);
        let work = async move { Box::pin(parts.registered(organisation, key)).await };
        let task = tokio::spawn(work);
        task.await.map_err(failed::internal)?
    }

    /// The janitor of the same registry and servers.
    pub fn janitor(&self) -> Janitor {
        self.0.janitor()
    }
}

impl Parts {
    fn janitor(&self) -> Janitor {
        let (registry, servers) = (self.registry.clone(), Arc::clone(&self.servers));
        Janitor::new(registry, servers, self.presence.clone(), self.trial_days)
    }

    fn key_digest(&self, key: &str) -> Result<[u8; 32], Refused> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let message = "must have 1 to 255 bytes";
            let problem = crate::control::FieldProblem { field: "Idempotency-Key", message };
            return Err(Refused::Invalid(vec![problem]));
        }
        Ok(self.registry.master_key().derive("idempotency key", &[key.as_bytes()]))
    }

    async fn registered(
        &self,
        organisation: NewOrganisation,
        key: Option<[u8; 32]>,
    ) -> Result<Registered, Refused> {
        let digest = organisation.digest(self.registry.master_key());
        if let Some(key) = &key
            && let Some(earlier) = job::earlier(&*self.registry.client().await?, key).await?
        {
            return self.again(&organisation, &digest, earlier).await;
        }
        let hash = self.passwords.hash(organisation.password.clone()).await?;
        let job = match self.claim(&organisation, &digest, key.as_ref()).await? {
            Claimed::Job(job) => job,
            Claimed::EmailTaken => return Err(Refused::EmailTaken),
            Claimed::KeyTaken => {
                let key = key.unwrap_or_default();
                let earlier = job::earlier(&*self.registry.client().await?, &key).await?;
                let earlier = earlier.ok_or(Refused::InProgress)?;
                return self.again(&organisation, &digest, earlier).await;
            }
        };
        if job.was_warm {
            self.warm.claimed();
        }
        match Box::pin(self.carry_out(&job, &organisation, hash)).await {
            Ok(trial_ends_at) => {
                tracing::info!(tenant = %job.tenant, server = job.server, warm = job.was_warm,
                    "tenant registered");
                self.answer(&organisation, job.id, job.tenant, job.admin_id, Some(trial_ends_at))
                    .await
            }
            Err(refused) => {
                self.give_up(&job, &refused).await;
                Err(refused)
            }
        }
    }

    /// R2 and R3, and the clone before them where there was no warm database.
    async fn carry_out(
        &self,
        job: &Job,
        organisation: &NewOrganisation,
        hash: Secret,
    ) -> Result<String, Refused> {
        let server = self.server(&job.server)?;
        if !job.was_warm {
            server.ensure_tenant(&job.tenant, KEY_VERSION).await?;
            job::note(&*self.registry.client().await?, job, "cloned").await?;
        }
        let admin = NewAdmin {
            id: job.admin_id.clone(),
            email: organisation.email.clone(),
            password: hash,
            first_name: organisation.first_name.clone(),
            last_name: organisation.last_name.clone(),
        };
        server.ensure_admin(&job.tenant, &admin).await?;
        let client = self.registry.client().await?;
        job::finish(&client, job, server, self.presence.id(), self.trial_days).await
    }

    async fn claim(
        &self,
        organisation: &NewOrganisation,
        digest: &[u8; 32],
        key: Option<&[u8; 32]>,
    ) -> Result<Claimed, Refused> {
        let fresh_server = self.place()?;
        let names: Vec<String> = self.open_servers().map(|s| s.name().to_string()).collect();
        let (id, admin_id) = (registration_id()?, verifier::random_name(24)?);
        let fresh_tenant = fresh_id()?;
        let claim = Claim {
            id: &id,
            idempotency_digest: key.map(<[u8; 32]>::as_slice),
            body_digest: digest,
            email: &organisation.email,
            email_hashes: &self.emails.hashes(&organisation.email),
            church_name: &organisation.church_name,
            admin_id: &admin_id,
            fresh_tenant: fresh_tenant.as_str(),
            fresh_server: fresh_server.name(),
            servers: &names,
            schema_version: &fresh_server.schema_version(),
            holder: self.presence.id(),
        };
        let client = self.registry.client().await?;
        Ok(job::claim(&client, &claim).await?)
    }

    /// The same Idempotency-Key came before.
    async fn again(
        &self,
        organisation: &NewOrganisation,
        digest: &[u8; 32],
        earlier: Earlier,
    ) -> Result<Registered, Refused> {
        if constant_time::verify_slices_are_equal(digest, &earlier.body_digest).is_err() {
            return Err(Refused::KeyReused);
        }
        if earlier.step != "done" {
            return Err(Refused::InProgress);
        }
        let tenant = TenantId::parse(&earlier.tenant).map_err(failed::internal)?;
        let client = self.registry.client().await?;
        let sql = r#"SELECT to_char("trialEndsAt", 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                     FROM public."Tenant" WHERE "id" = $1"#;
        let row = client.query_opt(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?;
        let row = row.ok_or(Refused::NotFound)?;
        let trial_ends_at = row.try_get(0).map_err(failed::registry)?;
        drop(client);
        self.answer(organisation, earlier.id, tenant, earlier.admin_id, trial_ends_at).await
    }

    async fn answer(
        &self,
        organisation: &NewOrganisation,
        registration: String,
        tenant: TenantId,
        admin_id: String,
        trial_ends_at: Option<String>,
    ) -> Result<Registered, Refused> {
        let claims = Claims { tenant, subject: admin_id, role: Role::Owner };
        let tokens = self.sessions.begin(&claims).await?;
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
            trial_ends_at,
        };
        Ok(Registered { registration, tenant: claims.tenant, admin, church, tokens })
    }

    /// Undoes it now; if that fails too, the janitor's next pass does.
    async fn give_up(&self, job: &Job, refused: &Refused) {
        let undo = async {
            let client = self.registry.client().await?;
            job::give_up(&client, job, &refused.to_string()).await?;
            drop(client);
            self.janitor().pass().await
        };
        if let Err(fault) = Box::pin(undo).await {
            fault.log();
        }
    }

    fn open_servers(&self) -> impl Iterator<Item = &Arc<Provisioner>> {
        self.servers.values().filter(|server| server.weight() > 0)
    }

    /// A server for a new database, drawn by weight.
    fn place(&self) -> Result<&Provisioner, Refused> {
        let total: u64 = self.open_servers().map(|server| u64::from(server.weight())).sum();
        if total == 0 {
            return Err(failed::internal("no server takes new tenants").into());
        }
        let mut draw = u64::from_be_bytes(verifier::random::<8>()?) % total;
        for server in self.open_servers() {
            let weight = u64::from(server.weight());
            if draw < weight {
                return Ok(server);
            }
            draw -= weight;
        }
        Err(failed::internal("no server takes new tenants").into())
    }

    fn server(&self, name: &str) -> Result<&Provisioner, Refused> {
        let server = self.servers.get(name).map(|server| &**server);
        server.ok_or_else(|| failed::internal("the job's server is not configured").into())
    }
}

fn registration_id() -> Result<String, Refused> {
    use base64::Engine as _;
    let bytes = verifier::random::<16>()?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
