//! The hand that makes and drops tenants' databases on one server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{OnceCell, Semaphore};

use super::database::{self, NewAdmin, Step};
use super::groups::{self, Powers};
use super::template::Template;
use super::{Inside, ProvisionMetrics, ServerFacts, ServerSettings, doors, inspect};
use crate::control::schema::{MigrationSet, SchemaError};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::{Role, TenantId};
use crate::tenant::{self, DatabaseUrl, Dial, MasterKey};

/// Every server tenants may be made on, by name.
pub type Servers = BTreeMap<Arc<str>, Arc<Provisioner>>;

/// The provisioner of one PostgreSQL server. Every `ensure_*` may be run again, by several
/// processes at once, and after a crash at any point.
pub struct Provisioner {
    name: Arc<str>,
    pub(super) admin: DatabaseUrl,
    tenants: DatabaseUrl,
    connections_max: u32,
    region: Arc<str>,
    weight: u32,
    tenants_max: u32,
    pub(super) timeout: Duration,
    key: MasterKey,
    template: Template,
    pub(super) pool: Pool,
    /// All tenants' limits may have to be told at once: registrations find a connection all the same.
    telling: Semaphore,
    /// Set once the groups and the template are known to be there.
    ready: OnceCell<Powers>,
    metrics: ProvisionMetrics,
}

impl Provisioner {
    /// A provisioner that dials when it is first asked.
    ///
    /// # Errors
    /// When the settings cannot be used; the text says why and holds no secret.
    pub fn new(
        name: &str,
        settings: &ServerSettings,
        product: MigrationSet,
        key: MasterKey,
        metrics: ProvisionMetrics,
    ) -> Result<Self, String> {
        let at = |key: &str, why: &dyn std::fmt::Display| format!("servers.{name}.{key} {why}");
        let admin =
            DatabaseUrl::parse(settings.admin_url.expose()).map_err(|e| at("admin_url", &e))?;
        let mut tenants = DatabaseUrl { user: None, password: None, ..admin.clone() };
        if !settings.host.is_empty() {
            tenants.host.clone_from(&settings.host);
        }
        if settings.port != 0 {
            tenants.port = settings.port;
        }
        if !settings.sslmode.is_empty() {
            let probe = format!("postgresql://h/d?sslmode={}", settings.sslmode);
            let probe = DatabaseUrl::parse(&probe).map_err(|e| at("sslmode", &e))?;
            tenants.ssl_mode = probe.ssl_mode;
        }
        if !settings.sslrootcert.is_empty() {
            tenants.root_cert = Some(settings.sslrootcert.clone());
        }
        let timeout = settings.step_timeout.get();
        let pool = Dial::new(&admin, timeout)
            .pool(settings.admin_connections_max)
            .map_err(|e| at("admin_url", &e))?;
        Ok(Self {
            name: name.into(),
            admin,
            tenants,
            connections_max: settings.tenant_connections_max,
            region: settings.region.as_str().into(),
            weight: settings.weight,
            tenants_max: settings.tenants_max,
            timeout,
            key,
            template: Template { product, own: MigrationSet::own() },
            pool,
            telling: Semaphore::new(settings.admin_connections_max.saturating_sub(1).max(1)),
            ready: OnceCell::new(),
            metrics,
        })
    }

    /// The server's name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it stands; empty: in no region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Tenants at most; 0: any number.
    pub fn tenants_max(&self) -> u32 {
        self.tenants_max
    }

    /// Its share of new tenants.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The version a database made here has.
    pub fn schema_version(&self) -> String {
        self.template.product.version().to_string()
    }

    /// The version of pgusher's own corner in a database made here.
    pub fn own_version(&self) -> i32 {
        self.template.own.version()
    }

    /// Both versions of a database made here: what a warm one must have to be given away.
    pub fn warm_version(&self) -> String {
        format!("{}.{}", self.template.product.version(), self.template.own.version())
    }

    /// The schema that databases made here have.
    pub fn product(&self) -> &MigrationSet {
        &self.template.product
    }

    /// The `databaseUrl` of a tenant on this server; it has no password.
    pub fn database_url(&self, tenant: &TenantId) -> DatabaseUrl {
        let url = self.tenants.with_database(&tenant.database());
        DatabaseUrl { user: Some(tenant.login_role(Role::App)), ..url }
    }

    /// Groups and template. Cheap once done.
    ///
    /// # Errors
    /// 08006 when the server cannot be reached or refuses.
    pub async fn ensure_server(&self) -> Result<(), Fault> {
        self.powers().await.map(drop)
    }

    /// Closes `postgres`, `template1` and the databases named to PUBLIC where the provisioner
    /// may, and names those that stay open.
    ///
    /// # Errors
    /// 08006 when the server cannot be reached.
    pub async fn close_doors(&self, more: &[String]) -> Result<Vec<String>, Fault> {
        self.step("doors", async {
            let admin = self.pool.get().await?;
            Ok(doors::close(&admin, more).await?)
        })
        .await
    }

    /// The databases PUBLIC can enter.
    ///
    /// # Errors
    /// 08006 when the server cannot be reached.
    pub async fn open_doors(&self) -> Result<Vec<String>, Fault> {
        self.step("doors", async { Ok(doors::open(&*self.pool.get().await?).await?) }).await
    }

    /// What the server is and what may be done there; changes nothing.
    ///
    /// # Errors
    /// 08006 when the server cannot be reached.
    pub async fn inspect(&self) -> Result<ServerFacts, Fault> {
        self.step("look", async { Ok(inspect::look(&*self.pool.get().await?).await?) }).await
    }

    /// The tenant's database, logins and privileges: complete, closed to everyone else, and empty.
    /// Gives the connection inside it that the last step took.
    ///
    /// # Errors
    /// 08006 when a step fails; run it again.
    pub async fn ensure_tenant(
        &self,
        tenant: &TenantId,
        key_version: i32,
    ) -> Result<Inside, Fault> {
        let powers = self.powers().await?;
        let timer = self.metrics.clone.start_timer();
        self.step("clone", async {
            let admin = self.pool.get().await?;
            let template = self.template.name();
            Ok(database::ensure_clone(&admin, tenant, &template, self.connections_max).await?)
        })
        .await?;
        timer.observe_duration();
        self.step("logins", async {
            let admin = self.pool.get().await?;
            database::ensure_logins(&admin, tenant, &self.key, key_version).await?;
            database::open(&admin, tenant).await
        })
        .await?;
        self.step("defaults", async {
            let inside = self.inside(tenant).await?;
            database::ensure_defaults(inside.client(), tenant, powers).await?;
            Ok(inside)
        })
        .await
    }

    /// Makes a connection inside a database that is nobody's yet quick to write to.
    ///
    /// # Errors
    /// 08006 when it fails; the connection is of no use then.
    pub async fn rehearse(&self, inside: &mut Inside) -> Result<(), Fault> {
        self.step("rehearsal", inside.rehearse()).await
    }

    /// Whose database it is, and its first admin, in one commit.
    ///
    /// # Errors
    /// 08006 when it cannot be written.
    pub async fn ensure_admin(&self, tenant: &TenantId, admin: &NewAdmin) -> Result<(), Fault> {
        self.step("admin", async { self.inside(tenant).await?.write(admin).await }).await
    }

    /// The same over a connection that is there already; should that fail, over a new one.
    ///
    /// # Errors
    /// 08006 when it cannot be written.
    pub async fn ensure_admin_by(&self, mut inside: Inside, admin: &NewAdmin) -> Result<(), Fault> {
        let written = tokio::time::timeout(self.timeout, inside.write(admin)).await;
        if matches!(written, Ok(Ok(()))) {
            return Ok(());
        }
        let tenant = inside.tenant().clone();
        drop(inside);
        self.ensure_admin(&tenant, admin).await
    }

    /// Puts the logins' passwords back to what is derived: a role may change its own, and a dial
    /// refused with 28P01 says that one did. A login that is not there is not made, and one that is
    /// shut stays shut.
    ///
    /// # Errors
    /// 08006 when the server refuses.
    pub async fn restore_logins(&self, tenant: &TenantId, key_version: i32) -> Result<(), Fault> {
        self.step("logins", async {
            let admin = self.pool.get().await?;
            database::restore_logins(&admin, tenant, &self.key, key_version).await
        })
        .await
    }

    /// Brings pgusher's own corner of a tenant's database to the newest version. What was applied.
    ///
    /// # Errors
    /// [`SchemaError`]; the database is as it was.
    pub async fn upgrade_own(
        &self,
        tenant: &TenantId,
        lock_timeout: Duration,
    ) -> Result<Vec<String>, SchemaError> {
        let url = self.admin.with_database(&tenant.database());
        let mut inside = tenant::connect(&url, self.timeout).await?;
        self.template.upgrade_own(&mut inside, lock_timeout).await
    }

    /// Lets the tenant's roles log in, or not (suspension).
    ///
    /// # Errors
    /// 08006 when the server refuses.
    pub async fn allow_logins(&self, tenant: &TenantId, allowed: bool) -> Result<(), Fault> {
        let _one_of_few = self.telling.acquire().await;
        self.step("logins", async {
            let admin = self.pool.get().await?;
            database::set_login(&admin, tenant, allowed).await
        })
        .await
    }

    /// CONNECTION LIMIT of the tenant's database: the cap across all pgusher processes.
    ///
    /// # Errors
    /// 08006 when the server refuses.
    pub async fn limit_connections(&self, tenant: &TenantId, max: u32) -> Result<(), Fault> {
        let _one_of_few = self.telling.acquire().await;
        self.step("limit", async {
            let admin = self.pool.get().await?;
            let sql = "SELECT datconnlimit FROM pg_database WHERE datname = $1";
            let row = admin.query_opt(sql, &[&tenant.database()]).await?;
            let found: Option<i32> = row.map(|row| row.try_get(0)).transpose()?;
            if found.is_some_and(|found| u32::try_from(found) == Ok(max)) {
                return Ok(());
            }
            let name = crate::control::sql::ident(&tenant.database());
            let sql = format!("ALTER DATABASE {name} CONNECTION LIMIT {max}");
            Ok(admin.batch_execute(&sql).await?)
        })
        .await
    }

    /// Ends what a process that died may have left at work on this tenant, so that a step that is
    /// run again does not meet its own first try.
    ///
    /// # Errors
    /// 08006 when the server cannot be asked.
    pub async fn end_work_on(&self, tenant: &TenantId) -> Result<(), Fault> {
        self.step("look", async {
            Ok(database::end_work_on(&*self.pool.get().await?, tenant).await?)
        })
        .await
    }

    /// Drops the tenant's database and logins, sessions and all.
    ///
    /// # Errors
    /// 08006 when the server refuses; run it again.
    pub async fn drop_tenant(&self, tenant: &TenantId) -> Result<(), Fault> {
        let dropping = self.step("drop", async {
            let admin = self.pool.get().await?;
            let powers = Powers::of(&admin).await?;
            Ok((database::drop_all(&admin, tenant, powers).await?, powers))
        });
        let (held, powers) = dropping.await?;
        if held.is_empty() { Ok(()) } else { self.part_with(tenant, held, powers).await }
    }

    async fn powers(&self) -> Result<Powers, Fault> {
        let made = self.ready.get_or_try_init(|| {
            self.step("template", async {
                // A connection of its own: the builder's lock goes when it goes.
                let admin = tenant::connect(&self.admin, self.timeout).await?;
                let powers = Powers::of(&admin).await?;
                groups::ensure(&admin, powers).await?;
                self.template.ensure(&admin, &self.admin, powers, self.timeout).await?;
                Ok(powers)
            })
        });
        made.await.copied()
    }

    pub(super) async fn inside(&self, tenant: &TenantId) -> Result<Inside, Step> {
        let url = self.admin.with_database(&tenant.database());
        Ok(Inside::new(tenant::connect(&url, self.timeout).await?, tenant))
    }

    pub(super) async fn step<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = Result<T, Step>>,
    ) -> Result<T, Fault> {
        let timer = self.metrics.steps.with_label_values(&[step]).start_timer();
        // Large futures (a whole template build) live on the heap.
        let work = Box::pin(tokio::time::timeout(self.timeout, work));
        let result = work.await.unwrap_or(Err(Step::Slow));
        timer.observe_duration();
        result.map_err(|cause| {
            self.metrics.failures.with_label_values(&[step]).inc();
            Fault::new(
                Blame::Server,
                SqlState::CONNECTION_FAILURE,
                "the PostgreSQL server could not complete a provisioning step",
            )
            .detail(format!("Server \"{}\", step \"{step}\".", self.name))
            .because(cause)
        })
    }
}

impl std::fmt::Debug for Provisioner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provisioner").field("name", &self.name).finish_non_exhaustive()
    }
}
