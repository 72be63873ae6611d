//! The NOLOGIN groups the template's privileges hang on.
//!
//! A clone needs no GRANT of its own: its tables belong to `pgusher_owner` and were granted to the
//! other groups in the template; a tenant's login role is a member. The groups have CONNECT
//! nowhere, so a membership means something only in the one database the role may enter.

use tokio_postgres::Client;

use crate::ident::Role;

/// The group that owns what the template brings.
pub(super) const OWNER: &str = "pgusher_owner";

/// The group a tenant's login role for `role` is a member of.
pub(super) fn group(role: Role) -> &'static str {
    match role {
        Role::Readonly => "pgusher_readonly",
        Role::App => "pgusher_app",
        Role::Owner => OWNER,
        Role::Sidecar => "pgusher_sidecar",
    }
}

/// What the provisioner's login is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Powers {
    pub(super) superuser: bool,
    /// `server_version_num`.
    pub(super) version: i32,
}

impl Powers {
    pub(super) async fn of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let sql = "SELECT rolsuper, current_setting('server_version_num')::int \
                   FROM pg_roles WHERE rolname = current_user";
        let row = client.query_one(sql, &[]).await?;
        Ok(Self { superuser: row.try_get(0)?, version: row.try_get(1)? })
    }

    /// From 16 on a membership says what it is good for; CREATEROLE alone gives neither.
    pub(super) fn with_use(self) -> &'static str {
        if self.version >= 160_000 { "WITH INHERIT TRUE, SET TRUE" } else { "" }
    }
}

/// Makes the groups that are missing, and the provisioner a member of the owner's: it migrates
/// tenants' schemas as the owner.
pub(super) async fn ensure(client: &Client, powers: Powers) -> Result<(), tokio_postgres::Error> {
    for role in Role::ALL {
        let group = group(role);
        let sql = format!(
            "DO $$ BEGIN CREATE ROLE {group} NOLOGIN;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        );
        client.batch_execute(&sql).await?;
    }
    if !powers.superuser {
        let sql = "SELECT pg_has_role(current_user, $1, 'USAGE')";
        let member: bool = client.query_one(sql, &[&OWNER]).await?.try_get(0)?;
        if !member {
            let sql = format!("GRANT {OWNER} TO CURRENT_USER {}", powers.with_use());
            client.batch_execute(&sql).await?;
        }
    }
    Ok(())
}
