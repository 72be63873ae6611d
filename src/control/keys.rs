//! API keys of a tenant: made by its primary admin, shown once, revoked at once.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::revocations::Revoker;
use super::seams::Caller;
use super::{FieldProblem, Refused, failed, verifier};
use crate::ident::{Role, TenantId};
use crate::tenant::Registry;
use crate::units::Secret;

/// Some drivers refuse fewer (RFC 7677 asks for this many).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("invariant: 4096 is not zero");

/// Keys of one tenant at most, revoked ones aside.
const KEYS_MAX: i64 = 100;
const TOO_MANY: Refused = Refused::Conflict {
    kind: "too-many-keys",
    title: "The tenant has 100 API keys that are good already: revoke one first",
};
const NAME_CHARS_MAX: usize = 100;
const TTL_SECS_MAX: u64 = 10 * 365 * 86_400;

/// What a key should be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What its maker calls it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Seconds until it ends; `None`: as late as its maker may have it, or never.
    pub expires_in: Option<u64>,
}

impl NewKey {
    /// When it ends, as asked for.
    fn expires_at(&self) -> Option<SystemTime> {
        self.expires_in.map(|s| SystemTime::now() + Duration::from_secs(s))
    }
}

/// A key just made. The secret is not kept.
#[derive(Debug, Clone)]
pub struct MadeKey {
    /// Its id.
    pub id: String,
    /// `key_<id>`: the user to log in as.
    pub user: String,
    /// The password to log in with.
    pub secret: Secret,
    /// When it ends.
    pub expires_at: Option<SystemTime>,
}

/// A key, as its tenant may see it.
#[derive(Debug, Clone)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub expires_at: Option<String>,
}

/// Makes, lists and revokes keys.
#[derive(Debug, Clone)]
pub struct Keys(Registry);

impl Keys {
    /// Keys in `registry`.
    pub fn new(registry: Registry) -> Self {
        Self(registry)
    }

    /// Makes a key for the caller's tenant: with no role above the caller's, and no end behind that
    /// of a token which pgusher cannot renew.
    ///
    /// # Errors
    /// [`Refused::NotPrimary`] unless the caller is the primary admin; [`Refused::Invalid`];
    /// [`Refused::KeyOutlives`].
    pub async fn make(&self, caller: &Caller, key: &NewKey) -> Result<MadeKey, Refused> {
        primary(caller)?;
        if key.role > caller.role || key.role == Role::Sidecar {
            return Err(Refused::NotPrimary);
        }
        let name = checked(key)?;
        let mut expires_at = key.expires_at();
        if !caller.renewable {
            let ends = caller.expires_at;
            let wanted = *expires_at.get_or_insert(ends);
            // A token is believed for a moment behind its end; a key of that moment opens nothing.
            if wanted > ends || ends <= SystemTime::now() {
                return Err(Refused::KeyOutlives { ends });
            }
        }
        self.insert(&caller.tenant, &caller.subject, (key.role, &name, expires_at)).await
    }

    /// Makes a key in an operator's name, or in that of `pgusher dev`.
    ///
    /// # Errors
    /// [`Refused::Invalid`]; when the registry fails.
    pub async fn make_for(
        &self,
        tenant: &TenantId,
        maker: &str,
        key: &NewKey,
    ) -> Result<MadeKey, Refused> {
        let name = checked(key)?;
        self.insert(tenant, maker, (key.role, &name, key.expires_at())).await
    }

    async fn insert(
        &self,
        tenant: &TenantId,
        maker: &str,
        (role, name, expires_at): (Role, &str, Option<SystemTime>),
    ) -> Result<MadeKey, Refused> {
        let id = verifier::random_name(16)?;
        let secret = URL_SAFE_NO_PAD.encode(verifier::random::<32>()?);
        let for_hash = secret.clone();
        let hashed =
            tokio::task::spawn_blocking(move || verifier::scram_verifier(&for_hash, ITERATIONS));
        let text = hashed.await.map_err(failed::internal)??;
        let sql = "INSERT INTO pgusher.api_keys
                       (id, tenant_id, role, name, verifier, created_by, expires_at)
                   SELECT $1, $2, $3, $4, $5, $6, $7
                   WHERE (SELECT count(*) FROM pgusher.api_keys
                          WHERE tenant_id = $2 AND revoked_at IS NULL
                              AND coalesce(expires_at > now(), true)) < $8";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
            [&id, &tenant.as_str(), &role.as_str(), &name, &text, &maker, &expires_at, &KEYS_MAX];
        let client = self.0.client().await?;
        let made = client.execute(sql, &row).await.map_err(failed::registry)?;
        if made == 0 {
            return Err(TOO_MANY);
        }
        Ok(MadeKey { user: format!("key_{id}"), id, secret: secret.into(), expires_at })
    }

    /// The caller's tenant's keys.
    ///
    /// # Errors
    /// [`Refused::NotPrimary`] unless the caller is the primary admin.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<KeyView>, Refused> {
        primary(caller)?;
        let sql = r#"SELECT id, name, role,
                         to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                         to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                     FROM pgusher.api_keys WHERE tenant_id = $1 AND revoked_at IS NULL
                     ORDER BY created_at, id"#;
        let client = self.0.client().await?;
        let rows = client.query(sql, &[&caller.tenant.as_str()]).await.map_err(failed::registry)?;
        let read = |row: &tokio_postgres::Row| {
            Ok(KeyView {
                id: row.try_get(0)?,
                name: row.try_get(1)?,
                role: row.try_get(2)?,
                created_at: row.try_get(3)?,
                expires_at: row.try_get(4)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|e| failed::registry(e).into())
    }

    /// Revokes a key of the caller's tenant.
    ///
    /// # Errors
    /// [`Refused::NotFound`] for any other tenant's key, too.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<(), Refused> {
        primary(caller)?;
        Revoker::new(self.0.clone()).key(&caller.tenant, id, &caller.subject).await
    }
}

fn primary(caller: &Caller) -> Result<(), Refused> {
    if caller.role == Role::Owner { Ok(()) } else { Err(Refused::NotPrimary) }
}

fn checked(key: &NewKey) -> Result<String, Refused> {
    let name = &key.name;
    let mut problems = Vec::new();
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let message = "must have at most 100 characters, none of them a control character";
        problems.push(FieldProblem::new("name", message));
    }
    if key.expires_in.is_some_and(|s| s == 0 || s > TTL_SECS_MAX) {
        let message = "must be 1 to 315360000 seconds";
        problems.push(FieldProblem::new("expiresIn", message));
    }
    if problems.is_empty() { Ok(name.trim().to_owned()) } else { Err(Refused::Invalid(problems)) }
}
