//! The logins adopted tenants brought with them: used as found, so worth a look.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::tenant::{self, DatabaseUrl, DialError};

/// One login that adopted tenants share.
#[derive(Debug, Clone)]
pub struct AdoptedLogin {
    /// Its name.
    pub user: String,
    /// As one of the tenants has it.
    pub url: DatabaseUrl,
    /// That tenant's id.
    pub tenant: String,
    /// How many tenants have the same one.
    pub tenants: u32,
}

/// Logins given at most.
const LOGINS_MAX: usize = 1000;

/// The distinct logins (host, port, user) of the registry's adopted tenants, those of most tenants
/// first, and how many more there are.
///
/// # Errors
/// When the registry cannot be asked.
pub async fn adopted_logins(
    registry: &DatabaseUrl,
    timeout: Duration,
) -> Result<(Vec<AdoptedLogin>, usize), DialError> {
    let client = tenant::connect(registry, timeout).await?;
    let sql = r#"SELECT t."id"::text, coalesce(t."databaseUrl", '')::text
                 FROM public."Tenant" t LEFT JOIN pgusher.tenants p ON p.tenant_id = t."id"
                 WHERE NOT coalesce(p.managed, false) ORDER BY 1"#;
    let mut logins: BTreeMap<(String, u16, String), AdoptedLogin> = BTreeMap::new();
    for row in client.query(sql, &[]).await? {
        let (tenant, url): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        // One that cannot be read is reported as such elsewhere.
        let Ok(url) = DatabaseUrl::parse(&url) else { continue };
        let user = url.user.clone().unwrap_or_else(|| "postgres".to_owned());
        let login = logins
            .entry((url.host.clone(), url.port, user.clone()))
            .or_insert(AdoptedLogin { user, url, tenant, tenants: 0 });
        login.tenants = login.tenants.saturating_add(1);
    }
    let mut logins: Vec<_> = logins.into_values().collect();
    logins.sort_by_key(|login| std::cmp::Reverse(login.tenants));
    let more = logins.len().saturating_sub(LOGINS_MAX);
    logins.truncate(LOGINS_MAX);
    Ok((logins, more))
}

impl AdoptedLogin {
    /// Whether it is a superuser's: its sessions would see every other tenant of the server.
    ///
    /// # Errors
    /// When it cannot log in.
    pub async fn is_superuser(&self, timeout: Duration) -> Result<bool, DialError> {
        let client = tenant::connect(&self.url, timeout).await?;
        let sql = "SELECT rolsuper FROM pg_roles WHERE rolname = session_user";
        Ok(client.query_one(sql, &[]).await?.try_get(0)?)
    }
}
