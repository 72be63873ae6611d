//! Warm databases are given away once, and none is lost or dropped that somebody has.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use cluster::office::Office;
use cluster::until;
use pgusher::ident::TenantId;

const DATABASES: &str = "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenant\\_%'";

#[tokio::test]
async fn a_database_claimed_while_the_sweep_waits_for_it_is_its_tenants() {
    let office = Office::open().await;
    office.presence.beat().await.unwrap();
    office.servers["main"].ensure_tenant(&TenantId::parse("old").unwrap(), 1).await.unwrap();
    let mut registry = office.cluster.connect("registry").await;
    let ready = "INSERT INTO pgusher.warm_databases
                     (tenant_id, server, schema_version, key_version, state)
                 VALUES ('old', 'main', '2.9', 1, 'ready')";
    registry.batch_execute(ready).await.unwrap();
    // As a process of the version before claims it.
    let claim = registry.transaction().await.unwrap();
    let holder = office.presence.id();
    let claimed = "UPDATE pgusher.warm_databases SET state = 'claimed', changed_at = now()";
    claim.batch_execute(claimed).await.unwrap();
    let job = "INSERT INTO pgusher.registrations (id, body_digest, email, email_hash, church_name,
                   tenant_id, server, admin_id, step, was_warm, held_by)
               VALUES ('job', '', 'a@example.org', 'a', 'Church', 'old', 'main', 'admin', 'cloned',
                   true, $1)";
    claim.execute(job, &[&holder]).await.unwrap();
    let janitor = office.janitor.clone();
    let pass = tokio::spawn(async move { janitor.pass().await.unwrap() });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                   AND query LIKE 'UPDATE pgusher.warm_databases%'";
    until("the sweep waits", || async { office.count(waiting).await > 0 }).await;
    claim.commit().await.unwrap();
    assert_eq!(pass.await.unwrap().dropped, 0);
    assert_eq!(office.count(DATABASES).await, 1);
}
