//! Logins of a dropped tenant that other tenants' objects name.
//!
//! Who owns a table may grant on it to any role of the server, and PostgreSQL drops no role that is
//! granted something anywhere. What one tenant grants must not keep another from being dropped.

use std::fmt::Write as _;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Provisioner;
use super::database::Step;
use super::groups::Powers;
use crate::control::sql::ident;
use crate::fault::{Fault, logged};
use crate::ident::{Role, TenantId};
use crate::tenant;

/// For a lock that somebody may hold for good on what they granted.
const LOCK_TIMEOUT: &str = "2s";

/// Drops these logins of a tenant, and names those that are granted something elsewhere.
pub(super) async fn drop_logins(
    admin: &Client,
    tenant: &TenantId,
    logins: Vec<Role>,
) -> Result<Vec<Role>, Step> {
    let mut held = Vec::new();
    for role in logins {
        let sql = format!("DROP ROLE IF EXISTS {}", ident(&tenant.login_role(role)));
        match admin.batch_execute(&sql).await {
            Err(e) if e.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => held.push(role),
            dropped => dropped?,
        }
    }
    Ok(held)
}

impl Provisioner {
    /// Takes from these logins what they were granted elsewhere and drops them. One that is held all
    /// the same is left, and nobody can log in as it.
    pub(super) async fn part_with(
        &self,
        tenant: &TenantId,
        logins: Vec<Role>,
        powers: Powers,
    ) -> Result<(), Fault> {
        let names: Vec<String> = logins.iter().map(|role| tenant.login_role(*role)).collect();
        // What cannot be taken from them shows when they are dropped.
        if let Err(fault) = self.step("drop", self.revoke(&names, powers)).await {
            fault.log();
        }
        self.step("drop", async {
            let admin = self.pool.get().await?;
            let held = drop_logins(&admin, tenant, logins).await?;
            if held.is_empty() {
                return Ok(());
            }
            let mut sql = String::new();
            for role in &held {
                let login = ident(&tenant.login_role(*role));
                let _ = write!(sql, "ALTER ROLE {login} NOLOGIN PASSWORD NULL;");
                if !powers.superuser {
                    let _ = write!(sql, "REVOKE {login} FROM CURRENT_USER;");
                }
            }
            admin.batch_execute(&sql).await?;
            let databases = databases_naming(&admin, &names).await?;
            tracing::warn!(%tenant, ?held, ?databases,
                "a dropped tenant's logins are granted something there and stay, shut");
            Ok(())
        })
        .await
    }

    /// Revokes whatever these logins were granted inside databases of other tenants.
    async fn revoke(&self, names: &[String], powers: Powers) -> Result<(), Step> {
        let databases = databases_naming(&*self.pool.get().await?, names).await?;
        let logins: Vec<String> = names.iter().map(|name| ident(name)).collect();
        let drop = format!("DROP OWNED BY {};", logins.join(", "));
        for database in databases {
            let mut sql = format!("SET lock_timeout = '{LOCK_TIMEOUT}';");
            // A grant is taken back in the name of who made it.
            let of = database.strip_prefix("tenant_").and_then(|id| TenantId::parse(id).ok());
            match of.filter(|_| !powers.superuser) {
                Some(grantor) => {
                    let grantor = ident(&grantor.login_role(Role::Owner));
                    let with = powers.with_use();
                    let _ = write!(
                        sql,
                        "GRANT {grantor} TO CURRENT_USER {with}; {drop}
                         REVOKE {grantor} FROM CURRENT_USER;"
                    );
                }
                None => sql.push_str(&drop),
            }
            let revoked = async {
                let url = self.admin.with_database(&database);
                Ok(tenant::connect(&url, self.timeout).await?.batch_execute(&sql).await?)
            };
            if let Err(why) = revoked.await {
                let why: Step = why;
                tracing::warn!(
                    database,
                    why = logged(&why),
                    "what was granted there stays granted"
                );
            }
        }
        Ok(())
    }
}

/// The databases whose objects name one of these roles.
async fn databases_naming(
    admin: &Client,
    roles: &[String],
) -> Result<Vec<String>, tokio_postgres::Error> {
    let sql = "SELECT DISTINCT d.datname::text FROM pg_shdepend s
               JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid
               WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = ANY ($1) ORDER BY 1";
    admin.query(sql, &[&roles]).await?.iter().map(|row| row.try_get(0)).collect()
}
