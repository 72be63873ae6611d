//! An admin logs in: found in the registry by the e-mail's hash, proven in the tenant's own
//! database, reached like everybody reaches it: a session in the tenant's room.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use super::email::{self, EMAIL_BYTES_MAX};
use super::registration::{AdminView, ChurchView};
use super::seams::{Claims, SharedMint, TenantDoor};
use super::{EmailIndex, Match, Passwords, Refused, Sessions, Tokens, failed};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::{Role, TenantId};
use crate::tenant::{Directory, Registry, Status};
use crate::units::Secret;

/// An admin who is in.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// The tenant.
    pub tenant: TenantId,
    /// The admin.
    pub admin: AdminView,
    /// The organisation.
    pub church: ChurchView,
    /// The tokens.
    pub tokens: Tokens,
}

/// Logs admins in.
pub struct Login {
    /// Where e-mails are looked up.
    pub registry: Registry,
    /// Where tenants are.
    pub directory: Arc<Directory>,
    /// How e-mails are hashed.
    pub emails: EmailIndex,
    /// Compares.
    pub passwords: Passwords,
    /// Issues tokens.
    pub sessions: Sessions,
    /// The road to a tenant's database.
    pub door: Arc<dyn TenantDoor>,
    /// Signs the token of moments that opens it.
    pub mint: SharedMint,
}

/// A failed login answers no sooner than this, so that an unknown e-mail, which asks no tenant's
/// database, is as slow as a wrong password.
const REFUSAL_AFTER: Duration = Duration::from_millis(250);
const REFUSAL_STEP: Duration = Duration::from_millis(250);

/// How long the tenant's database may take.
const DOOR_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of an admin before the password was compared.
struct Candidate {
    id: String,
    hash: Secret,
    view: AdminView,
    active: bool,
}

impl Login {
    /// Tokens for an e-mail and its password.
    ///
    /// # Errors
    /// [`Refused::Credentials`], at the same time and in the same words, for an unknown e-mail, a
    /// wrong password, an admin who was deactivated and a tenant that is not served.
    pub async fn login(&self, email: &str, password: Secret) -> Result<LoggedIn, Refused> {
        let begun = Instant::now();
        let result = Box::pin(self.attempt(email, password)).await;
        if matches!(result, Err(Refused::Credentials)) {
            // The next full step: load shows in neither answer.
            let mut until = begun + REFUSAL_AFTER;
            while until < Instant::now() {
                until += REFUSAL_STEP;
            }
            tokio::time::sleep_until(until).await;
        }
        result
    }

    async fn attempt(&self, email: &str, password: Secret) -> Result<LoggedIn, Refused> {
        let email = email::normalised(email).filter(|email| email.len() <= EMAIL_BYTES_MAX);
        let found = match &email {
            Some(email) => self.find(email).await?,
            None => None,
        };
        let Some((tenant, is_legacy)) = found else {
            self.passwords.verify(password, None).await?;
            return Err(Refused::Credentials);
        };
        let email = email.unwrap_or_default();
        let row = self.directory.tenant(&tenant).await?;
        if row.status != Status::Active {
            self.passwords.verify(password, None).await?;
            return Err(Refused::Credentials);
        }
        let client = self.enter(&tenant).await?;
        let candidate = candidate(&client, &email).await?;
        let hash = candidate.as_ref().filter(|c| c.active).map(|c| c.hash.clone());
        let matched = self.passwords.verify(password.clone(), hash).await?;
        let Some(candidate) = candidate.filter(|_| matched != Match::Wrong) else {
            return Err(Refused::Credentials);
        };
        if matched == Match::Outdated {
            self.rehash(&client, &candidate, password).await;
        }
        drop(client);
        if is_legacy {
            self.upgrade_index(&tenant, &email).await;
        }
        let role = if candidate.view.role == "PRIMARY" { Role::Owner } else { Role::App };
        let claims = Claims { tenant, subject: candidate.id, role };
        let tokens = self.sessions.begin(&claims).await?;
        let church = ChurchView {
            name: row.name.clone(),
            subscription_status: row.subscription.clone(),
            trial_ends_at: self.trial_ends_at(&claims.tenant).await?,
        };
        Ok(LoggedIn { tenant: claims.tenant, admin: candidate.view, church, tokens })
    }

    /// The tenant of an e-mail, and whether it was found under a hash of the system before.
    async fn find(&self, email: &str) -> Result<Option<(TenantId, bool)>, Refused> {
        let hashes = self.emails.hashes(email);
        let client = self.registry.client().await?;
        let sql = r#"SELECT "tenantId"::text, "emailHash"::text FROM public."AdminEmailIndex"
                     WHERE "emailHash" = ANY ($1)"#;
        let statement = client.prepare_cached(sql).await.map_err(failed::registry)?;
        let rows = client.query(&statement, &[&hashes]).await.map_err(failed::registry)?;
        let mut found = None;
        for row in rows {
            let tenant: String = row.try_get(0).map_err(failed::registry)?;
            let hash: String = row.try_get(1).map_err(failed::registry)?;
            let is_keyed = hashes.first() == Some(&hash);
            if let Ok(tenant) = TenantId::parse(&tenant)
                && (is_keyed || found.is_none())
            {
                found = Some((tenant, !is_keyed));
            }
        }
        Ok(found)
    }

    /// A session in the tenant's room, as pgusher itself.
    async fn enter(&self, tenant: &TenantId) -> Result<Client, Refused> {
        let token = self.mint.sidecar(tenant)?;
        let mut config = tokio_postgres::Config::new();
        config.user("pgusher").password(token.expose()).dbname(tenant.database());
        config.application_name("pgusher sidecar");
        let connected = config.connect_raw(self.door.open(), NoTls);
        let connected = tokio::time::timeout(DOOR_TIMEOUT, connected).await;
        let (client, connection) =
            connected.map_err(|e| closed(e.into()))?.map_err(|e| closed(e.into()))?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A hash of before, or of other parameters, written anew. The login does not depend on it.
    async fn rehash(&self, client: &Client, candidate: &Candidate, password: Secret) {
        let Ok(hash) = self.passwords.hash(password).await else {
            return;
        };
        let sql = r#"UPDATE "Admin" SET "password" = $1 WHERE "id"::text = $2 AND "password" = $3"#;
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&hash.expose(), &candidate.id, &candidate.hash.expose()];
        if let Err(error) = client.execute(sql, &row).await {
            tracing::warn!(error = error.to_string(), "could not renew a password's hash");
        }
    }

    async fn upgrade_index(&self, tenant: &TenantId, email: &str) {
        let hashes = self.emails.hashes(email);
        let sql = r#"WITH gone AS (DELETE FROM public."AdminEmailIndex"
                                   WHERE "emailHash" = ANY ($1) AND "emailHash" <> $2)
                     INSERT INTO public."AdminEmailIndex" ("emailHash", "tenantId")
                     VALUES ($2, $3) ON CONFLICT DO NOTHING"#;
        let upgraded = async {
            let client = self.registry.client().await?;
            let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&hashes, &hashes[0], &tenant.as_str()];
            client.execute(sql, &row).await.map_err(failed::registry)
        };
        if let Err(fault) = upgraded.await {
            fault.log();
        }
    }

    async fn trial_ends_at(&self, tenant: &TenantId) -> Result<Option<String>, Refused> {
        let client = self.registry.client().await?;
        let sql = r#"SELECT to_char("trialEndsAt", 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                     FROM public."Tenant" WHERE "id" = $1"#;
        let row = client.query_opt(sql, &[&tenant.as_str()]).await.map_err(failed::registry)?;
        let text = row.map(|row| row.try_get::<_, Option<String>>(0)).transpose();
        Ok(text.map_err(failed::registry)?.flatten())
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// Reads the row as JSON: an adopted database may have fewer columns, or a uuid for an id.
async fn candidate(client: &Client, email: &str) -> Result<Option<Candidate>, Refused> {
    let sql = r#"SELECT to_jsonb(a) FROM "Admin" a WHERE lower(a."email") = $1 LIMIT 1"#;
    let asked = tokio::time::timeout(DOOR_TIMEOUT, client.query_opt(sql, &[&email])).await;
    let row = asked.map_err(|e| closed(e.into()))?.map_err(|e| closed(e.into()))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let row: serde_json::Value = row.try_get(0).map_err(|e| closed(e.into()))?;
    let text = |key: &str| match row.get(key) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    Ok(Some(Candidate {
        id: text("id"),
        hash: text("password").into(),
        active: row.get("isActive").and_then(serde_json::Value::as_bool).unwrap_or(true),
        view: AdminView {
            id: text("id"),
            email: email.to_owned(),
            first_name: text("firstName"),
            last_name: text("lastName"),
            role: text("role"),
        },
    }))
}

fn closed(cause: Box<dyn std::error::Error + Send + Sync>) -> Fault {
    let message = "the tenant's database cannot be reached";
    Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, message).because(cause)
}
