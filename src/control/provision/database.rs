//! One tenant's database and logins.
//!
//! A batch of statements is one transaction (simple query protocol), rolled back whole if one of
//! them fails, so a connection never goes back to the pool inside a transaction.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::groups::{self, Powers};
use super::leftover;
use super::template::default_privileges;
use crate::control::sql::{ident, literal};
use crate::control::verifier::scram_verifier;
use crate::fault::Fault;
use crate::ident::{Role, TenantId};
use crate::tenant::{DialError, MasterKey};
use crate::units::Secret;

/// Derived passwords have 256 bits: iterations would slow the dial and no attacker.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN;

/// The first row of a tenant's `"Admin"`.
#[derive(Debug, Clone)]
pub struct NewAdmin {
    /// Its id, chosen beforehand so that writing it twice writes it once.
    pub id: String,
    /// Normalised.
    pub email: String,
    /// The hash.
    pub password: Secret,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
}

/// Clones the template unless the database is there. What is made cannot be entered by anyone:
/// a clone does not inherit its template's ACL and would be open to PUBLIC, so it is made with
/// ALLOW_CONNECTIONS false and opened by [`open`] after the REVOKE.
pub(super) async fn ensure_clone(
    admin: &Client,
    tenant: &TenantId,
    template: &str,
    connections_max: u32,
) -> Result<(), tokio_postgres::Error> {
    let name = tenant.database();
    let sql = "SELECT datconnlimit FROM pg_database WHERE datname = $1";
    if let Some(row) = admin.query_opt(sql, &[&name]).await? {
        // -2: a DROP DATABASE was interrupted; nothing but another DROP helps.
        if row.try_get::<_, i32>(0)? != -2 {
            return Ok(());
        }
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {}", ident(&name))).await?;
    }
    let sql = format!(
        "CREATE DATABASE {} TEMPLATE {} STRATEGY WAL_LOG ALLOW_CONNECTIONS false \
         CONNECTION LIMIT {connections_max}",
        ident(&name),
        ident(template)
    );
    match admin.batch_execute(&sql).await {
        // A CREATE whose client went away finishes all the same.
        Err(e) if e.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(()),
        result => result,
    }
}

/// The tenant's four login roles, with the passwords derived for `version`.
pub(super) async fn ensure_logins(
    admin: &Client,
    tenant: &TenantId,
    key: &MasterKey,
    version: i32,
) -> Result<(), Step> {
    let there = logins(admin, tenant).await?;
    let mut sql = String::new();
    for role in Role::ALL {
        let verifier = verifier(tenant, role, key, version)?;
        let (name, group) = (ident(&tenant.login_role(role)), groups::group(role));
        let _ = if there.contains(&role) {
            write!(sql, "ALTER ROLE {name} LOGIN PASSWORD {verifier};")
        } else {
            write!(sql, "CREATE ROLE {name} LOGIN PASSWORD {verifier} IN ROLE {group};")
        };
    }
    Ok(admin.batch_execute(&sql).await?)
}

/// The same passwords for the logins there are. A tenant that is being dropped has fewer and fewer,
/// and none is to come back; whether they may log in is [`set_login`]'s to say.
pub(super) async fn restore_logins(
    admin: &Client,
    tenant: &TenantId,
    key: &MasterKey,
    version: i32,
) -> Result<(), Step> {
    let mut sql = String::new();
    for role in logins(admin, tenant).await? {
        let (name, verifier) =
            (ident(&tenant.login_role(role)), verifier(tenant, role, key, version)?);
        let _ = write!(sql, "ALTER ROLE {name} PASSWORD {verifier};");
    }
    Ok(admin.batch_execute(&sql).await?)
}

/// Which of the tenant's logins are there.
async fn logins(admin: &Client, tenant: &TenantId) -> Result<Vec<Role>, tokio_postgres::Error> {
    let names: Vec<String> = Role::ALL.iter().map(|role| tenant.login_role(*role)).collect();
    let sql = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY ($1)";
    let mut there = Vec::with_capacity(names.len());
    for row in admin.query(sql, &[&names]).await? {
        there.push(row.try_get::<_, String>(0)?);
    }
    Ok(Role::ALL.into_iter().filter(|role| there.contains(&tenant.login_role(*role))).collect())
}

/// What PostgreSQL keeps of the derived password, as a literal.
fn verifier(tenant: &TenantId, role: Role, key: &MasterKey, version: i32) -> Result<String, Fault> {
    let password = key.role_password(tenant, role, version);
    Ok(literal(&scram_verifier(password.expose(), ITERATIONS)?))
}

/// Closes the database to PUBLIC, gives it to the tenant's roles, and only then opens it.
pub(super) async fn open(admin: &Client, tenant: &TenantId) -> Result<(), Step> {
    let database = ident(&tenant.database());
    let role = |role| ident(&tenant.login_role(role));
    let sql = format!(
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC;
         GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {owner}, {app};
         GRANT CREATE ON DATABASE {database} TO {owner};
         GRANT CONNECT ON DATABASE {database} TO {readonly}, {sidecar};
         ALTER DATABASE {database} ALLOW_CONNECTIONS true",
        owner = role(Role::Owner),
        app = role(Role::App),
        readonly = role(Role::Readonly),
        sidecar = role(Role::Sidecar),
    );
    Ok(admin.batch_execute(&sql).await?)
}

/// What the tenant's owner makes later is the other roles' too. Run inside the tenant's database.
pub(super) async fn ensure_defaults(
    inside: &Client,
    tenant: &TenantId,
    powers: Powers,
) -> Result<(), Step> {
    let owner = ident(&tenant.login_role(Role::Owner));
    let defaults = default_privileges(&format!("FOR ROLE {owner}"));
    // Only a member may set them. A membership kept for every tenant would make each privilege
    // check of the provisioner walk them all, so it lasts for this transaction.
    let sql = if powers.superuser {
        defaults
    } else {
        let with = powers.with_use();
        format!(
            "GRANT {owner} TO CURRENT_USER {with}; {defaults};
             REVOKE {owner} FROM CURRENT_USER"
        )
    };
    Ok(inside.batch_execute(&sql).await?)
}

/// Whose a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearer {
    Nobody,
    /// The tenant's whose first admin was asked for.
    Asked,
    /// Somebody else's. The registry may not know: it was restored from a backup.
    Another,
}

/// Whose the database is, by its mark and by `admin_id`.
pub(super) async fn bearer(
    inside: &Client,
    tenant: &TenantId,
    admin_id: Option<&str>,
) -> Result<Bearer, tokio_postgres::Error> {
    let Some(mark) = inside.query_opt("SELECT tenant_id FROM pgusher.tenant_mark", &[]).await?
    else {
        return Ok(Bearer::Nobody);
    };
    let marked: &str = mark.try_get(0)?;
    let Some(admin_id) = admin_id.filter(|_| marked == tenant.as_str()) else {
        return Ok(Bearer::Another);
    };
    // A tenant's own by now is not read as if it were as pgusher made it: a view runs what it likes.
    let plain = r#"SELECT FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                   WHERE c.oid = to_regclass('public."Admin"') AND c.relkind = 'r'
                       AND NOT c.relrowsecurity AND a.attname = 'id'
                       AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)"#;
    if inside.query_opt(plain, &[]).await?.is_none() {
        return Ok(Bearer::Another);
    }
    let sql = r#"SELECT FROM public."Admin" WHERE "id" = $1"#;
    let found = inside.query_opt(sql, &[&admin_id]).await?;
    Ok(if found.is_some() { Bearer::Asked } else { Bearer::Another })
}

/// How long a server process may take to end, in milliseconds.
const END_MS: i64 = 5000;

/// Ends what a process of pgusher's that died may have left at work on this tenant. A CREATE whose
/// client is gone goes on, and would bring back what is dropped here. Every such statement names
/// the tenant; a provisioner sees and ends what ran under its own role.
pub(super) async fn end_work_on(
    admin: &Client,
    tenant: &TenantId,
) -> Result<(), tokio_postgres::Error> {
    let sql = "SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity
               WHERE state = 'active' AND pid <> pg_backend_pid() AND usename = current_user
               AND (position($1 in query) > 0 OR position($3 in query) > 0)";
    // The first login that statements about all of them name: long ones are cut there.
    let (database, login) = (ident(&tenant.database()), ident(&tenant.login_role(Role::ALL[0])));
    admin.query(sql, &[&database, &END_MS, &login]).await?;
    Ok(())
}

/// Drops the database and the logins, whatever of them is there. Names the logins that could not be
/// dropped, because others' objects name them.
pub(super) async fn drop_all(
    admin: &Client,
    tenant: &TenantId,
    powers: Powers,
) -> Result<Vec<Role>, Step> {
    let name = tenant.database();
    let database = ident(&name);
    end_work_on(admin, tenant).await?;
    let there = logins(admin, tenant).await?;
    let mut close = String::new();
    for role in &there {
        let role = ident(&tenant.login_role(*role));
        let _ = write!(close, "ALTER ROLE {role} NOLOGIN;");
        // Ending a session takes a membership in its role.
        if !powers.superuser {
            let _ = write!(close, "GRANT {role} TO CURRENT_USER {};", powers.with_use());
        }
    }
    let sql = "SELECT 1 FROM pg_database WHERE datname = $1";
    let exists = admin.query_opt(sql, &[&name]).await?.is_some();
    if !close.is_empty() {
        admin.batch_execute(&close).await?;
    }
    if exists {
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await?;
    }
    // The database first: its ACL names the roles.
    leftover::drop_logins(admin, tenant, there).await
}

/// Lets the tenant's roles log in, or not: those there are. Every process says so at the same moment,
/// mostly of what is so already, and PostgreSQL refuses all but one who write the same role.
pub(super) async fn set_login(
    admin: &Client,
    tenant: &TenantId,
    allowed: bool,
) -> Result<(), Step> {
    let names = Role::ALL.map(|role| tenant.login_role(role));
    let differ = "SELECT rolname::text FROM pg_roles \
                  WHERE rolname = ANY ($1) AND rolcanlogin <> $2 ORDER BY rolname";
    let word = if allowed { "LOGIN" } else { "NOLOGIN" };
    let mut sql = String::new();
    for row in admin.query(differ, &[&names.as_slice(), &allowed]).await? {
        let _ = write!(sql, "ALTER ROLE {} {word};", ident(row.try_get(0)?));
    }
    if sql.is_empty() { Ok(()) } else { Ok(admin.batch_execute(&sql).await?) }
}

/// How a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Step {
    #[error(transparent)]
    Sql(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error(transparent)]
    Schema(#[from] crate::control::schema::SchemaError),
    #[error(transparent)]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("the database bears the mark of a tenant that is not this one")]
    Foreign,
    #[error("took longer than the step timeout")]
    Slow,
}
