//! The beginning of a registration: the hash of the password, and R1.
//!
//! The hash is four fifths of what a registration takes, and nothing that R1 writes depends on it
//! unless its caller is answered before the rest is done: so R1 and the first tokens are written
//! while it is computed.

use std::time::Instant;

use aws_lc_rs::constant_time;
use tokio::sync::OwnedSemaphorePermit;

use super::job::{self, Claim, Claimed, Earlier, Job};
use super::metrics::Timings;
use super::service::Parts;
use super::underway::Hand;
use super::warm::{Busy, fresh_id};
use super::{Failure, Hold, NewOrganisation, seal};
use crate::control::password::Turn;
use crate::control::provision::NewAdmin;
use crate::control::{Refused, Tokens, failed, verifier};
use crate::units::Secret;

/// A claimed job, and what is to be done for it.
pub(super) struct Begun {
    pub(super) job: Job,
    pub(super) admin: NewAdmin,
    /// What its caller is let in with, unless it was answered already.
    pub(super) tokens: Option<Tokens>,
    pub(super) timings: Timings,
    /// Held until the job is at its end.
    pub(super) place: (OwnedSemaphorePermit, Busy, Hand),
}

/// What became of a request.
pub(super) enum Reserved {
    Begun(Box<Begun>),
    /// The same Idempotency-Key came before, with the same body.
    Again(Earlier),
}

/// Who is to be registered, under which ids.
struct Asked<'a> {
    organisation: &'a NewOrganisation,
    id: String,
    admin_id: String,
    digest: [u8; 32],
    key: Option<[u8; 32]>,
}

/// R1 as it ended, and the tokens if it is a job whose caller waits.
type Written = (Claimed, Option<Tokens>);

impl Parts {
    /// The password hashed and R1, or what came before under the same key.
    pub(super) async fn reserved(
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
        let place = self.places.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
        let (id, admin_id) = (registration_id()?, verifier::random_name(24)?);
        // Before R1, so that no row of it is ever held without a hand.
        let place = (place, course.warm.busy(), course.underway.enter(&id));
        let asked = Asked { organisation, id, admin_id, digest, key };
        let (mut timings, came) = (Timings::default(), Instant::now());
        let work = async {
            let turn = self.passwords.turn().await?;
            course.metrics.waited(&mut timings, came.elapsed());
            if deferred {
                self.sealed(&asked, turn, &mut timings).await
            } else {
                self.at_once(&asked, turn, &mut timings).await
            }
        };
        let (admin, (claimed, tokens)) = self.courtesy.in_turn(Box::pin(work)).await??;
        match claimed {
            Claimed::Job(job) => {
                let what = if job.was_warm { "claimed" } else { "missing" };
                course.metrics.warm.with_label_values(&[what]).inc();
                if job.was_warm {
                    course.warm.claimed();
                }
                Ok(Reserved::Begun(Box::new(Begun { job, admin, tokens, timings, place })))
            }
            Claimed::EmailTaken => {
                // By itself, where its first try was done while this one waited for its turn.
                let Some(key) = &key else { return Err(Refused::EmailTaken) };
                let earlier = self.earlier(key).await?;
                same_body(&digest, earlier.ok_or(Refused::EmailTaken)?)
            }
            Claimed::KeyTaken => {
                let earlier = self.earlier(&key.unwrap_or_default()).await?;
                same_body(&digest, earlier.ok_or(Refused::InProgress)?)
            }
        }
    }

    /// The hash and then R1, which keeps it: from then on anybody can do the rest.
    async fn sealed(
        &self,
        asked: &Asked<'_>,
        turn: Turn,
        timings: &mut Timings,
    ) -> Result<(NewAdmin, Written), Refused> {
        let course = &self.course;
        let admin = self.hashed(asked, turn, timings).await?;
        let sealed = seal::seal(course.registry.master_key(), &asked.id, &admin)?;
        let claim = self.claim(asked, Some(&sealed));
        let claimed = course.metrics.step("claim", timings, claim).await?;
        Ok((admin, (claimed, None)))
    }

    /// The hash, and beside it R1 and the tokens. A hash that has its turn is computed: R1 is not
    /// written for one that would have to be refused.
    async fn at_once(
        &self,
        asked: &Asked<'_>,
        turn: Turn,
        timings: &mut Timings,
    ) -> Result<(NewAdmin, Written), Refused> {
        let mut writing = Timings::default();
        let admin = self.hashed(asked, turn, timings);
        let (admin, written) = tokio::join!(admin, self.written(asked, &mut writing));
        timings.append(writing);
        let written = written?;
        match admin {
            Ok(admin) => Ok((admin, written)),
            Err(refused) => {
                if let Claimed::Job(job) = &written.0 {
                    self.undo(job, Failure::Broken).await;
                }
                Err(refused)
            }
        }
    }

    /// The admin, its password hashed.
    async fn hashed(
        &self,
        asked: &Asked<'_>,
        turn: Turn,
        timings: &mut Timings,
    ) -> Result<NewAdmin, Refused> {
        let hash = self.passwords.hash_in(turn, asked.organisation.password.clone());
        let hash = self.course.metrics.step("hash", timings, hash).await?;
        self.course.hold_at.at(Hold::Hashed).await;
        Ok(asked.admin(hash))
    }

    /// R1, and the tokens of the admin to be.
    async fn written(&self, asked: &Asked<'_>, timings: &mut Timings) -> Result<Written, Refused> {
        let metrics = &self.course.metrics;
        let claimed = metrics.step("claim", timings, self.claim(asked, None)).await?;
        let Claimed::Job(job) = &claimed else { return Ok((claimed, None)) };
        let tokens = self.first_tokens(&job.tenant, &job.admin_id);
        match metrics.step("tokens", timings, tokens).await {
            Ok(tokens) => Ok((claimed, Some(tokens))),
            Err(refused) => {
                self.undo(job, Failure::Broken).await;
                Err(refused)
            }
        }
    }

    async fn claim(&self, asked: &Asked<'_>, sealed: Option<&[u8]>) -> Result<Claimed, Refused> {
        let course = &self.course;
        let organisation = asked.organisation;
        let region = organisation.region.as_deref();
        let candidates = course.placement.candidates(region)?;
        let fresh = candidates.first().ok_or_else(|| failed::internal("no candidate"))?;
        let names: Vec<String> = candidates.iter().map(|s| s.name().to_string()).collect();
        let fresh_tenant = fresh_id()?;
        let claim = Claim {
            id: &asked.id,
            idempotency_digest: asked.key.as_ref().map(<[u8; 32]>::as_slice),
            body_digest: &asked.digest,
            email: &organisation.email,
            email_hashes: &self.emails.hashes(&organisation.email),
            church_name: &organisation.church_name,
            admin_id: &asked.admin_id,
            fresh_tenant: fresh_tenant.as_str(),
            fresh_server: fresh.name(),
            servers: &names,
            held: &course.warm.held_ids(),
            region,
            sealed,
            schema_version: &fresh.warm_version(),
            holder: course.presence.id(),
        };
        let client = course.presence.client().await?;
        Ok(job::claim(&client, &claim).await?)
    }
}

impl Asked<'_> {
    fn admin(&self, hash: Secret) -> NewAdmin {
        NewAdmin {
            id: self.admin_id.clone(),
            email: self.organisation.email.clone(),
            password: hash,
            first_name: self.organisation.first_name.clone(),
            last_name: self.organisation.last_name.clone(),
        }
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
