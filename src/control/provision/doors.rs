//! Which databases of a server the public may enter: none should be.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::control::sql::ident;

/// Revokes CONNECT and TEMPORARY from PUBLIC on `postgres`, `template1` and the databases named,
/// where the provisioner may. Returns every database of the server that PUBLIC can still enter:
/// for `pgusher check` to report, since it lets tenants' roles in too.
pub(super) async fn close(
    client: &Client,
    more: &[String],
) -> Result<Vec<String>, tokio_postgres::Error> {
    let named = ["postgres", "template1"].into_iter().chain(more.iter().map(String::as_str));
    for database in named {
        if !open(client).await?.iter().any(|name| name == database) {
            continue;
        }
        // The provisioner itself must not be locked out by what it does here.
        let name = ident(database);
        let sql = format!(
            "GRANT CONNECT ON DATABASE {name} TO CURRENT_USER;
             REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC"
        );
        match client.batch_execute(&sql).await {
            Ok(()) => {}
            Err(e) if e.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                tracing::warn!(database, "PUBLIC may connect and the provisioner cannot change it");
            }
            Err(e) => return Err(e),
        }
    }
    open(client).await
}

/// The databases PUBLIC can enter now.
pub(super) async fn open(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let sql = "SELECT datname::text FROM pg_database WHERE datallowconn \
               AND has_database_privilege('public', oid, 'CONNECT') ORDER BY 1";
    client.query(sql, &[]).await?.iter().map(|row| row.try_get(0)).collect()
}
