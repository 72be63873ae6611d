//! Rows of the registry that nobody can need any more, deleted a slice at a time: what a day without a
//! janitor has left is not one statement that runs into its timeout, and then again with more.

use crate::control::{failed, revocations};
use crate::fault::Fault;
use crate::tenant::Registry;

/// Rows one statement deletes at most.
const SLICE: i64 = 5_000;

/// Slices of one kind in one pass, in every process.
const SLICES_MAX: u32 = 20;

/// What is deleted from where. Each condition has its index.
const OLD: [(&str, &str); 5] = [
    ("registrations", "step IN ('done', 'undone') AND changed_at < now() - interval '7 days'"),
    ("revocations", "expires_at < now()"),
    ("api_keys", "least(revoked_at, expires_at) < now() - interval '30 days'"),
    ("mfa_attempts", "began_at < now() - interval '30 days'"),
    ("stripe_events", "received_at < now() - interval '30 days'"),
];

/// Which refresh tokens are old.
const EXPIRED: &str = "expires_at < now() - interval '1 day'";

/// Deletes what is old. What fails keeps nothing else from being deleted.
///
/// # Errors
/// The last of the failures.
pub(super) async fn prune(registry: &Registry) -> Result<(), Fault> {
    // Each family goes with the last of its tokens.
    let families = format!(
        "WITH gone AS ({} RETURNING family), families AS (
             DELETE FROM pgusher.refresh_families f WHERE id IN (SELECT family FROM gone)
                 AND NOT EXISTS (SELECT FROM pgusher.refresh_tokens t
                                 WHERE t.family = f.id AND NOT t.{EXPIRED}))
         SELECT count(*) FROM gone",
        slice("refresh_tokens", EXPIRED)
    );
    let mut done = all(registry, &families).await;
    for (table, condition) in OLD {
        let sql = format!(
            "WITH gone AS ({} RETURNING 1) SELECT count(*) FROM gone",
            slice(table, condition)
        );
        done = all(registry, &sql).await.and(done);
    }
    revocations::settle(registry).await.and(done)
}

/// Deletes `$1` rows at most, and none that another process is deleting.
fn slice(table: &str, condition: &str) -> String {
    format!(
        "DELETE FROM pgusher.{table} WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM pgusher.{table} WHERE {condition}
             LIMIT $1 FOR UPDATE SKIP LOCKED))"
    )
}

/// Slice after slice, on a connection that others get in between.
async fn all(registry: &Registry, sql: &str) -> Result<(), Fault> {
    for _ in 0..SLICES_MAX {
        let client = registry.client().await?;
        let row = client.query_one(sql, &[&SLICE]).await.map_err(failed::registry)?;
        if row.try_get::<_, i64>(0).map_err(failed::registry)? < SLICE {
            break;
        }
    }
    Ok(())
}
