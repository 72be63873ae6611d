//! A tenant: everything a session needs to know of it.

use std::fmt;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use super::words::word;
use super::{BillingRules, DatabaseUrl, LimitOverrides, MasterKey, Permits, PoolMode};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::{Role, TenantId};
use crate::net::tls::SslMode;
use crate::units::Secret;

/// Whether a tenant is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Served.
    Active,
    /// Not served until somebody resumes it.
    Suspended,
    /// Not served for a moment: its database is on the way to another server.
    Moving,
    /// Not served yet: its registration is not done.
    Provisioning,
}

impl Status {
    /// Reads the registry's word. A word nobody knows is not served.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "active" => Self::Active,
            "moving" => Self::Moving,
            "provisioning" => Self::Provisioning,
            _ => Self::Suspended,
        }
    }

    /// The registry's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Moving => "moving",
            Self::Provisioning => "provisioning",
        }
    }
}

/// Where a tenant's PostgreSQL listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// A name, an address, or the folder of a unix socket.
    pub host: Arc<str>,
    /// The port; for a unix socket, the number in its file's name.
    pub port: u16,
    /// How much TLS.
    pub ssl_mode: SslMode,
    /// The file of trusted certificates, where it is not the system's.
    pub root_cert: Option<Arc<str>>,
}

impl Route {
    /// Whether the host is the folder of a unix socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// How pgusher logs in to a tenant's database.
#[derive(Clone)]
pub struct Login {
    /// The PostgreSQL role.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// One tenant as the registry has it.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The organisation's name.
    pub name: Box<str>,
    /// Whether it is served.
    pub status: Status,
    /// Its database; `tenant_<id>` unless adopted otherwise.
    pub database: Arc<str>,
    /// Where that is.
    pub route: Route,
    /// The server's name in the configuration, else `host:port`: whose budget it draws on.
    pub server: Arc<str>,
    /// Its own limits, over its plan's.
    pub limits: Arc<LimitOverrides>,
    /// Its own pool mode, over its plan's.
    pub pool_mode: Option<PoolMode>,
    /// `subscriptionPlan`.
    pub plan: Arc<str>,
    /// `subscriptionStatus`.
    pub subscription: Arc<str>,
    /// When its trial ends, in seconds since 1970.
    pub trial_ends_at: Option<i64>,
    /// Where its schema stands.
    pub schema_version: Arc<str>,
    /// Whether its databaseUrl is used as found: one login for every role.
    pub adopted: bool,
    /// Greater where the row was read later.
    pub read: u64,
    billing: BillingRules,
    logins: Logins,
}

#[derive(Debug, Clone)]
enum Logins {
    Shared(Box<Login>),
    /// One for each role. Their passwords are derived when they are asked for, from this version.
    ByRole(MasterKey, i32),
}

/// What a [`Tenant`] is made of beside its `databaseUrl`.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: TenantId,
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) server: Option<String>,
    pub(super) limits: LimitOverrides,
    pub(super) pool_mode: Option<PoolMode>,
    pub(super) plan: String,
    pub(super) subscription: String,
    pub(super) trial_ends_at: Option<i64>,
    pub(super) schema_version: String,
    /// The version of the role passwords; `None` for an adopted tenant.
    pub(super) key_version: Option<i32>,
    pub(super) billing: BillingRules,
    pub(super) read: u64,
}

/// The number of a reading that begins now. One with a greater number began later: what was written
/// before a reading began, it has seen.
pub(super) fn reading() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::AcqRel)
}

impl Tenant {
    /// Puts a row and its connection string together.
    pub(super) fn assemble(row: Row, url: DatabaseUrl, key: &MasterKey) -> Self {
        let from_url = LimitOverrides {
            server_max: url.connection_limit,
            queue_timeout: url.pool_timeout,
            ..LimitOverrides::default()
        };
        let logins = match row.key_version {
            Some(version) => Logins::ByRole(key.clone(), version),
            None => Logins::Shared(Box::new(Login {
                user: url.user.unwrap_or_default(),
                password: url.password.unwrap_or_default(),
            })),
        };
        let server = row.server.unwrap_or_else(|| format!("{}:{}", url.host, url.port));
        let route = Route {
            host: word(&url.host),
            port: url.port,
            ssl_mode: url.ssl_mode,
            root_cert: url.root_cert.as_deref().map(word),
        };
        Self {
            id: row.id,
            name: row.name.into(),
            status: row.status,
            database: url.database.into(),
            route,
            server: word(&server),
            limits: row.limits.or(from_url).shared(),
            pool_mode: row.pool_mode,
            plan: word(&row.plan),
            subscription: word(&row.subscription),
            trial_ends_at: row.trial_ends_at,
            schema_version: word(&row.schema_version),
            adopted: row.key_version.is_none(),
            read: row.read,
            billing: row.billing,
            logins,
        }
    }

    /// The PostgreSQL role of a session of `role`.
    pub fn login_user(&self, role: Role) -> String {
        match &self.logins {
            Logins::Shared(login) => login.user.clone(),
            Logins::ByRole(..) => self.id.login_role(role),
        }
    }

    /// How to log in for a session of `role`.
    pub fn login(&self, role: Role) -> Login {
        match &self.logins {
            Logins::Shared(login) => Login::clone(login),
            Logins::ByRole(key, version) => Login {
                user: self.login_user(role),
                password: key.role_password(&self.id, role, *version),
            },
        }
    }

    /// The connection string of a login for `role`, password and all: for pgusher's own
    /// connections.
    pub fn url(&self, role: Role) -> DatabaseUrl {
        let login = self.login(role);
        DatabaseUrl {
            user: Some(login.user),
            password: Some(login.password),
            host: self.route.host.to_string(),
            port: self.route.port,
            database: self.database.to_string(),
            ssl_mode: self.route.ssl_mode,
            root_cert: self.route.root_cert.as_deref().map(str::to_owned),
            connection_limit: None,
            pool_timeout: None,
        }
    }

    /// Another number as soon as it is reached at another address, has another database or is
    /// logged in to in another way. Good in this process only.
    pub fn mark(&self) -> u64 {
        static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut hasher = HASH.build_hasher();
        (&self.server, &self.route, &self.database).hash(&mut hasher);
        match &self.logins {
            Logins::Shared(login) => (&login.user, login.password.expose()).hash(&mut hasher),
            Logins::ByRole(_, version) => version.hash(&mut hasher),
        }
        hasher.finish()
    }

    /// What its subscription lets it do at `now`.
    pub fn permits(&self, now: SystemTime) -> Permits {
        self.billing.permits(&self.subscription, self.trial_ends_at, now)
    }

    /// Fails unless the tenant is served. Ask only after the token was proven.
    ///
    /// # Errors
    /// 57P03, with the reason.
    pub fn served(&self) -> Result<(), Fault> {
        let why = match self.status {
            Status::Active if self.permits(SystemTime::now()) == Permits::Suspend => {
                "the tenant's subscription or trial has ended"
            }
            Status::Active => return Ok(()),
            Status::Suspended => "the tenant is suspended",
            Status::Moving => "the tenant is being moved to another server",
            Status::Provisioning => "the tenant is still being set up",
        };
        Err(Fault::new(Blame::Tenant, SqlState::CANNOT_CONNECT_NOW, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const URL: &str =
        "postgres://shared:pw@db.example/tenant_a?connection_limit=30&pool_timeout=45";

    fn assembled(key_version: Option<i32>, limits: LimitOverrides) -> Tenant {
        assembled_at(URL, key_version, limits)
    }

    fn assembled_at(url: &str, key_version: Option<i32>, limits: LimitOverrides) -> Tenant {
        let key = MasterKey::new(&"k".repeat(32).as_str().into()).expect("key");
        let url = DatabaseUrl::parse(url);
        let row = Row {
            id: TenantId::parse("a").expect("id"),
            name: "A".into(),
            status: Status::Active,
            server: None,
            limits,
            pool_mode: None,
            plan: "starter".into(),
            subscription: "trial".into(),
            trial_ends_at: None,
            schema_version: "1.0.0".into(),
            key_version,
            billing: BillingRules::default(),
            read: reading(),
        };
        Tenant::assemble(row, url.expect("url"), &key)
    }

    #[test]
    fn an_adopted_tenant_logs_in_as_its_url_says() {
        let tenant = assembled(None, LimitOverrides::default());
        assert!(tenant.adopted);
        for role in Role::ALL {
            assert_eq!(tenant.login(role).user, "shared");
        }
        assert_eq!(&*tenant.server, "db.example:5432");
    }

    #[test]
    fn its_mark_is_of_where_it_is_and_of_how_it_is_entered() {
        let mark =
            |url: &str, version| assembled_at(url, version, LimitOverrides::default()).mark();
        let own = mark(URL, None);
        let capped = "postgres://shared:pw@db.example/tenant_a?connection_limit=7";
        assert_eq!(own, mark(capped, None), "its limits are another matter");
        for other in [
            "postgres://shared:pw@elsewhere.example/tenant_a",
            "postgres://shared:pw@db.example:5433/tenant_a",
            "postgres://shared:pw@db.example/tenant_b",
            "postgres://another:pw@db.example/tenant_a",
            "postgres://shared:changed@db.example/tenant_a",
            "postgres://shared:pw@db.example/tenant_a?sslmode=require",
        ] {
            assert_ne!(own, mark(other, None), "{other}");
        }
        let managed = mark(URL, Some(1));
        assert_eq!(managed, mark("postgres://another:pw@db.example/tenant_a", Some(1)));
        assert_ne!(managed, mark(URL, Some(2)));
    }

    #[test]
    fn a_managed_tenant_has_a_login_for_each_role() {
        let tenant = assembled(Some(1), LimitOverrides::default());
        let users = Role::ALL.map(|role| tenant.login(role).user);
        assert_eq!(users, ["t_a_ro", "t_a_app", "t_a_own", "t_a_sys"]);
        assert!(!format!("{tenant:?}").contains(tenant.login(Role::App).password.expose()));
    }

    #[test]
    fn the_row_speaks_before_the_url() {
        let own = LimitOverrides { server_max: Some(4), ..LimitOverrides::default() };
        let limits = assembled(None, own).limits;
        assert_eq!(limits.server_max, Some(4));
        assert_eq!(limits.queue_timeout, Some(Duration::from_secs(45)));
    }

    #[test]
    fn only_an_active_tenant_is_served() {
        assert_eq!(Status::parse("ACTIVE"), Status::Active);
        assert_eq!(Status::parse("anything"), Status::Suspended);
        let mut tenant = assembled(None, LimitOverrides::default());
        assert!(tenant.served().is_ok());
        for status in [Status::Suspended, Status::Moving, Status::Provisioning] {
            assert_eq!(Status::parse(status.as_str()), status);
            tenant.status = status;
            let fault = tenant.served().expect_err("not served");
            assert_eq!(fault.state(), SqlState::CANNOT_CONNECT_NOW);
        }
    }
}
