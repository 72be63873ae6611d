//! A server and its databases, asked about.

use std::collections::HashSet;
use std::time::Duration;

use super::Provisioner;
use super::database::{self, Bearer, Step};
use crate::fault::Fault;
use crate::ident::{Role, TenantId};

/// How a tenant's database stands, as the server's catalog has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseState {
    /// It is there and may be entered.
    Open,
    /// It is there and takes no connections.
    Closed,
    /// It is not there.
    Missing,
}

impl Provisioner {
    /// Whether the server answers within `patience`. No tenant's database is entered.
    ///
    /// # Errors
    /// 08006 when it does not.
    pub async fn ping(&self, patience: Duration) -> Result<(), Fault> {
        self.step("ping", async {
            let asked = tokio::time::timeout(patience, async {
                self.pool.get().await?.simple_query("SELECT 1").await?;
                Ok::<(), Step>(())
            });
            asked.await.unwrap_or(Err(Step::Slow))
        })
        .await
    }

    /// What PostgreSQL knows of these databases, in their order. None of them is entered.
    ///
    /// # Errors
    /// 08006 when the server cannot be asked.
    pub async fn databases(&self, names: &[String]) -> Result<Vec<DatabaseState>, Fault> {
        self.step("look", async {
            let admin = self.pool.get().await?;
            let sql = "SELECT d.datname IS NOT NULL, coalesce(d.datallowconn, false),
                           coalesce(d.datconnlimit, 0)
                       FROM unnest($1::text[]) WITH ORDINALITY AS asked (name, nth)
                       LEFT JOIN pg_database d ON d.datname = asked.name ORDER BY nth";
            let mut states = Vec::with_capacity(names.len());
            for row in admin.query(sql, &[&names]).await? {
                let (there, open, limit): (bool, bool, i32) =
                    (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                states.push(match (there, open, limit) {
                    (false, ..) => DatabaseState::Missing,
                    // -2: a DROP DATABASE was interrupted.
                    (_, false, _) | (_, _, -2) => DatabaseState::Closed,
                    _ => DatabaseState::Open,
                });
            }
            Ok(states)
        })
        .await
    }

    /// Whether [`Provisioner::ensure_admin`] was done. A database that is not there has none.
    ///
    /// # Errors
    /// 08006 when the server cannot be asked.
    pub async fn has_admin(&self, tenant: &TenantId, admin_id: &str) -> Result<bool, Fault> {
        Ok(self.bearer(tenant, Some(admin_id)).await? == Bearer::Asked)
    }

    /// Drops what there is of a tenant that never came to be. `false`: its database bears the mark of
    /// one that did, which is not that of `admin_id`, and everything is left as it is.
    ///
    /// # Errors
    /// 08006 when the server cannot be asked or refuses; run it again.
    pub async fn drop_unfinished(
        &self,
        tenant: &TenantId,
        admin_id: Option<&str>,
    ) -> Result<bool, Fault> {
        if self.bearer(tenant, admin_id).await? == Bearer::Another {
            tracing::error!(%tenant, "not dropped: this database is a tenant's, whatever the registry says");
            return Ok(false);
        }
        self.drop_tenant(tenant).await.map(|()| true)
    }

    /// One that cannot be entered is made, or dropped, halfway.
    async fn bearer(&self, tenant: &TenantId, admin_id: Option<&str>) -> Result<Bearer, Fault> {
        let [DatabaseState::Open] = self.databases(&[tenant.database()]).await?[..] else {
            return Ok(Bearer::Nobody);
        };
        self.step("look", async {
            let inside = self.inside(tenant).await?;
            Ok(database::bearer(inside.client(), tenant, admin_id).await?)
        })
        .await
    }

    /// Which of these tenants have a login that may log in.
    ///
    /// # Errors
    /// 08006 when the server cannot be asked.
    pub async fn with_open_logins(&self, tenants: &[TenantId]) -> Result<Vec<TenantId>, Fault> {
        let logins = |tenant: &TenantId| Role::ALL.map(|role| tenant.login_role(role));
        let names: Vec<String> = tenants.iter().flat_map(logins).collect();
        let open = self.step("look", async {
            let admin = self.pool.get().await?;
            let sql = "SELECT rolname::text FROM pg_roles WHERE rolcanlogin AND rolname = ANY ($1)";
            let mut open = HashSet::new();
            for row in admin.query(sql, &[&names]).await? {
                open.insert(row.try_get::<_, String>(0)?);
            }
            Ok(open)
        });
        let open = open.await?;
        let may = |tenant: &&TenantId| logins(tenant).iter().any(|login| open.contains(login));
        Ok(tenants.iter().filter(may).cloned().collect())
    }
}
