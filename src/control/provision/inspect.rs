//! What a server is and what the provisioner may do there, looked at and not touched.

use tokio_postgres::Client;

use super::doors;

/// A server as `pgusher check` sees it.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFacts {
    /// `server_version`.
    pub version: String,
    /// `server_version_num`.
    #[serde(skip)]
    pub version_number: i32,
    /// The provisioner's role.
    pub role: String,
    /// Whether that is a superuser.
    pub superuser: bool,
    /// Whether it may make databases.
    pub may_create_databases: bool,
    /// Whether it may make roles.
    pub may_create_roles: bool,
    /// `max_connections` less those reserved for superusers and others.
    pub connections_max: i32,
    /// Databases PUBLIC can enter.
    pub open_doors: Vec<String>,
}

/// The oldest version pgusher works on.
pub const VERSION_MIN: i32 = 150_000;

pub(super) async fn look(client: &Client) -> Result<ServerFacts, tokio_postgres::Error> {
    // reserved_connections came with PostgreSQL 16.
    let sql = "SELECT current_setting('server_version'),
                   current_setting('server_version_num')::int,
                   rolname::text, rolsuper, rolcreatedb OR rolsuper, rolcreaterole OR rolsuper,
                   current_setting('max_connections')::int
                       - current_setting('superuser_reserved_connections')::int
                       - coalesce(current_setting('reserved_connections', true)::int, 0)
               FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(sql, &[]).await?;
    Ok(ServerFacts {
        version: row.try_get(0)?,
        version_number: row.try_get(1)?,
        role: row.try_get(2)?,
        superuser: row.try_get(3)?,
        may_create_databases: row.try_get(4)?,
        may_create_roles: row.try_get(5)?,
        connections_max: row.try_get(6)?,
        open_doors: doors::open(client).await?,
    })
}
