//! The metadata database, read.

use std::time::{Duration, SystemTime};

use deadpool_postgres::Pool;
use tokio_postgres::Row as SqlRow;

use super::record::{Row, reading};
use super::{
    BillingRules, DatabaseUrl, Dial, KeyRow, LimitOverrides, MasterKey, PoolMode, RegistrySettings,
};
use super::{Status, Tenant};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::{Role, TenantId};

/// A connection to the registry, borrowed from its pool.
pub type Client = deadpool_postgres::Object;

/// The registry: a pool of connections and the queries that read tenants and keys.
#[derive(Clone)]
pub struct Registry {
    pool: Pool,
    url: DatabaseUrl,
    key: MasterKey,
    billing: BillingRules,
    connect_timeout: Duration,
}

/// Some tenants, by id.
#[derive(Debug)]
pub struct TenantPage {
    /// Those of the page that can be read.
    pub tenants: Vec<Tenant>,
    /// After which id the next page begins, if there is one.
    pub next: Option<String>,
}

const TENANT_COLUMNS: &str = r#"
    t."id"::text, t."name"::text, t."status"::text, t."databaseUrl"::text,
    t."subscriptionPlan"::text, t."subscriptionStatus"::text, t."schemaVersion"::text,
    floor(extract(epoch FROM t."trialEndsAt"))::bigint,
    p.managed, p.server, p.key_version, p.pool_mode, p.suspended_at IS NOT NULL,
    p.server_max, p.server_min, p.weight, p.client_max, p.queue_max, p.queue_timeout_ms,
    p.query_timeout_ms, p.transaction_timeout_ms, p.idle_in_transaction_timeout_ms,
    p.client_idle_timeout_ms
    FROM public."Tenant" t LEFT JOIN pgusher.tenants p ON p.tenant_id = t."id""#;

impl Registry {
    /// A registry that dials when it is first asked.
    ///
    /// # Errors
    /// When the settings cannot be used; the text says why and holds no secret.
    pub fn new(settings: &RegistrySettings, key: MasterKey) -> Result<Self, String> {
        let url =
            DatabaseUrl::parse(settings.url.expose()).map_err(|e| format!("registry.url {e}"))?;
        let connect_timeout = settings.connect_timeout.get();
        let query_ms = settings.query_timeout.get().as_millis();
        // The registry's timestamps have no zone: everybody writes them in UTC.
        let options = format!("-c statement_timeout={query_ms} -c timezone=UTC");
        let pool = Dial::new(&url, connect_timeout)
            .options(&options)
            .pool(settings.connections_max)
            .map_err(|e| format!("registry: {e}"))?;
        let billing = BillingRules::default();
        Ok(Self { pool, url, key, billing, connect_timeout })
    }

    /// The same registry, whose tenants are bound by `rules`.
    #[must_use]
    pub fn billed(mut self, rules: BillingRules) -> Self {
        self.billing = rules;
        self
    }

    /// The connection string, for those who need a connection of their own.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// How long a dial may take.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// The installation's master key.
    pub fn master_key(&self) -> &MasterKey {
        &self.key
    }

    /// A connection.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached.
    pub async fn client(&self) -> Result<Client, Fault> {
        self.pool.get().await.map_err(away)
    }

    /// Whether the registry answers.
    ///
    /// # Errors
    /// 57P03 when it does not.
    pub async fn ping(&self) -> Result<(), Fault> {
        let client = self.client().await?;
        client.simple_query("SELECT 1").await.map(drop).map_err(away)
    }

    /// One tenant, or `None` when there is none of that id.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be asked; XX000 when the row makes no sense.
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Fault> {
        let client = self.client().await?;
        let read = reading();
        let sql = format!(r#"SELECT {TENANT_COLUMNS} WHERE t."id" = $1::text"#);
        let statement = client.prepare_cached(&sql).await.map_err(away)?;
        let row = client.query_opt(&statement, &[&id.as_str()]).await.map_err(away)?;
        let mut tenant = row.map(|row| self.assembled(&row, read)).transpose()?;
        if let Some(tenant) = &mut tenant {
            // As it was asked for, it is in memory already.
            tenant.id = id.clone();
        }
        Ok(tenant)
    }

    /// Up to `limit` tenants after `after`, by id. Rows whose id pgusher could not serve are left
    /// out; `adopt` names them.
    ///
    /// # Errors
    /// As [`Registry::tenant`].
    pub async fn tenants(&self, after: &str, limit: u32) -> Result<TenantPage, Fault> {
        self.page("", after, limit).await
    }

    /// The same of those that are suspended.
    ///
    /// # Errors
    /// As [`Registry::tenant`].
    pub async fn suspended(&self, after: &str, limit: u32) -> Result<TenantPage, Fault> {
        // As `Status::parse` reads it.
        let only = r#"AND (p.suspended_at IS NOT NULL OR lower(coalesce(t."status", ''))
                          NOT IN ('active', 'moving', 'provisioning'))"#;
        self.page(only, after, limit).await
    }

    async fn page(&self, only: &str, after: &str, limit: u32) -> Result<TenantPage, Fault> {
        let client = self.client().await?;
        let sql = format!(
            r#"SELECT {TENANT_COLUMNS} WHERE t."id" > $1::text AND t."id" ~ '^[a-z0-9_]{{1,56}}$'
               {only} ORDER BY t."id" LIMIT $2"#
        );
        let read = reading();
        let rows = client.query(&sql, &[&after, &i64::from(limit)]).await.map_err(away)?;
        let full = u32::try_from(rows.len()).is_ok_and(|found| found == limit);
        let last = rows.last().filter(|_| full).map(|row| text(row, 0)).transpose()?;
        // One row that cannot be read does not hide the others.
        let readable = |row| self.assembled(row, read).inspect_err(Fault::log).ok();
        Ok(TenantPage { tenants: rows.iter().filter_map(readable).collect(), next: last })
    }

    /// One API key by id, or `None`. Revoked and expired keys are found too; `auth` judges.
    ///
    /// # Errors
    /// As [`Registry::tenant`].
    pub async fn api_key(&self, id: &str) -> Result<Option<KeyRow>, Fault> {
        let client = self.client().await?;
        let sql = "SELECT id, tenant_id, role, name, verifier, created_at, expires_at, \
                   revoked_at IS NOT NULL FROM pgusher.api_keys WHERE id = $1";
        let statement = client.prepare_cached(sql).await.map_err(away)?;
        let row = client.query_opt(&statement, &[&id]).await.map_err(away)?;
        row.map(|row| key_row(&row)).transpose()
    }

    fn assembled(&self, sql: &SqlRow, read: u64) -> Result<Tenant, Fault> {
        let id = TenantId::parse(&text(sql, 0)?).map_err(broken)?;
        let url = DatabaseUrl::parse(&text(sql, 3)?)
            .map_err(|e| broken(format!("databaseUrl of tenant {id} {e}")))?;
        let suspended = sql.try_get::<_, Option<bool>>(12).map_err(broken)?.unwrap_or(false);
        let managed = sql.try_get::<_, Option<bool>>(8).map_err(broken)?.unwrap_or(false);
        let key_version = sql.try_get::<_, Option<i32>>(10).map_err(broken)?;
        let status = if suspended { Status::Suspended } else { Status::parse(&text(sql, 2)?) };
        let row = Row {
            id,
            status,
            name: text(sql, 1)?,
            plan: text(sql, 4)?,
            subscription: text(sql, 5)?,
            schema_version: text(sql, 6)?,
            trial_ends_at: sql.try_get(7).map_err(broken)?,
            server: sql.try_get(9).map_err(broken)?,
            key_version: key_version.filter(|_| managed),
            billing: self.billing,
            read,
            pool_mode: sql
                .try_get::<_, Option<String>>(11)
                .map_err(broken)?
                .and_then(|mode| PoolMode::parse(&mode)),
            limits: limits(sql)?,
        };
        Ok(Tenant::assemble(row, url, &self.key))
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("host", &self.url.host).finish_non_exhaustive()
    }
}

/// Text that an adopted table may leave null.
fn text(row: &SqlRow, column: usize) -> Result<String, Fault> {
    Ok(row.try_get::<_, Option<String>>(column).map_err(broken)?.unwrap_or_default())
}

fn limits(row: &SqlRow) -> Result<LimitOverrides, Fault> {
    let number = |column| -> Result<Option<u32>, Fault> {
        let value: Option<i32> = row.try_get(column).map_err(broken)?;
        Ok(value.and_then(|n| u32::try_from(n).ok()))
    };
    let span = |column| -> Result<Option<Duration>, Fault> {
        let value: Option<i64> = row.try_get(column).map_err(broken)?;
        Ok(value.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis))
    };
    Ok(LimitOverrides {
        server_max: number(13)?,
        server_min: number(14)?,
        weight: number(15)?,
        client_max: number(16)?,
        queue_max: number(17)?,
        queue_timeout: span(18)?,
        query_timeout: span(19)?,
        transaction_timeout: span(20)?,
        idle_in_transaction_timeout: span(21)?,
        client_idle_timeout: span(22)?,
    })
}

fn key_row(row: &SqlRow) -> Result<KeyRow, Fault> {
    let expires_at: Option<SystemTime> = row.try_get(6).map_err(broken)?;
    let role: String = row.try_get(2).map_err(broken)?;
    let tenant: String = row.try_get(1).map_err(broken)?;
    Ok(KeyRow {
        id: row.try_get(0).map_err(broken)?,
        tenant: TenantId::parse(&tenant).map_err(broken)?,
        role: role.parse::<Role>().map_err(broken)?,
        name: row.try_get(3).map_err(broken)?,
        verifier: row.try_get(4).map_err(broken)?,
        created_at: row.try_get(5).map_err(broken)?,
        expires_at,
        revoked: row.try_get(7).map_err(broken)?,
    })
}

/// The registry could not be asked.
fn away(cause: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(
        Blame::Control,
        SqlState::CANNOT_CONNECT_NOW,
        "the tenant registry cannot be reached: tenants not seen before wait for its return",
    )
    .because(cause)
}

/// The registry answered nonsense.
fn broken(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::new(Blame::Control, SqlState::INTERNAL_ERROR, "the registry's row makes no sense")
        .because(cause)
}
