//! What is revoked at one pgusher is cut at the other, in the middle of a query.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use world::http::{Answer, call};
use world::served::Served;
use world::tools::pgusher as run;
use world::wire::{Conn, Login, Refusal};
use world::{Plan, Tenant, World, bare, code, eventually, report};

/// The promise is a second; a machine that is busy with other tests is given more.
const BOUND: Duration = Duration::from_secs(3);

/// A session on the second process, asleep in PostgreSQL.
fn asleep(world: &World, other: &Served, login: &Login) -> Conn {
    let mut session = Conn::login(other.listen, login).unwrap_or_else(|e| panic!("{e:?}"));
    let sql = b"select pg_sleep(60)\0";
    let length = u32::try_from(sql.len() + 4).unwrap();
    session.say(&[b"Q", &length.to_be_bytes()[..], sql].concat()).unwrap();
    let mut superuser = world.superuser("postgres");
    let running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' \
                   and state = 'active'";
    eventually(Duration::from_secs(10), "PostgreSQL sleeps", || {
        (superuser.one(running).as_deref() == Ok("1")).then_some(())
    });
    session
}

/// Does `revoke` while a session sleeps; says how long it took until that was cut.
fn cut_by(
    world: &World,
    other: &Served,
    (what, login): (&str, &Login),
    revoke: impl FnOnce() + Send,
) {
    let mut session = asleep(world, other, login);
    let mut neighbour = Conn::login(other.listen, &world.tenants[1].login()).unwrap();
    let begun = Instant::now();
    let took = std::thread::scope(|scope| {
        scope.spawn(revoke);
        let last = session.farewell();
        let took = begun.elapsed();
        let error = last.iter().find(|m| m.tag == b'E').expect("it is told why");
        assert_eq!(Refusal::parse(&error.body).code, "57P01", "{what}");
        took
    });
    report(&format!("{what}: cut on the other process after {} ms", took.as_millis()));
    assert!(took < BOUND, "{what}: cut after {took:?}");
    assert_eq!(neighbour.one("select 1").as_deref(), Ok("1"), "the neighbour notices nothing");
    // It opens nothing any more, at neither process.
    for at in [world.listen, other.listen] {
        eventually(Duration::from_secs(1), "it is refused", || {
            (code(Conn::login(at, login)) == "28P01").then_some(())
        });
    }
    let mut superuser = world.superuser("postgres");
    let left = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' \
                and state = 'active'";
    eventually(Duration::from_secs(10), "PostgreSQL does not sleep on", || {
        (superuser.one(left).as_deref() == Ok("0")).then_some(())
    });
}

fn enter(world: &World, tenant: &Tenant) -> Value {
    let body = json!({ "email": tenant.email, "password": tenant.password });
    let answer = call(world.http, "POST", "/api/auth/login", &[], &body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}")).to_owned()
}

fn api(world: &World, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    call(world.http, method, path, &[("authorization", &bearer)], body)
}

#[test]
fn a_session_of_another_process_is_cut_within_a_second_of_its_revocation() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let other = Served::beside(&world, "");
    let tenant = &world.tenants[0];
    let database = tenant.database();

    let entered = enter(&world, tenant);
    let token = text(&entered, "accessToken");
    let login = Login::new("app", &token, &database);
    cut_by(&world, &other, ("a token", &login), || {
        let body = json!({ "refreshToken": entered["refreshToken"] }).to_string();
        assert_eq!(api(&world, "POST", "/api/auth/logout", &token, &body).status, 204);
    });
    assert_eq!(api(&world, "GET", "/api/tenant", &token, "").status, 401);

    let entered = enter(&world, tenant);
    let token = text(&entered, "accessToken");
    let made = api(&world, "POST", "/api/tenant/keys", &token, r#"{"name":"k"}"#).json;
    let login = Login::new(&text(&made, "user"), &text(&made, "secret"), &database);
    cut_by(&world, &other, ("a key", &login), || {
        let path = format!("/api/tenant/keys/{}", text(&made, "id"));
        assert_eq!(api(&world, "DELETE", &path, &token, "").status, 204);
    });

    let login = Login::new("app", &token, &database);
    cut_by(&world, &other, ("an admin", &login), || {
        assert_eq!(api(&world, "DELETE", "/api/auth/sessions", &token, "").status, 204);
    });
    let refresh = json!({ "refreshToken": entered["refreshToken"] }).to_string();
    let refused = call(world.http, "POST", "/api/auth/refresh", &[], &refresh);
    refused.assert_problem(401);

    // Who logs in after it is in: the token of now is not mistaken for one of before.
    let entered = enter(&world, tenant);
    let token = text(&entered, "accessToken");
    assert_eq!(api(&world, "GET", "/api/tenant", &token, "").status, 200);
    let login = Login::new("app", &token, &database);
    cut_by(&world, &other, ("a tenant", &login), || {
        let revoke = ["token", "revoke", "--tenant", &tenant.id, "--all"];
        let (exit, json) = run(&[&revoke[..], &["--registry", &world.registry]].concat());
        assert_eq!(exit, 0, "{json}");
    });
    let key = Login::new(&tenant.key_user, &tenant.key_secret, &database);
    assert_eq!(code(world.login(&key)), "28P01", "its keys with it");
    world.assert_no_panic();
}

#[test]
fn only_the_primary_admin_ends_others_sessions() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let tenant = &world.tenants[0];
    let mut inside = world.superuser(&tenant.database());
    let copied = r#"insert into "Admin" (id, email, password, "firstName", "lastName", role)
        select 'second', 'second@example.org', password, 'S', 'E', 'ADMIN' from "Admin""#;
    inside.query(copied).unwrap();
    // Known to the registry as an admin's e-mail is: by the hash the API itself would write.
    let key = std::fs::read_to_string(world.dir.join("data/master.key")).unwrap();
    let key = pgusher::tenant::MasterKey::new(&key.as_str().into()).unwrap();
    let hash = pgusher::units::hex(&key.derive("e-mail", &[b"second@example.org"]));
    let mut registry = world.superuser(&world.registry_database());
    let id = &tenant.id;
    let row = format!(
        r#"insert into "AdminEmailIndex" ("emailHash", "tenantId") values ('{hash}', '{id}')"#
    );
    registry.query(&row).unwrap();
    let second = Tenant { email: "second@example.org".into(), ..tenant.clone() };
    let entered = enter(&world, &second);
    assert_eq!(entered["admin"]["role"], "ADMIN");
    let (primary, token) =
        (text(&enter(&world, tenant), "accessToken"), text(&entered, "accessToken"));
    let path = "/api/tenant/admins/second/sessions";
    api(&world, "DELETE", path, &token, "").assert_problem(403);
    api(&world, "DELETE", "/api/tenant/admins/nobody/sessions", &primary, "").assert_problem(404);
    let stranger = text(&enter(&world, &world.tenants[1]), "accessToken");
    api(&world, "DELETE", path, &stranger, "").assert_problem(404);
    assert_eq!(api(&world, "GET", "/api/tenant", &token, "").status, 200);

    // What the admin may do is asked for anew with every refresh.
    inside.query(r#"update "Admin" set role = 'PRIMARY' where id = 'second'"#).unwrap();
    let refresh = json!({ "refreshToken": entered["refreshToken"] }).to_string();
    let fresh = call(world.http, "POST", "/api/auth/refresh", &[], &refresh).json;
    let token = text(&fresh, "accessToken");
    assert_eq!(api(&world, "GET", "/api/tenant/keys", &token, "").status, 200, "primary now");

    assert_eq!(api(&world, "DELETE", path, &primary, "").status, 204);
    eventually(Duration::from_secs(1), "the second is out", || {
        (api(&world, "GET", "/api/tenant", &token, "").status == 401).then_some(())
    });
    assert_eq!(api(&world, "GET", "/api/tenant", &primary, "").status, 200, "who did it is not");
    // Deleted: the refresh token is worth nothing either.
    let again = enter(&world, &second);
    inside.query(r#"delete from "Admin" where id = 'second'"#).unwrap();
    let refresh = json!({ "refreshToken": again["refreshToken"] }).to_string();
    call(world.http, "POST", "/api/auth/refresh", &[], &refresh).assert_problem(401);
    world.assert_no_panic();
}

/// Lives and dies with nobody's NOTIFY: only reading the registry tells of it.
const SILENTLY: &str = "set session_replication_role = replica";

#[test]
fn a_revocation_missed_in_a_gap_is_read_when_the_registry_can_be_read_again() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let tenant = &world.tenants[0];
    let (id, token) = (&tenant.id, text(&enter(&world, tenant), "accessToken"));
    let login = Login::new("app", &token, &tenant.database());
    let mut session = world.login(&login).unwrap();
    let mut registry = world.superuser(&world.registry_database());
    registry.query(SILENTLY).unwrap();
    let rows = "alter table pgusher.revocations rename to";
    registry.query(&format!("{rows} away")).unwrap();
    let revoked = format!(
        "insert into pgusher.away (kind, value, tenant_id, not_before, expires_at)
         values ('tenant', '{id}', '{id}', now() + interval '2 seconds', '9999-12-31')"
    );
    registry.query(&revoked).unwrap();
    let gap = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()";
    registry.query(gap).unwrap();
    eventually(Duration::from_secs(20), "it cannot be read, and says so", || {
        let behind = world.metrics().lines().any(|line| line == "pgusher_boot_changes_missed 1");
        (behind && world.log().contains("cannot be read yet")).then_some(())
    });
    assert_eq!(session.one("select 1").as_deref(), Ok("1"), "nobody knows yet");
    registry.query("alter table pgusher.away rename to revocations").unwrap();
    let last = session.farewell();
    let error = last.iter().find(|m| m.tag == b'E').expect("it is told why");
    assert_eq!(Refusal::parse(&error.body).code, "57P01");
    assert_eq!(code(world.login(&login)), "28P01");
    eventually(Duration::from_secs(5), "nothing is missed any more", || {
        world.metrics().lines().any(|line| line == "pgusher_boot_changes_missed 0").then_some(())
    });
    world.assert_no_panic();
}

#[test]
fn a_revocation_lasts_as_long_as_what_it_stops() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(2));
    let (tenant, neighbour) = (&world.tenants[0], &world.tenants[1]);
    let revoke = |what: &[&str]| {
        let args = ["token", "revoke", "--tenant", &tenant.id, "--registry", &world.registry];
        assert_eq!(run(&[&args[..], what].concat()).0, 0);
    };
    revoke(&["--token-id", "nobody-knows-until-when"]);
    revoke(&["--admin", "somebody"]);
    revoke(&["--all"]);
    let mut registry = world.superuser(&world.registry_database());
    let kept = "select count(*) from pgusher.revocations where expires_at >= '9999-01-01'";
    assert_eq!(registry.one(kept).as_deref(), Ok("3"));

    // One that is out by its own end: it is over a day after that, whoever heard of it.
    let entered = enter(&world, neighbour);
    let token = text(&entered, "accessToken");
    let body = json!({ "refreshToken": entered["refreshToken"] }).to_string();
    assert_eq!(api(&world, "POST", "/api/auth/logout", &token, &body).status, 204);
    let short = "select count(*) from pgusher.revocations where kind = 'token'
                 and expires_at between now() + interval '1 day' and now() + interval '25 hours'";
    assert_eq!(registry.one(short).as_deref(), Ok("1"));
}

#[test]
fn a_key_that_is_revoked_in_the_middle_of_a_login_lets_nobody_in() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(2));
    let tenant = &world.tenants[0];
    let token = text(&enter(&world, tenant), "accessToken");
    let made = api(&world, "POST", "/api/tenant/keys", &token, r#"{"name":"k"}"#).json;
    let login = Login::new(&text(&made, "user"), &text(&made, "secret"), &tenant.database());
    world.login(&login).unwrap();
    let mut conn = Conn::dial(world.listen);
    conn.say(&login.startup()).unwrap();
    let proven = conn.authenticate_after(&login.password, || {
        let path = format!("/api/tenant/keys/{}", text(&made, "id"));
        assert_eq!(api(&world, "DELETE", &path, &token, "").status, 204);
        // It has been heard of.
        eventually(Duration::from_secs(5), "it is refused", || {
            (code(world.login(&login)) == "28P01").then_some(())
        });
    });
    let refused = proven.expect_err("it was let in");
    assert!(["28P01", "57P01"].contains(&&*refused.code), "{refused:?}");
}
