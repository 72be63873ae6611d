//! What fails behind pgusher: each failure gives its documented SQLSTATE to exactly the sessions
//! concerned, and service resumes by itself.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use world::postmaster::Postmaster;
use world::served::Served;
use world::wire::{Conn, Refusal, query};
use world::{Plan, World, bare, code, eventually, http, keys};

/// How soon service must be back once the cause is gone.
const RESUMED: Duration = Duration::from_secs(30);

fn works(session: &mut Conn) {
    assert_eq!(session.one("select 1").as_deref(), Ok("1"));
}

/// The server process a session has now.
fn server_pid(session: &mut Conn) -> String {
    session.one("select pg_backend_pid()").unwrap()
}

fn lost_its_server(result: Result<String, Refusal>) {
    let refusal = result.expect_err("the transaction is lost");
    // What PostgreSQL said before it went (57P01, 57P02), or that it went.
    let mut known = vec!["57P01", "57P02", "08006"];
    if bare::wanted() {
        known.push("closed");
    }
    assert!(known.contains(&&*refusal.code), "{refusal:?}");
}

#[test]
fn killing_postgresql_is_08006_until_it_is_back() {
    let world = World::start(Plan::tenants(3));
    let postmaster = Postmaster::of(&world);
    let mut idle = world.session(0);
    works(&mut idle);
    // Behind a tenant's first statement its functions are read, and who knows what that one called:
    // a session whose server dies in that moment ends with it. The second finds that done.
    works(&mut idle);
    let mut busy = world.session(1);
    busy.query("begin").unwrap();
    works(&mut busy);
    let mut running = world.session(1);
    running.say(&query("select pg_sleep(60)")).unwrap();
    postmaster.kill();

    lost_its_server(running.rows().map(|_| String::new()));
    lost_its_server(busy.one("select 1"));
    let asked = Instant::now();
    let refused = idle.one("select 1");
    if postmaster.pid().is_none() && !bare::wanted() {
        assert_eq!(code(refused), "08006", "an idle session survives the outage");
        let newcomer = world.login(&world.tenants[2].login());
        assert_eq!(code(newcomer.and_then(|mut s| s.one("select 1"))), "08006");
        assert!(asked.elapsed() < Duration::from_secs(20), "refused after {:?}", asked.elapsed());
        assert_eq!(http::call(world.ops, "GET", "/healthz", &[], "").status, 200, "it lives");
    }
    postmaster.revive(&world);

    if !bare::wanted() {
        eventually(RESUMED, "the idle session works again", || match idle.one("select 1") {
            Err(refusal) if refusal.code == "closed" => panic!("it was ended: {refusal:?}"),
            answer => answer.ok(),
        });
    }
    for n in 0..3 {
        let fresh = || world.login(&world.tenants[n].login()).ok()?.one("select 1").ok();
        eventually(RESUMED, "new sessions work again", fresh);
    }
    world.assert_no_panic();
}

#[test]
fn a_role_that_changes_its_password_does_not_lock_the_tenant_out() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let mut session = world.session(0);
    let role = session.one("select current_user").unwrap();
    session.query(&format!("alter role {role} password 'mine'")).unwrap();
    // Every server there is goes, so that a new one has to be dialled.
    let sql = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = ";
    world.superuser("postgres").query(&format!("{sql}'{role}'")).unwrap();
    let fresh = || world.login(&world.tenants[0].login()).ok()?.one("select 1").ok();
    eventually(Duration::from_secs(20), "the login is put back", fresh);
    works(&mut world.session(1));
    // Once, and with its name: what comes of it later is for the operator to see.
    let sql = "select tenant_id from pgusher.audit where action = 'logins put back'";
    let audited = eventually(RESUMED, "it is audited", || {
        let rows = world.superuser(&world.registry_database()).query(sql).unwrap();
        (!rows.is_empty()).then_some(rows)
    });
    assert_eq!(audited, [[Some(world.tenants[0].id.clone())]]);
    world.assert_no_panic();
}

#[test]
fn a_database_that_is_closed_is_told_to_the_operator_by_name() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    works(&mut world.session(1));
    let (id, database) = (&world.tenants[0].id, world.tenants[0].database());
    let mut superuser = world.superuser("postgres");
    superuser.query(&format!("alter database {database} allow_connections false")).unwrap();
    let sql = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = ";
    superuser.query(&format!("{sql}'{database}'")).unwrap();
    let refused = world.login(&world.tenants[0].login()).and_then(|mut s| s.one("select 1"));
    assert_eq!(code(refused), "08006");
    eventually(Duration::from_secs(20), "the log names it", || {
        let log = world.log();
        let mut lines = log.lines().filter(|line| line.contains("cannot be entered"));
        lines.any(|line| line.contains("ERROR") && line.contains(&**id)).then_some(())
    });
    works(&mut world.session(1));
    superuser.query(&format!("alter database {database} allow_connections true")).unwrap();
    let fresh = || world.login(&world.tenants[0].login()).ok()?.one("select 1").ok();
    eventually(Duration::from_secs(20), "the tenant is back", fresh);
    world.assert_no_panic();
}

#[test]
fn killing_one_backend_hurts_its_own_session_only() {
    let world = World::start(Plan::default());
    let mut superuser = world.superuser("postgres");
    let mut victim = world.session(0);
    let mut neighbour = world.session(0);
    let mut other = world.session(1);
    for session in [&mut victim, &mut neighbour, &mut other] {
        session.query("begin").unwrap();
    }
    let pid = server_pid(&mut victim);
    superuser.query(&format!("select pg_terminate_backend({pid}, 10000)")).unwrap();
    lost_its_server(victim.one("select 1"));
    for session in [&mut neighbour, &mut other] {
        works(session);
        session.query("commit").unwrap();
    }
    // In the middle of a result.
    let mut reader = world.session(0);
    reader.query("begin").unwrap();
    let pid = server_pid(&mut reader);
    reader.say(&query("select repeat('x', 1000), generate_series(1, 100000000)")).unwrap();
    while reader.hear().unwrap().tag != b'D' {}
    superuser.query(&format!("select pg_terminate_backend({pid}, 10000)")).unwrap();
    let refusal = reader.rows().unwrap_err();
    // In the middle of a row nothing can be said any more.
    assert!(["57P01", "08006", "closed"].contains(&&*refusal.code), "{refusal:?}");
    // One that idles in the pool: nobody notices.
    for _ in 0..5 {
        works(&mut neighbour);
        let sql = "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity \
                   where datname like 'tenant\\_%' and state = 'idle'";
        superuser.query(sql).unwrap();
        if !bare::wanted() {
            works(&mut neighbour);
            works(&mut other);
        }
        neighbour = world.session(0);
    }
    eventually(RESUMED, "new sessions work", || {
        world.login(&world.tenants[0].login()).ok()?.one("select 1").ok()
    });
    world.assert_no_panic();
}

#[test]
fn without_the_registry_the_known_are_served_and_the_rest_are_told() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let mut known = world.session(0);
    works(&mut known);
    works(&mut world.session(1));
    let registry = world.registry_database();
    let mut superuser = world.superuser("postgres");
    superuser.query(&format!("alter database \"{registry}\" allow_connections false")).unwrap();
    let sql = format!(
        "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity \
         where datname = '{registry}'"
    );
    superuser.query(&sql).unwrap();

    for _ in 0..20 {
        works(&mut known);
        works(&mut world.session(0));
        works(&mut world.session(1));
    }
    let body = r#"{"email":"new@example.org","password":"correct horse battery","firstName":"N",
                   "lastName":"E","churchName":"New"}"#;
    let answer = http::call(world.http, "POST", "/api/auth/register", &[], body);
    answer.assert_problem(503);
    let key = world::wire::Login::new("key_unknownunknown", "x", "app");
    let refused = code(world.login(&key));
    assert!(["28P01", "57P03", "08006"].contains(&&*refused), "{refused}");
    let ready = http::call(world.ops, "GET", "/readyz", &[], "");
    assert_eq!((ready.status, &ready.json["registry"]), (200, &"away".into()), "{}", ready.text);

    // A login its owner has changed is put back all the same.
    let role = known.one("select current_user").unwrap();
    superuser.query(&format!("alter role {role} password 'mine'")).unwrap();
    let sql = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = ";
    superuser.query(&format!("{sql}'{role}'")).unwrap();
    let fresh = || world.login(&world.tenants[0].login()).ok()?.one("select 1").ok();
    eventually(RESUMED, "the login is put back without the registry", fresh);
    works(&mut world.session(0));

    superuser.query(&format!("alter database \"{registry}\" allow_connections true")).unwrap();
    eventually(RESUMED, "registrations work again", || {
        let answer = http::call(world.http, "POST", "/api/auth/register", &[], body);
        (answer.status == 201).then_some(())
    });
    works(&mut world.session(1));
    world.assert_no_panic();
}

#[test]
fn while_the_last_sessions_end_it_is_not_ready() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let served = Served::beside(&world, "");
    let mut session = Conn::login(served.listen, &world.tenants[0].login()).unwrap();
    session.query("begin").unwrap();
    works(&mut session);
    let ask = |path| http::call(served.ops, "GET", path, &[], "");
    let totals = ask("/tenants").json["totals"].clone();
    assert!(totals["servers"].as_u64().is_some_and(|servers| servers > 0), "{totals}");
    assert_eq!(ask("/readyz").status, 200);
    served.terminate();
    let unready = eventually(RESUMED, "clients are sent elsewhere", || {
        Some(ask("/readyz")).filter(|ready| ready.status == 503)
    });
    assert_eq!(unready.json["reasons"], serde_json::json!(["shutting down"]), "{}", unready.text);
    assert_eq!(ask("/healthz").status, 200, "it lives");
    works(&mut session);
    session.query("commit").unwrap();
}

#[test]
fn on_a_registry_that_is_a_migration_short_it_is_not_ready() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let mut registry = world.superuser(&world.registry_database());
    let newest = "number = (select max(number) from public._pgusher_migrations)";
    registry
        .query(&format!(
            "create table public.kept as select * from public._pgusher_migrations where {newest}; \
             delete from public._pgusher_migrations where {newest}"
        ))
        .unwrap();
    let served = Served::beside(&world, "");
    let ready = || http::call(served.ops, "GET", "/readyz", &[], "");
    assert_eq!(ready().status, 503);
    registry.query("insert into public._pgusher_migrations select * from public.kept").unwrap();
    eventually(RESUMED, "it serves", || (ready().status == 200).then_some(()));
    works(&mut Conn::login(served.listen, &world.tenants[0].login()).unwrap());
}

#[test]
fn a_full_queue_is_53300_with_the_figures() {
    if bare::wanted() {
        return;
    }
    let plan = Plan::default()
        .set(keys::SERVER_MAX, "1")
        .set(keys::QUEUE_MAX, "1")
        .set(keys::QUEUE_TIMEOUT, "2s");
    let world = World::start(plan);
    let mut holder = world.session(0);
    let mut waiter = world.session(0);
    let mut third = world.session(0);
    let mut other = world.session(1);
    holder.query("begin").unwrap();
    works(&mut holder);
    let started = Instant::now();
    waiter.say(&query("select 1")).unwrap();
    let path = format!("/tenants/{}", world.tenants[0].id);
    eventually(Duration::from_secs(2), "the waiter is in line", || {
        let body = http::call(world.ops, "GET", &path, &[], "").text;
        body.replace(' ', "").contains("\"waiting\":1").then_some(())
    });
    let full = third.one("select 1").unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(1900), "it did not wait");
    assert_eq!((&*full.code, &*full.severity), ("53300", "ERROR"), "{full:?}");
    let timed_out = waiter.rows().unwrap_err();
    let waited = started.elapsed();
    assert_eq!((&*timed_out.code, &*timed_out.severity), ("53300", "ERROR"), "{timed_out:?}");
    assert!((1900..6000).contains(&waited.as_millis()), "waited {waited:?}");
    assert!(full.detail.contains("queue_max: 1 of 1 clients are waiting; 1 of 1"), "{full:?}");
    let figures = "server_max: 1 of 1 server connections are in use, 0 of them pinned; waited 2";
    assert!(timed_out.detail.contains(figures), "{timed_out:?}");
    assert!(timed_out.detail.contains("at position 1 of 1 in line"), "{timed_out:?}");
    assert!(!full.hint.is_empty() && !timed_out.hint.is_empty());
    works(&mut other);
    works(&mut holder);
    holder.query("commit").unwrap();
    for session in [&mut waiter, &mut third, &mut holder] {
        works(session);
    }
    // An ERROR inside an extended batch skips to its Sync, and the session lives.
    holder.query("begin").unwrap();
    works(&mut holder);
    let batch = [world::wire::parse("", "select 2"), world::wire::bind("", &[])].concat();
    let tail = [world::wire::execute(), world::wire::sync()].concat();
    waiter.say(&[batch, tail].concat()).unwrap();
    assert_eq!(code(waiter.rows()), "53300");
    holder.query("commit").unwrap();
    works(&mut waiter);
    world.assert_no_panic();
}

#[test]
fn the_client_cap_is_53300_for_the_one_too_many() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default().set(keys::CLIENT_MAX, "3"));
    let mut sessions: Vec<_> = (0..3).map(|_| world.session(0)).collect();
    let refusal = world.login(&world.tenants[0].login()).err().expect("the fourth is refused");
    assert_eq!((&*refusal.code, &*refusal.severity), ("53300", "FATAL"), "{refusal:?}");
    assert!(refusal.text().contains('3'), "{refusal:?}");
    works(&mut world.session(1));
    sessions.iter_mut().for_each(works);
    drop(sessions.pop());
    eventually(RESUMED, "a place is free", || world.login(&world.tenants[0].login()).ok());
}

#[test]
fn revoked_connect_concerns_new_servers_of_that_tenant_only() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let database = world.tenants[0].database();
    let mut holder = world.session(0);
    let role = holder.one("select current_user").unwrap();
    holder.query("begin").unwrap();
    works(&mut holder);
    let mut superuser = world.superuser(&database);
    let sql = format!("revoke connect on database \"{database}\" from \"{role}\", public");
    superuser.query(&sql).unwrap();

    works(&mut holder);
    let refusal = eventually(RESUMED, "a dial is refused", || {
        // The one idle server may still be given once; hold what is got.
        let mut session = world.login(&world.tenants[0].login()).ok()?;
        let refusal = session.query("begin; select 1").err();
        std::mem::forget(session);
        refusal
    });
    let known = ["08006", "42501", "28000"];
    assert!(known.contains(&&*refusal.code), "{refusal:?}");
    works(&mut holder);
    works(&mut world.session(1));

    superuser.query(&format!("grant connect on database \"{database}\" to \"{role}\"")).unwrap();
    eventually(RESUMED, "dials work again", || {
        world.login(&world.tenants[0].login()).ok()?.one("select 1").ok()
    });
    world.assert_no_panic();
}

#[test]
fn an_abandoned_transaction_is_never_handed_on() {
    let world = World::start(Plan::default().set(keys::SERVER_MAX, "1"));
    let mut first = world.session(0);
    first.query("create table public.abandoned (v int)").unwrap();
    drop(first);
    for n in 0..10 {
        let mut session = world.session(0);
        session.query(&format!("begin; insert into public.abandoned values ({n})")).unwrap();
        if n % 2 == 0 {
            session
                .say(&query("select pg_sleep(0.05), count(*) from generate_series(1, 99999)"))
                .unwrap();
        }
        drop(session);
        let mut next = world.session(0);
        assert_eq!(next.one("select count(*) from public.abandoned").as_deref(), Ok("0"), "{n}");
        assert_eq!(next.one("select pg_current_xact_id_if_assigned() is null").as_deref(), Ok("t"));
    }
    world.session(0).query("drop table public.abandoned").unwrap();
    world.assert_no_panic();
}
