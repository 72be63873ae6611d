//! How many tenants a server has is kept by the commits that change it, and costs nothing to ask.
#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use std::time::Duration;

use cluster::office::{Office, Wish, organisation};
use cluster::{Cluster, until};
use futures_util::future::join_all;
use pgusher::control::fleet::Fleet;
use pgusher::control::schema::{MigrationSet, migrate_registry};
use pgusher::tenant::DatabaseUrl;

const KEPT: &str = "SELECT coalesce(sum(tenants), 0)::bigint FROM pgusher.server_tenants";

/// What is kept is what there is, on every server. How many on `main`.
async fn counted(office: &Office) -> i64 {
    let wrong = "SELECT count(*) FROM pgusher.server_tenants s WHERE s.tenants <> (
                     SELECT count(*) FROM pgusher.tenants t WHERE t.managed AND t.server = s.server)";
    assert_eq!(office.count(wrong).await, 0);
    let there = "SELECT count(*) FROM pgusher.tenants WHERE managed AND server IS NOT NULL";
    assert_eq!(office.count(KEPT).await, office.count(there).await);
    office.count(&format!("{KEPT} WHERE server = 'main'")).await
}

#[tokio::test]
async fn what_a_server_has_is_counted_by_the_commits_that_change_it() {
    let office = Office::open().await;
    let emails: Vec<_> = (0..6).map(|n| format!("{n}@example.org")).collect();
    let all = emails.iter().map(|email| office.registration.register(organisation(email), None));
    let made: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(counted(&office).await, 6, "those that came at once, too");
    let registry = office.cluster.connect("registry").await;
    for (sql, left) in [
        ("BEGIN; DELETE FROM pgusher.tenants; ROLLBACK", 6),
        ("UPDATE pgusher.tenants SET suspended_at = now(), server_max = 3, own_version = 1", 6),
        // Adopted, and taken up by a limit of its own.
        ("INSERT INTO pgusher.tenants (tenant_id, server_max) VALUES ('old', 3)", 6),
        ("INSERT INTO pgusher.tenants AS p (tenant_id, managed, server) VALUES ('old', true, 'main')
          ON CONFLICT (tenant_id) DO UPDATE SET server_max = 4", 6),
        ("UPDATE pgusher.tenants SET managed = true, server = 'main' WHERE tenant_id = 'old'", 7),
        ("UPDATE pgusher.tenants SET server = 'other' WHERE tenant_id = 'old'", 6),
        ("UPDATE pgusher.tenants SET managed = false WHERE tenant_id = 'old'", 6),
        ("DELETE FROM pgusher.tenants WHERE tenant_id = 'old'", 6),
    ] {
        registry.batch_execute(sql).await.unwrap();
        assert_eq!(counted(&office).await, left, "{sql}");
    }
    let fleet = Fleet::new(office.registry.clone());
    fleet.suspend(&made[0].tenant, "unpaid").await.unwrap();
    for (made, left) in made.iter().zip((0..6).rev()) {
        fleet.drop_tenant(&made.tenant, &office.servers).await.unwrap();
        assert_eq!(counted(&office).await, left);
    }
}

#[tokio::test]
async fn looking_at_the_servers_reads_no_tenants_row() {
    let office = Office::over(Cluster::start(), Wish { tenants_max: 1, ..Wish::default() }).await;
    office.registration.register(organisation("a@example.org"), None).await.unwrap();
    let mut registry = office.cluster.connect("registry").await;
    let tx = registry.transaction().await.unwrap();
    tx.batch_execute("LOCK TABLE pgusher.tenants IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let health = office.health.clone();
    let watching = tokio::spawn(async move { health.run().await });
    let is_full = || async { !office.health.has_room(&office.servers["main"]) };
    until("it is full, whoever holds the tenants' rows", is_full).await;
    watching.abort();
}

#[tokio::test]
async fn a_registry_of_before_is_counted_when_it_is_migrated() {
    let office = Office::open().await;
    let registry = office.cluster.connect("registry").await;
    let before = "DROP TABLE pgusher.server_tenants;
                  DROP FUNCTION pgusher.count_tenant CASCADE;
                  ALTER TABLE pgusher.warm_databases DROP COLUMN admin_id;
                  DROP INDEX pgusher.api_keys_ended, pgusher.registrations_ended;
                  DELETE FROM public._pgusher_migrations WHERE number > 10;
                  INSERT INTO pgusher.tenants (tenant_id, managed, server) VALUES
                      ('a', true, 'main'), ('b', true, 'main'), ('c', true, 'other'),
                      ('d', false, NULL), ('e', true, NULL)";
    registry.batch_execute(before).await.unwrap();
    let url = DatabaseUrl::parse(&office.cluster.superuser("registry")).unwrap();
    let set = MigrationSet::registry();
    let report = migrate_registry(&url, &set, Duration::from_secs(10)).await.unwrap();
    assert_eq!(report.applied, ["0011_server_tenants", "0012_abandoned"]);
    assert_eq!((counted(&office).await, office.count(KEPT).await), (2, 3));
    registry.batch_execute("DELETE FROM pgusher.tenants WHERE tenant_id = 'a'").await.unwrap();
    assert_eq!(counted(&office).await, 1);
}
