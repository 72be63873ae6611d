//! Warm databases are given away once, and none is lost or dropped that somebody has.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use cluster::office::{Office, Wish};
use cluster::{Cluster, until};
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

const READY: &str = "SELECT count(*) FROM pgusher.warm_databases WHERE state = 'ready'";

/// The registry takes no word of a database being ready; how often it refused is counted.
const AWAY: &str = "CREATE SEQUENCE pgusher.refused START 1;
    CREATE FUNCTION pgusher.away() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM nextval('pgusher.refused'); RAISE EXCEPTION 'away'; END $$;
    CREATE TRIGGER away BEFORE UPDATE ON pgusher.warm_databases FOR EACH ROW
        WHEN (NEW.state = 'ready') EXECUTE FUNCTION pgusher.away()";

#[tokio::test]
async fn what_was_made_while_the_registry_was_away_is_ready_when_it_is_back() {
    let office = Office::over(Cluster::start(), Wish { warm: 2, ..Wish::default() }).await;
    office.presence.beat().await.unwrap();
    let client = office.registry.client().await.unwrap();
    client.batch_execute(AWAY).await.unwrap();
    let warm = office.warm.clone();
    let filler = tokio::spawn(async move { warm.run().await });
    let refused = "SELECT last_value FROM pgusher.refused";
    until("both are refused", || async { office.count(refused).await >= 2 }).await;
    // What is being made is nobody's to sweep.
    assert_eq!(office.janitor.pass().await.unwrap().dropped, 0);
    client.batch_execute("DROP FUNCTION pgusher.away() CASCADE").await.unwrap();
    until("both are ready", || async { office.count(READY).await == 2 }).await;
    assert_eq!(office.count(DATABASES).await, 2);
    filler.abort();
}

#[tokio::test]
async fn a_warm_database_that_nobody_makes_any_more_is_dropped_and_another_made() {
    let office = Office::over(Cluster::start(), Wish { warm: 1, ..Wish::default() }).await;
    office.presence.beat().await.unwrap();
    // Its row was committed and the answer lost.
    let sql = "INSERT INTO pgusher.warm_databases
                   (tenant_id, server, schema_version, key_version, held_by)
               VALUES ('lost', 'main', $1, 1, $2)";
    let version = office.servers["main"].warm_version();
    let client = office.registry.client().await.unwrap();
    client.execute(sql, &[&version, &office.presence.id()]).await.unwrap();
    drop(client);
    office.servers["main"].ensure_tenant(&TenantId::parse("lost").unwrap(), 1).await.unwrap();
    assert_eq!(office.janitor.pass().await.unwrap().dropped, 1);
    assert_eq!(office.warm.fill().await.unwrap(), 1);
    assert_eq!((office.count(READY).await, office.count(DATABASES).await), (1, 1));
}
