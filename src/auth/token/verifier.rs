//! From bytes a stranger sent to a proven [`Identity`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use super::super::identity::{Identity, Kind, Operator, Power, Proof, TokenId};
use super::super::refusal::Refusal;
use super::super::{AuthMetrics, Doorkeeper, Revocations};
use super::claims::{Claims, Unverified};
use super::issuer::{Issuer, TokenKind};
use super::{Signer, TokenSettings};
use crate::fault::Fault;
use crate::ident::{Role, TenantId};

/// How long a login waits for a JWKS to be read again.
const REFRESH_PATIENCE: Duration = Duration::from_secs(5);

/// Which door a token is presented at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A session that came over a socket.
    Tenant,
    /// A session that came from inside the process.
    Sidecar,
}

#[derive(Debug, Clone)]
enum Holder {
    Tenant(Identity),
    Sidecar(Identity),
    Operator(Operator),
}

/// A token once proven, as the cache keeps it.
#[derive(Debug)]
struct Proven {
    holder: Holder,
    begins: Option<SystemTime>,
    expires: SystemTime,
    /// Prove it anew from here on: a key may have been withdrawn.
    proven_until: SystemTime,
}

/// Proves tokens. Cheap to clone; one per process.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    settings: TokenSettings,
    issuers: HashMap<Box<str>, Issuer>,
    cache: moka::sync::Cache<[u8; 32], Arc<Proven>>,
    /// Of the cache.
    door: Doorkeeper,
    revocations: Revocations,
    metrics: AuthMetrics,
}

impl Verifier {
    /// A verifier for the issuers of `settings` and for `signer`'s own tokens. Reads key files:
    /// for start-up.
    ///
    /// # Errors
    /// Every problem found, each with its key in the settings.
    pub fn new(
        settings: TokenSettings,
        signer: Option<&Signer>,
        metrics: AuthMetrics,
    ) -> Result<Self, Vec<String>> {
        let (mut issuers, mut problems) = (HashMap::<Box<str>, Issuer>::new(), Vec::new());
        if let Some(signer) = signer {
            issuers.extend(signer.issuers()?.map(|(name, issuer)| (name.into(), issuer)));
        }
        for (index, issuer) in settings.issuers.iter().enumerate() {
            let path = format!("issuers[{index}]");
            if issuer.issuer.is_empty() {
                problems.push(format!("{path}: `issuer` is missing"));
            }
            match Issuer::from_settings(issuer) {
                Ok(built) => {
                    if issuers.insert(issuer.issuer.as_str().into(), built).is_some() {
                        problems.push(format!("{path}: `{}` is there already", issuer.issuer));
                    }
                }
                Err(bad) => problems.extend(bad.iter().map(|p| format!("{path}: {p}"))),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let cache = moka::sync::Cache::builder()
            .max_capacity(settings.cache_entries_max)
            .time_to_live(settings.cache_lifetime.get())
            .build();
        let revocations = Revocations::new(metrics.clone());
        let door = Doorkeeper::default();
        Ok(Self(Arc::new(Inner { settings, issuers, cache, door, revocations, metrics })))
    }

    /// Proves a token presented at a door. Never waits: for the data runtime. A token seen twice
    /// within the last minute costs one digest and one look-up, another one its signature.
    pub fn verify(
        &self,
        token: &[u8],
        now: SystemTime,
        audience: Audience,
    ) -> Result<Identity, Fault> {
        self.identify(token, now, audience).map_err(Refusal::fault)
    }

    /// As [`Self::verify`]; a token by an unknown key of an issuer with a JWKS first has that set
    /// read again (by [`Self::refresh`], wherever that runs), if it was not just read.
    pub async fn verify_refreshing(
        &self,
        token: &[u8],
        now: SystemTime,
        audience: Audience,
    ) -> Result<Identity, Fault> {
        let refusal = match self.identify(token, now, audience) {
            Ok(identity) => return Ok(identity),
            Err(refusal) => refusal,
        };
        if self.refreshed(token, refusal).await {
            self.identify(token, now, audience).map_err(Refusal::fault)
        } else {
            Err(refusal.fault())
        }
    }

    /// Proves an operator's token.
    pub fn verify_operator(&self, token: &[u8], now: SystemTime) -> Result<Operator, Fault> {
        self.operator(token, now).map_err(Refusal::fault)
    }

    /// As [`Self::verify_operator`], with a JWKS read again if need be.
    pub async fn verify_operator_refreshing(
        &self,
        token: &[u8],
        now: SystemTime,
    ) -> Result<Operator, Fault> {
        let refusal = match self.operator(token, now) {
            Ok(operator) => return Ok(operator),
            Err(refusal) => refusal,
        };
        if self.refreshed(token, refusal).await {
            self.operator(token, now).map_err(Refusal::fault)
        } else {
            Err(refusal.fault())
        }
    }

    /// What has been revoked. Checked for every token, remembered or not.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// Lets go of remembered tokens whose time is over.
    pub fn sweep(&self) {
        self.0.cache.run_pending_tasks();
    }

    /// Forgets every remembered token: each is proven anew when next presented.
    pub fn forget(&self) {
        self.0.cache.invalidate_all();
    }

    /// Reads every JWKS now and then, for ever. For the control runtime, once per process.
    pub async fn refresh(&self) {
        let sources = self.0.issuers.values().filter_map(|issuer| issuer.source.as_ref());
        join_all(sources.map(|source| source.run(&self.0.metrics, || self.forget()))).await;
        // Without a JWKS there is nothing to do, for ever.
        std::future::pending::<()>().await;
    }

    /// Waits until [`Self::refresh`] has tried every JWKS once; whoever waits sets the deadline.
    pub async fn ready(&self) {
        let sources = self.0.issuers.values().filter_map(|issuer| issuer.source.as_ref());
        join_all(sources.map(|source| source.tried())).await;
    }

    fn identify(
        &self,
        token: &[u8],
        now: SystemTime,
        audience: Audience,
    ) -> Result<Identity, Refusal> {
        let result = self.prove(token, now).and_then(|proven| match (&proven.holder, audience) {
            (Holder::Tenant(identity), Audience::Tenant)
            | (Holder::Sidecar(identity), Audience::Sidecar) => {
                if self.0.revocations.cover(identity) {
                    return Err(Refusal::Revoked);
                }
                Ok(identity.clone())
            }
            _ => Err(Refusal::WrongKind),
        });
        self.count(result)
    }

    fn operator(&self, token: &[u8], now: SystemTime) -> Result<Operator, Refusal> {
        let result = self.prove(token, now).and_then(|proven| match &proven.holder {
            Holder::Operator(operator) => {
                if self.0.revocations.cover_token(&operator.token_id) {
                    return Err(Refusal::Revoked);
                }
                Ok(operator.clone())
            }
            Holder::Tenant(_) | Holder::Sidecar(_) => Err(Refusal::WrongKind),
        });
        self.count(result)
    }

    fn count<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &result {
            self.0.metrics.refused.with_label_values(&[refusal.label()]).inc();
        }
        result
    }

    /// Whether a set was read that may change the verdict.
    async fn refreshed(&self, token: &[u8], refusal: Refusal) -> bool {
        if !matches!(refusal, Refusal::UnknownKey | Refusal::StaleKeys) {
            return false;
        }
        let source = {
            let issuer = Unverified::parse(token).ok().and_then(|token| token.claims.iss);
            let issuer = issuer.and_then(|name| self.0.issuers.get(name.as_str()));
            issuer.and_then(|issuer| issuer.source.clone())
        };
        match source {
            Some(source) => source.refreshed(REFRESH_PATIENCE).await,
            None => false,
        }
    }

    fn prove(&self, token: &[u8], now: SystemTime) -> Result<Arc<Proven>, Refusal> {
        if token.len() > self.0.settings.length_max.get() {
            return Err(Refusal::TooLong);
        }
        let digest = super::super::sha256(token);
        if let Some(proven) = self.0.cache.get(&digest)
            && now < proven.proven_until
        {
            self.in_time(proven.begins, proven.expires, now)?;
            self.0.metrics.cached.inc();
            return Ok(proven);
        }
        let proven = Arc::new(self.prove_anew(token, now)?);
        self.0.metrics.verified.inc();
        if self.0.door.knows(digest) {
            self.0.cache.insert(digest, Arc::clone(&proven));
        }
        Ok(proven)
    }

    /// The whole road. Nothing but the issuer and the key is chosen before the signature holds.
    fn prove_anew(&self, token: &[u8], now: SystemTime) -> Result<Proven, Refusal> {
        let token = Unverified::parse(token)?;
        let name = token.claims.iss.as_deref().ok_or(Refusal::Missing("iss"))?;
        let issuer = self.0.issuers.get(name).ok_or(Refusal::UnknownIssuer)?;
        issuer.verify(&token)?;
        let claims = &token.claims;
        let (expires, begins) = (claims.expires()?, claims.begins()?);
        self.in_time(begins, expires, now)?;
        if let Some(longest) = issuer.lifetime_max {
            let from = claims.issued()?.unwrap_or(now).min(now);
            if expires.duration_since(from).is_ok_and(|life| life > longest) {
                return Err(Refusal::TooLongLived);
            }
        }
        let kind = issuer.kind(&token)?;
        if claims.is_not_for_access(&issuer.access_types) {
            return Err(Refusal::TokenType);
        }
        let id = claims.jti.as_deref();
        let token_id = id.map_or_else(|| TokenId::of_signed(token.message), TokenId::new);
        let holder = match kind {
            TokenKind::Operator => Holder::Operator(operator(claims, token_id, expires)?),
            TokenKind::Tenant => {
                let role = issuer.role(claims.role.as_deref())?;
                Holder::Tenant(identity(claims, issuer, role, token_id)?)
            }
            TokenKind::Sidecar => {
                Holder::Sidecar(identity(claims, issuer, Role::Sidecar, token_id)?)
            }
        };
        let remembered = now.checked_add(self.0.settings.cache_lifetime.get()).unwrap_or(now);
        Ok(Proven { holder, begins, expires, proven_until: remembered })
    }

    fn in_time(
        &self,
        begins: Option<SystemTime>,
        expires: SystemTime,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let leeway = self.0.settings.leeway.get();
        // An end so far off that the leeway overflows it has not come.
        if expires.checked_add(leeway).is_some_and(|end| end <= now) {
            return Err(Refusal::Expired);
        }
        if begins.is_some_and(|begin| now.checked_add(leeway).is_some_and(|now| now < begin)) {
            return Err(Refusal::NotYet);
        }
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self.0.issuers.keys().collect();
        f.debug_struct("Verifier").field("issuers", &issuers).finish_non_exhaustive()
    }
}

fn operator(claims: &Claims, id: TokenId, expires: SystemTime) -> Result<Operator, Refusal> {
    let power = claims.operator.as_deref().ok_or(Refusal::Missing("operator"))?;
    let power = Power::parse(power).ok_or(Refusal::BadClaim("operator"))?;
    Ok(Operator { power, subject: claims.subject()?, token_id: id, expires_at: expires })
}

fn identity(
    claims: &Claims,
    issuer: &Issuer,
    role: Role,
    token_id: TokenId,
) -> Result<Identity, Refusal> {
    Ok(Identity::proven(Proof {
        kind: Kind::Jwt,
        renewable: issuer.ours,
        tenant: tenant(claims, issuer)?,
        role,
        subject: claims.subject()?,
        token_id,
        issued_at: claims.issued()?,
        expires_at: Some(claims.expires()?),
        scopes: claims.scopes()?,
    }))
}

/// The tenant, under its name or its old one. A token that names two is nobody's.
fn tenant(claims: &Claims, issuer: &Issuer) -> Result<TenantId, Refusal> {
    let id = match (claims.tenant.as_deref(), claims.church.as_deref()) {
        (Some(tenant), Some(church)) if tenant != church => return Err(Refusal::TwoTenants),
        (Some(id), _) => id,
        (None, Some(id)) if issuer.legacy_tenant_claim => id,
        (None, _) => return Err(Refusal::Missing("tenantId")),
    };
    TenantId::parse(id).map_err(|_| Refusal::BadClaim("tenantId"))
}
