//! Tokens of an admin's login: a short access token, and a refresh token that is good once.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deadpool_postgres::Transaction;
use serde::{Deserialize, Serialize};

use super::revocations::revoke_token;
use super::seams::{Caller, Claims, SharedMint};
use super::{Refused, failed, verifier};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::{Role, TenantId};
use crate::tenant::Registry;
use crate::units::{Secret, Span};

/// `[refresh]`: how long a login lasts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshSettings {
    /// How long a refresh token is good.
    pub refresh_ttl: Span,
}

impl Default for RefreshSettings {
    fn default() -> Self {
        Self { refresh_ttl: Span::mins(7 * 24 * 60) }
    }
}

/// What a login hands out.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The access token.
    pub access: Secret,
    /// The refresh token.
    pub refresh: Secret,
    /// How long the access token lives, in seconds.
    pub expires_in: u64,
}

/// Issues, rotates and revokes. A refresh token is 256 random bits; the registry holds its digest.
#[derive(Clone)]
pub struct Sessions {
    registry: Registry,
    mint: SharedMint,
    refresh_ttl: Span,
}

/// The longest refresh token worth a look.
const REFRESH_BYTES_MAX: usize = 128;

/// A refresh token, its family, and whether its tenant is served.
const FIND: &str = r#"SELECT r.family, f.tenant_id, f.subject, r.replaced_at IS NOT NULL,
       r.expires_at <= now() OR f.revoked_at IS NOT NULL,
       EXISTS (SELECT FROM public."Tenant" t WHERE t."id" = f.tenant_id
               AND lower(t."status") = 'active')
       AND NOT EXISTS (SELECT FROM pgusher.tenants p
               WHERE p.tenant_id = f.tenant_id AND p.suspended_at IS NOT NULL)
   FROM pgusher.refresh_tokens r JOIN pgusher.refresh_families f ON f.id = r.family"#;

/// What [`FIND`] found.
struct Found {
    family: String,
    tenant: TenantId,
    subject: String,
    used: bool,
    ended: bool,
    served: bool,
}

/// What the tenant's own database says of a refresh token's admin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Standing {
    /// Nothing: it was not asked, for the token was no good.
    Unasked,
    /// There is no such admin any more, or none who is active.
    Gone,
    /// What the admin may do now.
    May(Role),
}

impl Found {
    fn read(row: &tokio_postgres::Row) -> Result<Self, Refused> {
        let text = |column| row.try_get::<_, String>(column).map_err(failed::registry);
        let flag = |column| row.try_get::<_, bool>(column).map_err(failed::registry);
        Ok(Self {
            family: text(0)?,
            tenant: TenantId::parse(&text(1)?).map_err(failed::internal)?,
            subject: text(2)?,
            used: flag(3)?,
            ended: flag(4)?,
            served: flag(5)?,
        })
    }
}

impl Sessions {
    /// Sessions in `registry`, signed by `mint`.
    pub fn new(registry: Registry, mint: SharedMint, settings: &RefreshSettings) -> Self {
        Self { registry, mint, refresh_ttl: settings.refresh_ttl }
    }

    /// Tokens of a new login.
    ///
    /// # Errors
    /// When the registry fails or there is no key to sign with.
    pub async fn begin(&self, claims: &Claims) -> Result<Tokens, Refused> {
        let (token, digest) = fresh()?;
        let family = verifier::random_name(24)?;
        let client = self.registry.client().await?;
        let sql = "WITH family AS (
                       INSERT INTO pgusher.refresh_families (id, tenant_id, subject, role)
                       VALUES ($1, $2, $3, $4))
                   INSERT INTO pgusher.refresh_tokens (digest, family, expires_at)
                   VALUES ($5, $1, now() + make_interval(secs => $6))";
        let statement = client.prepare_cached(sql).await.map_err(failed::registry)?;
        let (tenant, role) = (claims.tenant.as_str(), claims.role.as_str());
        let ttl = self.refresh_ttl.get().as_secs_f64();
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&family, &tenant, &claims.subject, &role, &digest, &ttl];
        client.execute(&statement, &row).await.map_err(failed::registry)?;
        self.tokens(claims, token)
    }

    /// Whose refresh token it is, if it is good; whether the tenant is served is another question.
    ///
    /// # Errors
    /// When the registry fails.
    pub(super) async fn holder(
        &self,
        token: &Secret,
    ) -> Result<Option<(TenantId, String)>, Refused> {
        if token.expose().len() > REFRESH_BYTES_MAX {
            return Ok(None);
        }
        let client = self.registry.client().await?;
        let sql = format!("{FIND} WHERE r.digest = $1");
        let statement = client.prepare_cached(&sql).await.map_err(failed::registry)?;
        let digest = digest_of(token.expose());
        let row = client.query_opt(&statement, &[&digest]).await.map_err(failed::registry)?;
        let found = row.map(|row| Found::read(&row)).transpose()?;
        Ok(found.filter(|f| !f.used && !f.ended).map(|f| (f.tenant, f.subject)))
    }

    /// New tokens for a refresh token. One whose admin is gone ends its family. So does one that
    /// was used before: either its owner or a thief holds the newer one, and nobody can tell which.
    ///
    /// # Errors
    /// [`Refused::Credentials`] for a token that is no good, whatever the reason; 57P03 for a good
    /// one while its tenant is not served: it stays good.
    pub(super) async fn refresh(
        &self,
        token: &Secret,
        standing: Standing,
    ) -> Result<(TenantId, Tokens), Refused> {
        let presented = digest_of(token.expose());
        if token.expose().len() > REFRESH_BYTES_MAX {
            return Err(Refused::Credentials);
        }
        let mut client = self.registry.client().await?;
        let tx = client.transaction().await.map_err(failed::registry)?;
        let sql = format!("{FIND} WHERE r.digest = $1 FOR UPDATE OF r, f");
        let found = tx.query_opt(&sql, &[&presented]).await.map_err(failed::registry)?;
        let Some(found) = found.map(|row| Found::read(&row)).transpose()? else {
            return Err(Refused::Credentials);
        };
        if found.used {
            end_family(tx, &found, ("reuse", "a refresh token was used twice")).await?;
            return Err(Refused::Credentials);
        }
        if found.ended {
            return Err(Refused::Credentials);
        }
        if !found.served {
            // Since the directory was asked.
            return Err(not_served().into());
        }
        let role = match standing {
            Standing::May(role) => role,
            Standing::Unasked => return Err(Refused::Credentials),
            Standing::Gone => {
                end_family(tx, &found, ("admin gone", "a refresh token's admin is gone")).await?;
                return Err(Refused::Credentials);
            }
        };
        let claims = Claims { tenant: found.tenant, subject: found.subject, role };
        let (next, digest) = fresh()?;
        let tokens = self.tokens(&claims, next)?;
        let sql = "WITH used AS (UPDATE pgusher.refresh_tokens SET replaced_at = now()
                                 WHERE digest = $1),
                   family AS (UPDATE pgusher.refresh_families SET role = $5
                              WHERE id = $3 AND role <> $5)
                   INSERT INTO pgusher.refresh_tokens (digest, family, expires_at)
                   VALUES ($2, $3, now() + make_interval(secs => $4))";
        let ttl = self.refresh_ttl.get().as_secs_f64();
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&presented, &digest, &found.family, &ttl, &role.as_str()];
        tx.execute(sql, &row).await.map_err(failed::registry)?;
        tx.commit().await.map_err(failed::registry)?;
        Ok((claims.tenant, tokens))
    }

    /// Ends the login a refresh token belongs to, and the caller's access token if one is given.
    /// Says nothing about whether there was such a login.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn end(&self, token: &Secret, caller: Option<&Caller>) -> Result<(), Refused> {
        let client = self.registry.client().await?;
        let sql = "UPDATE pgusher.refresh_families f
                   SET revoked_at = now(), revoked_reason = 'logout'
                   FROM pgusher.refresh_tokens r
                   WHERE r.digest = $1 AND f.id = r.family AND f.revoked_at IS NULL";
        let digest = digest_of(token.expose());
        client.execute(sql, &[&digest]).await.map_err(failed::registry)?;
        if let Some(caller) = caller {
            let end = Some(caller.expires_at);
            revoke_token(&client, &caller.tenant, &caller.token_id, end).await?;
        }
        Ok(())
    }

    fn tokens(&self, claims: &Claims, refresh: Secret) -> Result<Tokens, Refused> {
        let access = self.mint.access(claims)?;
        Ok(Tokens { access, refresh, expires_in: self.mint.access_ttl().as_secs() })
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

fn not_served() -> Fault {
    Fault::new(Blame::Tenant, SqlState::CANNOT_CONNECT_NOW, "the tenant is not served")
}

async fn end_family(
    tx: Transaction<'_>,
    found: &Found,
    (reason, text): (&str, &str),
) -> Result<(), Refused> {
    let sql = "UPDATE pgusher.refresh_families SET revoked_at = now(), revoked_reason = $2
               WHERE id = $1 AND revoked_at IS NULL";
    tx.execute(sql, &[&found.family, &reason]).await.map_err(failed::registry)?;
    tx.commit().await.map_err(failed::registry)?;
    tracing::warn!(tenant = %found.tenant, "{text}: its family ends");
    Ok(())
}

fn fresh() -> Result<(Secret, Vec<u8>), Refused> {
    let token = URL_SAFE_NO_PAD.encode(verifier::random::<32>()?);
    let digest = digest_of(&token);
    Ok((token.into(), digest))
}

fn digest_of(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}
