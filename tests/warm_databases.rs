//! Warm databases are given away once, and none is lost or dropped that somebody has.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use cluster::office::{Office, Wish, organisation};
use cluster::{Cluster, until};
use pgusher::control::Refused;
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

/// The registry as it was before anybody registered.
const RESTORED: &str = r#"TRUNCATE public."Tenant", public."Church", public."AdminEmailIndex",
    pgusher.tenants, pgusher.registrations, pgusher.refresh_families, pgusher.server_tenants CASCADE;
    TRUNCATE pgusher.warm_databases; INSERT INTO pgusher.warm_databases TABLE backup"#;

#[tokio::test]
async fn a_registry_that_was_restored_gives_nobody_a_living_tenants_database() {
    let office = Office::over(Cluster::start(), Wish { warm: 1, ..Wish::default() }).await;
    office.presence.beat().await.unwrap();
    assert_eq!(office.warm.fill().await.unwrap(), 1);
    let client = office.registry.client().await.unwrap();
    client.batch_execute("CREATE TABLE backup AS TABLE pgusher.warm_databases").await.unwrap();
    let ada = office.registration.register(organisation("ada@example.org"), None).await.unwrap();
    client.batch_execute(RESTORED).await.unwrap();

    // The first to register meets her database, and is told to try again.
    let bob = office.registration.register(organisation("bob@example.org"), None).await;
    assert!(matches!(bob, Err(Refused::Failed(_))), "{bob:?}");
    let inside = office.cluster.connect(&ada.tenant.database()).await;
    let admins = r#"SELECT string_agg("email", ' ') FROM "Admin""#;
    let hers = async || inside.query_one(admins, &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(hers().await, "ada@example.org");
    let bob = office.registration.register(organisation("bob@example.org"), None).await.unwrap();
    assert_ne!(bob.tenant, ada.tenant);
    assert_eq!(hers().await, "ada@example.org");

    // Nobody drops it, whatever the row says: old, half made, of a registration that is gone.
    let admin = r#"SELECT "id" FROM "Admin""#;
    let admin: String = inside.query_one(admin, &[]).await.unwrap().get(0);
    for state in [
        "state = 'ready', schema_version = '2.9'",
        "state = 'creating'",
        "state = 'creating', admin_id = 'another'",
        "state = 'claimed'",
    ] {
        client.batch_execute(RESTORED).await.unwrap();
        let sql = format!("UPDATE pgusher.warm_databases SET {state}");
        client.batch_execute(&sql).await.unwrap();
        assert_eq!(office.janitor.pass().await.unwrap().dropped, 0, "{state}");
        assert_eq!(hers().await, "ada@example.org", "{state}");
        assert_eq!(office.count("SELECT count(*) FROM pgusher.warm_databases").await, 0, "{state}");
    }
    // But the one who wrote her down may: that registration was given another place.
    client.batch_execute(RESTORED).await.unwrap();
    let left = "UPDATE pgusher.warm_databases SET state = 'creating', admin_id = $1";
    client.execute(left, &[&admin]).await.unwrap();
    assert_eq!(office.janitor.pass().await.unwrap().dropped, 1);
}
