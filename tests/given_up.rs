//! What a process began and gave up, because the registry was away for a moment, is swept while it
//! lives: nothing waits for its restart. And what is old is deleted.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use cluster::office::{Office, organisation};
use pgusher::control::Refused;
use pgusher::ident::TenantId;

/// The registry refuses these acts on a table, as one that goes away between two statements does.
async fn refuse(office: &Office, acts: &str, table: &str) {
    let client = office.registry.client().await.unwrap();
    let sql = format!(
        "CREATE OR REPLACE FUNCTION pgusher.away() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'away'; END $$;
         CREATE TRIGGER away BEFORE {acts} ON pgusher.{table}
             FOR EACH ROW EXECUTE FUNCTION pgusher.away()"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// It is back.
async fn allow(office: &Office) {
    let client = office.registry.client().await.unwrap();
    client.batch_execute("DROP FUNCTION IF EXISTS pgusher.away() CASCADE").await.unwrap();
}

#[tokio::test]
async fn a_job_held_by_nobodys_hand_is_undone_by_the_next_pass() {
    let office = Office::open().await;
    office.presence.beat().await.unwrap();
    let client = office.registry.client().await.unwrap();
    // R1 was committed and its answer lost.
    let sql = "INSERT INTO pgusher.registrations (id, body_digest, email, email_hash, church_name,
                   tenant_id, server, admin_id, step, held_by)
               VALUES ('lost', '', 'lost@example.org', 'lost', 'Church', 'lost', 'main', 'admin',
                   'cloned', $1)";
    client.execute(sql, &[&office.presence.id()]).await.unwrap();
    drop(client);
    office.servers["main"].ensure_tenant(&TenantId::parse("lost").unwrap(), 1).await.unwrap();
    let swept = office.janitor.pass().await.unwrap();
    assert_eq!((swept.undone, swept.left), (1, 0));
    assert_eq!(office.census().await, (0, 0, 0));
}

#[tokio::test]
async fn a_registration_that_could_not_even_be_undone_frees_its_email_and_its_key() {
    let office = Office::open().await;
    office.presence.beat().await.unwrap();
    let register = || office.registration.register(organisation("a@example.org"), Some("the key"));
    refuse(&office, "INSERT", "refresh_families").await;
    let sql = "CREATE TRIGGER away BEFORE UPDATE ON pgusher.registrations
                   FOR EACH ROW EXECUTE FUNCTION pgusher.away()";
    office.registry.client().await.unwrap().batch_execute(sql).await.unwrap();
    assert!(matches!(register().await, Err(Refused::Failed(_))));
    allow(&office).await;
    assert!(matches!(register().await, Err(Refused::InProgress)));
    let swept = office.janitor.pass().await.unwrap();
    assert_eq!((swept.undone, swept.left), (1, 0));
    register().await.unwrap();
    assert_eq!(office.census().await, (1, 1, 1));
}

#[tokio::test]
async fn a_registration_under_way_is_left_to_who_carries_it_out() {
    let office = Office::open().await;
    office.presence.beat().await.unwrap();
    let many = (0..12).map(|n| {
        let registration = office.registration.clone();
        async move { registration.register(organisation(&format!("n{n}@example.org")), None).await }
    });
    let passes = async {
        for _ in 0..20 {
            let swept = office.janitor.pass().await.unwrap();
            assert_eq!((swept.finished, swept.undone), (0, 0));
        }
    };
    let (made, ()) = tokio::join!(futures_util::future::join_all(many), passes);
    for made in made {
        made.unwrap();
    }
    assert_eq!(office.census().await, (12, 12, 12));
}

#[tokio::test]
async fn what_is_old_is_deleted_however_much_there_is_and_whatever_else_fails() {
    let office = Office::open().await;
    let client = office.registry.client().await.unwrap();
    // A fortnight's, of which one family is still in use; and a table that gives nothing away.
    let old = "INSERT INTO pgusher.refresh_families (id, tenant_id, subject, role)
                   SELECT 'f' || n, 't', 's', 'owner' FROM generate_series(0, 3000) n;
               INSERT INTO pgusher.refresh_tokens (digest, family, expires_at)
                   SELECT sha256(n::text::bytea), 'f' || n % 3001, now() - interval '25 hours'
                   FROM generate_series(1, 11000) n;
               UPDATE pgusher.refresh_tokens SET expires_at = now() WHERE digest = sha256('3001');
               INSERT INTO pgusher.mfa_attempts VALUES ('t', 's', 1, now() - interval '31 days');
               INSERT INTO pgusher.revocations VALUES ('token', 'v', 't', now(), now())";
    client.batch_execute(old).await.unwrap();
    refuse(&office, "DELETE", "mfa_attempts").await;
    assert!(office.janitor.pass().await.is_err());
    let left = "SELECT (SELECT count(*) FROM pgusher.refresh_tokens) * 100
        + (SELECT count(*) FROM pgusher.refresh_families) * 10
        + (SELECT count(*) FROM pgusher.revocations)";
    assert_eq!(office.count(left).await, 110);
}
