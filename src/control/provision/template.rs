//! The tenant template: `pgusher_template_v<N>`, one per version of the tenant schema.

use std::time::Duration;

use tokio_postgres::Client;

use super::groups::{self, OWNER, Powers};
use crate::control::schema::{History, MigrationSet, SchemaError, Upgrade, apply};
use crate::control::sql::{ident, literal};
use crate::ident::Role;
use crate::tenant::{self, DatabaseUrl};

/// What every tenant's database is made of.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// The product's schema.
    pub(super) product: MigrationSet,
    /// pgusher's own corner.
    pub(super) own: MigrationSet,
}

/// A key for `pg_advisory_lock`: one builder at a time on a server.
const LOCK: i64 = 0x7067_7573_6865_7202;

impl Template {
    pub(super) fn name(&self) -> String {
        format!("pgusher_template_v{}", self.product.version())
    }

    /// What is written on a finished template, so that a half-built one is never cloned.
    fn label(&self) -> String {
        format!("{}/{}", self.product.digest(), self.own.digest())
    }

    /// Builds the template, or finishes one a crash left half-built. `admin` is the provisioner's
    /// connection, `url` its login.
    pub(super) async fn ensure(
        &self,
        admin: &Client,
        url: &DatabaseUrl,
        powers: Powers,
        timeout: Duration,
    ) -> Result<(), SchemaError> {
        let failed = |cause| SchemaError::Sql { name: self.name(), cause };
        if self.is_ready(admin).await.map_err(failed)? {
            return Ok(());
        }
        admin.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(failed)?;
        let built = self.build(admin, url, powers, timeout).await;
        admin.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.map_err(failed)?;
        built
    }

    async fn is_ready(&self, admin: &Client) -> Result<bool, tokio_postgres::Error> {
        let sql = "SELECT NOT datallowconn AND datistemplate \
                   AND shobj_description(oid, 'pg_database') = $2 \
                   FROM pg_database WHERE datname = $1";
        let row = admin.query_opt(sql, &[&self.name(), &self.label()]).await?;
        row.map_or(Ok(false), |row| Ok(row.try_get::<_, Option<bool>>(0)?.unwrap_or(false)))
    }

    async fn build(
        &self,
        admin: &Client,
        url: &DatabaseUrl,
        powers: Powers,
        timeout: Duration,
    ) -> Result<(), SchemaError> {
        let failed = |cause| SchemaError::Sql { name: self.name(), cause };
        // Another process may have built it while this one waited for the lock.
        if self.is_ready(admin).await.map_err(failed)? {
            return Ok(());
        }
        let name = ident(&self.name());
        let sql = "SELECT 1 FROM pg_database WHERE datname = $1";
        if admin.query_opt(sql, &[&self.name()]).await.map_err(failed)?.is_none() {
            let sql = format!("CREATE DATABASE {name} TEMPLATE template0 ALLOW_CONNECTIONS false");
            admin.batch_execute(&sql).await.map_err(failed)?;
        }
        let open = format!(
            "REVOKE ALL ON DATABASE {name} FROM PUBLIC;
             ALTER DATABASE {name} ALLOW_CONNECTIONS true"
        );
        admin.batch_execute(&open).await.map_err(failed)?;
        let mut inside = tenant::connect(&url.with_database(&self.name()), timeout).await?;
        self.fill(&mut inside, powers).await?;
        drop(inside);
        let close = format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false;
             ALTER DATABASE {name} IS_TEMPLATE true;
             COMMENT ON DATABASE {name} IS {}",
            literal(&self.label())
        );
        admin.batch_execute(&close).await.map_err(failed)
    }

    async fn fill(&self, inside: &mut Client, powers: Powers) -> Result<(), SchemaError> {
        let failed = |cause| SchemaError::Sql { name: self.name(), cause };
        // Schema public belongs to the owner's group; a non-superuser may give it away because
        // it owns the database, and is a member of both groups concerned.
        let public = format!(
            "ALTER SCHEMA public OWNER TO {OWNER};
             REVOKE ALL ON SCHEMA public FROM PUBLIC;
             CREATE SCHEMA IF NOT EXISTS pgusher;
             REVOKE ALL ON SCHEMA pgusher FROM PUBLIC"
        );
        inside.batch_execute(&public).await.map_err(failed)?;
        let grants = default_privileges(&format!("FOR ROLE {OWNER}"));
        inside.batch_execute(&grants).await.map_err(failed)?;
        self.migrate(inside).await?;
        tracing::info!(template = self.name(), version = powers.version, "template built");
        Ok(())
    }

    async fn migrate(&self, inside: &mut Client) -> Result<(), SchemaError> {
        let sets = [(&self.product, PRODUCT), (&self.own, OWN)];
        let afterwards = format!("{}; {}", public_privileges(), own_privileges());
        let upgrade = Upgrade { sets: &sets, lock_timeout: None, afterwards: &afterwards };
        apply(inside, upgrade).await.map(drop)
    }

    /// Brings pgusher's own corner of a tenant's database to this version. `inside` is the
    /// provisioner, among things a tenant made: it runs nothing of theirs, because every name is
    /// looked up in `pg_catalog` or written with its schema.
    pub(super) async fn upgrade_own(
        &self,
        inside: &mut Client,
        lock_timeout: Duration,
    ) -> Result<Vec<String>, SchemaError> {
        let failed = |cause| SchemaError::Sql { name: "pgusher's own".to_owned(), cause };
        inside.batch_execute("SET search_path = pg_catalog").await.map_err(failed)?;
        let sets = [(&self.own, OWN)];
        let afterwards = own_privileges();
        let lock_timeout = Some(lock_timeout);
        apply(inside, Upgrade { sets: &sets, lock_timeout, afterwards: &afterwards }).await
    }
}

/// The product's migrations run as the owner's group, and the history is its: what a tenant could
/// put in their way runs with the tenant's own powers.
pub(in crate::control) const PRODUCT: History = History { schema: "public", run_as: Some(OWNER) };

/// pgusher's own are the provisioner's.
const OWN: History = History { schema: "pgusher", run_as: None };

/// What the groups may do with everything that `whose` makes later.
pub(super) fn default_privileges(whose: &str) -> String {
    let (app, readonly) = (groups::group(Role::App), groups::group(Role::Readonly));
    let sidecar = groups::group(Role::Sidecar);
    let writers = format!("{app}, {sidecar}");
    format!(
        "ALTER DEFAULT PRIVILEGES {whose}
             GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writers};
         ALTER DEFAULT PRIVILEGES {whose} GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO {writers};
         ALTER DEFAULT PRIVILEGES {whose} GRANT SELECT ON TABLES TO {readonly};
         ALTER DEFAULT PRIVILEGES {whose} GRANT SELECT ON SEQUENCES TO {readonly};
         ALTER DEFAULT PRIVILEGES {whose} GRANT USAGE ON SCHEMAS TO {writers}, {readonly}"
    )
}

fn public_privileges() -> String {
    let (app, readonly) = (groups::group(Role::App), groups::group(Role::Readonly));
    let sidecar = groups::group(Role::Sidecar);
    format!(
        "GRANT USAGE ON SCHEMA public TO {app}, {readonly}, {sidecar};
         REVOKE ALL ON public._pgusher_migrations FROM {app}, {readonly}, {sidecar};
         GRANT SELECT ON public._pgusher_migrations TO {app}, {readonly}, {sidecar}"
    )
}

/// pgusher's corner is the sidecar's alone: no role of the tenant's can forge or block what comes
/// in there.
fn own_privileges() -> String {
    let sidecar = groups::group(Role::Sidecar);
    format!(
        "GRANT USAGE ON SCHEMA pgusher TO {sidecar};
         GRANT SELECT ON ALL TABLES IN SCHEMA pgusher TO {sidecar};
         GRANT INSERT, UPDATE, DELETE ON pgusher.webhook_inbox, pgusher.parked_receipts
             TO {sidecar};
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgusher TO {sidecar}"
    )
}
