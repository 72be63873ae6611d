//! An admin logs in: found in the registry by the e-mail's hash, proven in the tenant's own
//! database, reached like everybody reaches it: a session in the tenant's room.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_postgres::Client;

use super::admins::Admin;
use super::email::{self, EMAIL_BYTES_MAX};
use super::mfa::Mfa;
use super::pace::Pace;
use super::registration::{AdminView, ChurchView};
use super::road::Road;
use super::seams::{Claims, SharedMint, TenantDoor};
use super::sessions::Standing;
use super::{EmailIndex, Match, Passwords, Refused, Sessions, Tokens, failed};
use crate::fault::logged;
use crate::ident::TenantId;
use crate::tenant::{Directory, Registry};
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
    /// Asks for second factors.
    pub mfa: Mfa,
    /// Says when a failure is answered.
    pub pace: Pace,
}

impl Login {
    /// Tokens for an e-mail and its password.
    ///
    /// # Errors
    /// [`Refused::Credentials`], at the same time and in the same words, for an unknown e-mail, a
    /// wrong password, an admin who was deactivated and a tenant that is not served. Only who has
    /// the password hears of a second factor: [`Refused::CodeNeeded`], [`Refused::CodeWrong`],
    /// [`Refused::TooMany`].
    pub async fn login(
        &self,
        email: &str,
        password: Secret,
        code: Option<&str>,
    ) -> Result<LoggedIn, Refused> {
        let begun = Instant::now();
        let mut known = false;
        let result = Box::pin(self.attempt(email, (password, code), &mut known)).await;
        if matches!(result, Err(Refused::Credentials)) {
            tokio::time::sleep_until(self.pace.answer_at(begun, known)).await;
        }
        result
    }

    async fn attempt(
        &self,
        email: &str,
        (password, code): (Secret, Option<&str>),
        known: &mut bool,
    ) -> Result<LoggedIn, Refused> {
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
        if row.served().is_err() {
            self.passwords.verify(password, None).await?;
            return Err(Refused::Credentials);
        }
        *known = true;
        let client = self.road().enter(&tenant).await?;
        let candidate = Admin::by_email(&client, &email).await?;
        let hash = candidate.as_ref().filter(|c| c.active).map(|c| c.hash.clone());
        let matched = self.passwords.verify(password.clone(), hash).await?;
        let Some(candidate) = candidate.filter(|_| matched != Match::Wrong) else {
            return Err(Refused::Credentials);
        };
        Box::pin(self.mfa.admit(&client, &tenant, &candidate.id, code)).await?;
        if matched == Match::Outdated {
            self.rehash(&client, &candidate, password).await;
        }
        drop(client);
        if is_legacy {
            self.upgrade_index(&tenant, &email).await;
        }
        let role = candidate.role();
        let claims = Claims { tenant, subject: candidate.id, role };
        let tokens = self.sessions.begin(&claims).await?;
        let church = ChurchView {
            name: row.name.to_string(),
            subscription_status: row.subscription.to_string(),
            trial_ends_at: self.trial_ends_at(&claims.tenant).await?,
        };
        Ok(LoggedIn { tenant: claims.tenant, admin: candidate.view, church, tokens })
    }

    /// New tokens for a refresh token, with what the admin may do now: the tenant's own database
    /// is asked. While it cannot be reached, or the tenant is not served, the token stays as good
    /// as it is.
    ///
    /// # Errors
    /// [`Refused::Credentials`] for a token that is no good, or whose admin is gone; what a token
    /// of the tenant's is told while it is not served.
    pub async fn refresh(&self, token: &Secret) -> Result<(TenantId, Tokens), Refused> {
        let mut standing = Standing::Unasked;
        if let Some((tenant, subject)) = self.sessions.holder(token).await? {
            self.directory.tenant(&tenant).await?.served()?;
            let client = self.road().enter(&tenant).await?;
            let admin = Admin::by_id(&client, &subject).await?.filter(|admin| admin.active);
            standing = admin.map_or(Standing::Gone, |admin| Standing::May(admin.role()));
        }
        self.sessions.refresh(token, standing).await
    }

    /// Whether the tenant's database has an admin of this id.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn has_admin(&self, tenant: &TenantId, id: &str) -> Result<bool, Refused> {
        let client = self.road().enter(tenant).await?;
        Ok(Admin::by_id(&client, id).await?.is_some())
    }

    /// pgusher's own way to the tenants' databases.
    pub fn road(&self) -> Road {
        Road::new(Arc::clone(&self.door), Arc::clone(&self.mint))
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

    /// A hash of before, or of other parameters, written anew. The login does not depend on it.
    async fn rehash(&self, client: &Client, candidate: &Admin, password: Secret) {
        let Ok(hash) = self.passwords.hash(password).await else {
            return;
        };
        let sql = r#"UPDATE "Admin" SET "password" = $1 WHERE "id"::text = $2 AND "password" = $3"#;
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&hash.expose(), &candidate.id, &candidate.hash.expose()];
        if let Err(error) = client.execute(sql, &row).await {
            tracing::warn!(error = logged(&error), "could not renew a password's hash");
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
