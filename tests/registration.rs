//! A registration makes exactly one tenant, or none.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::office::{Office, Wish, organisation};
use cluster::{Cluster, until};
use futures_util::future::join_all;
use pgusher::control::Refused;
use pgusher::control::changes::{Change, listen};
use pgusher::control::fleet::{Fleet, apply_tenant};
use pgusher::ident::{Role, TenantId};
use pgusher::tenant::{DatabaseUrl, LimitOverrides, Status};

#[tokio::test]
async fn a_new_tenant_is_whole() {
    let office = Office::open().await;
    let made = office.registration.register(organisation("Ada@Example.org"), None).await.unwrap();
    assert_eq!(office.census().await, (1, 1, 1));
    assert_eq!(made.tenant.as_str().len(), 24);
    assert_eq!(made.admin.email, "ada@example.org");
    assert_eq!(made.tokens.unwrap().expires_in, 900);
    // What was done beside the hash is told behind it.
    let steps: Vec<_> = made.timings.iter().map(|(step, _)| step).collect();
    assert_eq!(steps, ["turn", "hash", "claim", "tokens", "clone", "admin", "finish"]);
    let tenant = office.directory.tenant(&made.tenant).await.unwrap();
    assert_eq!((tenant.status, tenant.adopted), (Status::Active, false));
    assert_eq!(&*tenant.server, "main");
    assert_eq!(*tenant.database, made.tenant.database());
    let days = "SELECT round(extract(epoch FROM \"trialEndsAt\" - now()::timestamp) / 86400)::bigint \
                FROM public.\"Tenant\"";
    assert_eq!(office.count(days).await, 14);
    // The registry has no password, of PostgreSQL's or of the admin's.
    let url = office.registry.client().await.unwrap();
    let url: String =
        url.query_one("SELECT \"databaseUrl\" FROM public.\"Tenant\"", &[]).await.unwrap().get(0);
    assert!(DatabaseUrl::parse(&url).unwrap().password.is_none(), "{url}");
    // The login works on PostgreSQL itself.
    let login = tenant.login(Role::App);
    let app = office.cluster.try_connect(&login.user, login.password.expose(), &tenant.database);
    let app = app.await.unwrap();
    let row = app.query_one("SELECT \"email\", \"role\", \"password\" FROM \"Admin\"", &[]).await;
    let row = row.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("ada@example.org", "PRIMARY"));
    assert!(row.get::<_, &str>(2).starts_with("$argon2id$"));
}

#[tokio::test]
async fn the_same_email_at_once_gives_one_tenant_and_one_refusal() {
    let office = Office::open().await;
    let tries = (0..6).map(|n| {
        let email = if n % 2 == 0 { "twin@example.org" } else { "TWIN@example.org " };
        office.registration.register(organisation(email), None)
    });
    let results = join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for refused in results.into_iter().filter_map(Result::err) {
        assert!(matches!(refused, Refused::EmailTaken), "{refused:?}");
    }
    assert_eq!(office.census().await, (1, 1, 1));
    let later = office.registration.register(organisation("twin@example.org"), None).await;
    assert!(matches!(later, Err(Refused::EmailTaken)));
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_tenant_again() {
    let office = Office::open().await;
    let register = |body, key| office.registration.register(body, Some(key));
    let first = register(organisation("a@example.org"), "key-1").await.unwrap();
    let again = register(organisation("a@example.org"), "key-1").await.unwrap();
    assert_eq!((&first.tenant, &first.admin.id), (&again.tenant, &again.admin.id));
    assert_eq!(first.church.trial_ends_at, again.church.trial_ends_at);
    assert!(first.tokens.unwrap().refresh != again.tokens.unwrap().refresh);
    let client = office.registry.client().await.unwrap();
    for (until_now, undone) in [
        (
            "UPDATE pgusher.registrations SET changed_at = now() - interval '61 minutes'",
            "UPDATE pgusher.registrations SET changed_at = now()",
        ),
        (
            "INSERT INTO pgusher.revocations (kind, value, tenant_id, expires_at)
          SELECT 'admin', admin_id, tenant_id, '9999-12-31' FROM pgusher.registrations",
            "DELETE FROM pgusher.revocations",
        ),
        (
            "INSERT INTO pgusher.audit (tenant_id, actor, action)
          SELECT tenant_id, admin_id, 'mfa enabled' FROM pgusher.registrations",
            "DELETE FROM pgusher.audit WHERE action = 'mfa enabled'",
        ),
    ] {
        client.batch_execute(until_now).await.unwrap();
        let late = register(organisation("a@example.org"), "key-1").await.unwrap();
        assert_eq!((&first.tenant, &first.admin.id), (&late.tenant, &late.admin.id));
        assert!(late.tokens.is_none(), "{until_now}");
        client.batch_execute(undone).await.unwrap();
    }
    assert!(register(organisation("a@example.org"), "key-1").await.unwrap().tokens.is_some());
    drop(client);
    let mut other = organisation("a@example.org");
    other.password = "another password".into();
    assert!(matches!(register(other, "key-1").await, Err(Refused::KeyReused)));
    assert_eq!(office.census().await, (1, 1, 1));
    // Both at once: one does it, the other gets the same or is told to wait.
    let both = join_all((0..2).map(|_| register(organisation("b@example.org"), "key-2"))).await;
    assert!(both.iter().any(Result::is_ok));
    for refused in both.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(refused, Refused::InProgress), "{refused:?}");
    }
    assert_eq!(office.census().await, (2, 2, 2));
}

#[tokio::test]
async fn a_retry_that_waits_behind_its_own_registration_gets_that_ones_tenant() {
    let office = Office::open().await;
    let register = || office.registration.register(organisation("a@example.org"), Some("key"));
    let first = register().await.unwrap();
    // As if it were not done yet: its key comes to light when the retry's R1 is under way.
    let mut client = office.cluster.connect("registry").await;
    let digest = "UPDATE pgusher.registrations SET idempotency_digest =";
    client.batch_execute(&format!("{digest} '\\x00' || idempotency_digest")).await.unwrap();
    let tx = client.transaction().await.unwrap();
    tx.batch_execute("LOCK TABLE pgusher.registrations IN SHARE MODE").await.unwrap();
    let finish = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        until("R1 is under way", || async { office.count(waits).await == 1 }).await;
        tx.batch_execute(&format!("{digest} substr(idempotency_digest, 2)")).await.unwrap();
        tx.commit().await.unwrap();
    };
    let again = tokio::join!(register(), finish).0.unwrap();
    assert_eq!((again.tenant, again.tokens.is_some()), (first.tenant, true));
}

#[tokio::test]
async fn a_job_that_was_taken_over_is_left_to_its_new_owner() {
    let office = Office::open().await;
    let client = office.registry.client().await.unwrap();
    let takes_over = "CREATE FUNCTION pgusher.take_over() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN NEW.held_by := 'another'; RETURN NEW; END $$;
        CREATE TRIGGER take_over BEFORE INSERT ON pgusher.registrations
            FOR EACH ROW EXECUTE FUNCTION pgusher.take_over()";
    client.batch_execute(takes_over).await.unwrap();
    let made = office.registration.register(organisation("a@example.org"), None).await;
    assert!(matches!(made, Err(Refused::InProgress)), "{made:?}");
    let untouched = "SELECT count(*) FROM pgusher.registrations
        WHERE step = 'claimed' AND held_by = 'another' AND failure IS NULL";
    assert_eq!(office.count(untouched).await, 1);
}

#[tokio::test]
async fn fifty_quick_registrations_are_fifty_tenants() {
    let office = Office::open().await;
    let all = (0..50).map(|n| {
        let registration = office.registration.clone();
        async move { registration.register(organisation(&format!("n{n}@example.org")), None).await }
    });
    let ids: std::collections::BTreeSet<_> =
        join_all(all).await.into_iter().map(|made| made.unwrap().tenant).collect();
    assert_eq!(ids.len(), 50);
    assert_eq!(office.census().await, (50, 50, 50));
}

#[tokio::test]
async fn a_warm_database_is_claimed_once_and_replaced() {
    let office = Office::over(Cluster::start(), Wish { warm: 2, ..Wish::default() }).await;
    office.presence.beat().await.unwrap();
    assert_eq!(office.warm.fill().await.unwrap(), 2);
    let tries = (0..3).map(|n| {
        let registration = office.registration.clone();
        async move { registration.register(organisation(&format!("w{n}@example.org")), None).await }
    });
    for made in join_all(tries).await {
        made.unwrap();
    }
    assert_eq!(office.count("SELECT count(*) FROM pgusher.registrations WHERE was_warm").await, 2);
    assert_eq!(office.count("SELECT count(*) FROM pgusher.warm_databases").await, 0);
    // A taken e-mail claims none.
    assert_eq!(office.warm.fill().await.unwrap(), 2);
    let taken = office.registration.register(organisation("w0@example.org"), None).await;
    assert!(matches!(taken, Err(Refused::EmailTaken)));
    let ready = "SELECT count(*) FROM pgusher.warm_databases WHERE state = 'ready'";
    assert_eq!(office.count(ready).await, 2);
    assert_eq!(office.janitor.pass().await.unwrap().dropped, 0);
    assert_eq!(office.census().await, (3, 5, 5));
}

#[tokio::test]
async fn what_a_crash_left_is_finished_or_undone() {
    let office = Office::open().await;
    let done = office.registration.register(organisation("ok@example.org"), None).await.unwrap();
    let client = office.registry.client().await.unwrap();
    let job = |tenant: &str, step: &str| {
        format!(
            "INSERT INTO pgusher.registrations (id, body_digest, email, email_hash, church_name,
                 tenant_id, server, admin_id, step, held_by)
             VALUES ('{tenant}', '', '{tenant}@example.org', '{tenant}', 'Church', '{tenant}',
                 'main', 'admin', '{step}', 'a process that died')"
        )
    };
    let server = &office.servers["main"];
    let id = |text: &str| TenantId::parse(text).unwrap();
    // Killed after R1, during the clone, before R2, after R2; a failure somebody was told of.
    for tenant in ["r1", "cloning", "cloned", "written", "told"] {
        client.batch_execute(&job(tenant, "claimed")).await.unwrap();
    }
    let half =
        "CREATE DATABASE tenant_cloning TEMPLATE pgusher_template_v3 ALLOW_CONNECTIONS false";
    client.batch_execute(half).await.unwrap();
    for tenant in ["cloned", "written", "told"] {
        server.ensure_tenant(&id(tenant), 1).await.unwrap();
    }
    let admin = pgusher::control::provision::NewAdmin {
        id: "admin".into(),
        email: "written@example.org".into(),
        password: "hash".into(),
        first_name: "A".into(),
        last_name: "B".into(),
    };
    for tenant in ["written", "told"] {
        server.ensure_admin(&id(tenant), &admin).await.unwrap();
    }
    let told = "UPDATE pgusher.registrations SET failure = 'no' WHERE id = 'told'";
    client.batch_execute(told).await.unwrap();
    // And a warm database that was never finished.
    let warm = "INSERT INTO pgusher.warm_databases (tenant_id, server, schema_version, key_version)
                VALUES ('halfwarm', 'main', '3.1', 1)";
    client.batch_execute(warm).await.unwrap();
    server.ensure_tenant(&id("halfwarm"), 1).await.unwrap();
    drop(client);

    let swept = office.janitor.pass().await.unwrap();
    assert_eq!((swept.finished, swept.undone, swept.dropped, swept.left), (1, 4, 1, 0));
    assert_eq!(office.census().await, (2, 2, 2));
    assert!(office.directory.tenant(&id("written")).await.is_ok());
    assert!(office.directory.tenant(&done.tenant).await.is_ok());
    assert_eq!(
        office.janitor.pass().await.unwrap(),
        pgusher::control::registration::Swept::default()
    );
    // An undone e-mail is free again.
    office.registration.register(organisation("r1@example.org"), None).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_leaves_nothing_half_made() {
    let office = Office::open().await;
    office.servers["main"].ensure_server().await.unwrap();
    let admin = office.cluster.connect("postgres").await;
    admin.batch_execute("ALTER DATABASE pgusher_template_v3 RENAME TO elsewhere").await.unwrap();
    let refused = office.registration.register(organisation("a@example.org"), None).await;
    assert!(matches!(refused, Err(Refused::Failed(_))), "{refused:?}");
    assert_eq!(office.census().await, (0, 0, 0));
    admin.batch_execute("ALTER DATABASE elsewhere RENAME TO pgusher_template_v3").await.unwrap();
    office.registration.register(organisation("a@example.org"), None).await.unwrap();
}

#[tokio::test]
async fn an_admin_logs_in_refreshes_and_logs_out() {
    let office = Office::open().await;
    let made = office.registration.register(organisation("a@example.org"), None).await.unwrap();
    let login = |email: &'static str, password: &'static str| {
        let login = office.login.clone();
        async move { login.login(email, password.into(), None).await }
    };
    let wanted = login(" A@example.org", "correct horse").await.unwrap();
    assert_eq!((wanted.tenant, wanted.admin.id), (made.tenant.clone(), made.admin.id));
    assert_eq!(wanted.church.subscription_status, "trial");
    for (email, password) in
        [("a@example.org", "wrong"), ("b@example.org", "correct horse"), ("garbage", "x")]
    {
        let refused = login(email, password).await;
        assert!(matches!(refused, Err(Refused::Credentials)), "{email}");
    }
    // Rotation; reuse ends the family.
    let first = wanted.tokens.refresh;
    let (_, second) = office.login.refresh(&first).await.unwrap();
    let (_, third) = office.login.refresh(&second.refresh).await.unwrap();
    for spent in [&first, &second.refresh, &third.refresh] {
        let refused = office.login.refresh(spent).await;
        assert!(matches!(refused, Err(Refused::Credentials)));
    }
    // The other login of the same admin lives on, until its logout.
    let (_, other) = office.login.refresh(&made.tokens.unwrap().refresh).await.unwrap();
    office.sessions.end(&other.refresh, None).await.unwrap();
    assert!(office.login.refresh(&other.refresh).await.is_err());
    // A suspended tenant logs nobody in.
    let fleet = Fleet::new(office.registry.clone());
    fleet.suspend(&made.tenant, "unpaid").await.unwrap();
    office.directory.forget(&made.tenant);
    let refused = login("a@example.org", "correct horse").await;
    assert!(matches!(refused, Err(Refused::Credentials)));
    fleet.resume(&made.tenant).await.unwrap();
    office.directory.forget(&made.tenant);
    login("a@example.org", "correct horse").await.unwrap();
}

#[tokio::test]
async fn operators_suspend_limit_and_drop() {
    let office = Office::open().await;
    let made = office.registration.register(organisation("a@example.org"), None).await.unwrap();
    let fleet = Fleet::new(office.registry.clone());
    let limits = LimitOverrides {
        server_max: Some(7),
        queue_timeout: Some(Duration::from_secs(9)),
        ..LimitOverrides::default()
    };
    fleet.limit(&made.tenant, limits, None).await.unwrap();
    fleet.suspend(&made.tenant, "unpaid").await.unwrap();
    let tenant = office.directory.tenant(&made.tenant).await.unwrap();
    assert_eq!((*tenant.limits, tenant.status), (limits, Status::Suspended));
    apply_tenant(&tenant, &office.servers, tenant.limits.server_max).await.unwrap();
    let login = tenant.login(Role::App);
    let enter =
        || office.cluster.try_connect(&login.user, login.password.expose(), &tenant.database);
    assert!(enter().await.is_err());
    let capped = "SELECT count(*) FROM pg_database WHERE datconnlimit = 7";
    assert_eq!(office.count(capped).await, 1);
    fleet.drop_tenant(&made.tenant, &office.servers).await.unwrap();
    assert_eq!(office.census().await, (0, 0, 0));
    assert!(matches!(fleet.suspend(&made.tenant, "x").await, Err(Refused::NotFound)));
    assert!(matches!(
        fleet.drop_tenant(&made.tenant, &office.servers).await,
        Err(Refused::NotFound)
    ));
    office.registration.register(organisation("a@example.org"), None).await.unwrap();
}

#[tokio::test]
async fn a_full_server_whose_last_tenant_is_dropped_takes_one_again() {
    let office = Office::over(Cluster::start(), Wish { tenants_max: 1, ..Wish::default() }).await;
    let made = office.registration.register(organisation("a@example.org"), None).await.unwrap();
    let health = office.health.clone();
    let watching = tokio::spawn(async move { health.run().await });
    let has_room = || office.health.has_room(&office.servers["main"]);
    until("it is full", || async { !has_room() }).await;
    Fleet::new(office.registry.clone()).drop_tenant(&made.tenant, &office.servers).await.unwrap();
    until("it has room", || async { has_room() }).await;
    office.registration.register(organisation("b@example.org"), None).await.unwrap();
    watching.abort();
}

#[tokio::test]
async fn changes_are_heard_and_a_gap_is_told() {
    let office = Office::open().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (sink, registry) = (heard.clone(), office.registry.clone());
    let listener =
        tokio::spawn(
            async move { listen(&registry, |change| sink.lock().unwrap().push(change)).await },
        );
    let has = |wanted: Change| {
        let heard = heard.clone();
        move || {
            let found = heard.lock().unwrap().contains(&wanted);
            async move { found }
        }
    };
    until("listening", has(Change::Gap)).await;
    heard.lock().unwrap().clear();
    let made = office.registration.register(organisation("a@example.org"), None).await.unwrap();
    until("the tenant", has(Change::Tenant(made.tenant.clone()))).await;
    heard.lock().unwrap().clear();
    let client = office.registry.client().await.unwrap();
    let touch = "UPDATE public.\"Tenant\" SET \"lastAccessedAt\" = now(), \"updatedAt\" = now()";
    client.batch_execute(touch).await.unwrap();
    Fleet::new(office.registry.clone()).suspend(&made.tenant, "x").await.unwrap();
    until("the suspension", has(Change::Tenant(made.tenant.clone()))).await;
    assert_eq!(heard.lock().unwrap().len(), 1, "lastAccessedAt is no change");
    // The registry goes away and comes back.
    let tenant = office.directory.tenant(&made.tenant).await.unwrap();
    drop(client);
    office.cluster.down();
    office.directory.forget_all();
    let stale = office.directory.tenant(&made.tenant).await.unwrap();
    assert_eq!(stale.id, tenant.id);
    let unknown = office.directory.tenant(&TenantId::parse("stranger").unwrap()).await;
    assert_eq!(unknown.unwrap_err().state().as_str(), "57P03");
    office.cluster.up();
    until("the gap", has(Change::Gap)).await;
    let unknown = office.directory.tenant(&TenantId::parse("stranger").unwrap()).await;
    assert_eq!(unknown.unwrap_err().state().as_str(), "3D000");
    listener.abort();
}

#[tokio::test]
async fn a_new_registry_has_five_tables_and_the_tenant_eighteen_columns() {
    let office = Office::open().await;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(office.count(tables).await, 5);
    let columns = "SELECT count(*) FROM information_schema.columns \
                   WHERE table_schema = 'public' AND table_name = 'Tenant'";
    assert_eq!(office.count(columns).await, 18);
    let indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public' \
                   AND indexname LIKE 'idx\\_tenant\\_%'";
    assert_eq!(office.count(indexes).await, 5);
}
