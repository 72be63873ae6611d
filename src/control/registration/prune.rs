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

/// Refresh tokens, and each family with the last of its own.
const FAMILIES: &str = "
    WITH gone AS (
        DELETE FROM pgusher.refresh_tokens WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM pgusher.refresh_tokens WHERE expires_at < now() - interval '1 day'
            LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING family
    ), families AS (
        DELETE FROM pgusher.refresh_families f WHERE id IN (SELECT family FROM gone)
            AND NOT EXISTS (SELECT FROM pgusher.refresh_tokens t WHERE t.family = f.id
                                AND t.expires_at >= now() - interval '1 day'))
    SELECT count(*) FROM gone";

/// Deletes what is old. What fails keeps nothing else from being deleted.
///
/// # Errors
/// The last of the failures.
pub(super) async fn prune(registry: &Registry) -> Result<(), Fault> {
    let mut done = all(registry, FAMILIES).await;
    for (table, condition) in OLD {
        let sql = format!(
            "WITH gone AS (
                 DELETE FROM pgusher.{table} WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM pgusher.{table} WHERE {condition}
                     LIMIT $1 FOR UPDATE SKIP LOCKED))
                 RETURNING 1)
             SELECT count(*) FROM gone"
        );
        done = all(registry, &sql).await.and(done);
    }
    revocations::settle(registry).await.and(done)
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
