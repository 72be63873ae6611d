//! What an operator types, against a running pgusher: it obeys within a second.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::process::Command;
use std::time::{Duration, Instant};

use pgusher::control::schema::MigrationSet;
use serde_json::{Value, json};
use world::operator::{cell, config};
use world::tools::pgusher as run;
use world::wire::{Conn, Login, Refusal};
use world::{Plan, World, bare, code, eventually};

/// How soon a running pgusher has done what the registry says.
const SOON: Duration = Duration::from_secs(1);

fn why_cut(session: &mut Conn) -> Option<String> {
    let last = session.farewell();
    last.iter().find(|m| m.tag == b'E').map(|m| Refusal::parse(&m.body).code)
}

#[test]
fn suspending_cuts_within_a_second_and_resuming_lets_in_again() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let (tenant, registry) = (&world.tenants[0], world.registry.as_str());
    let mut idle = world.session(0);
    let mut busy = world.session(0);
    let mut neighbour = world.session(1);
    busy.query("begin").unwrap();
    assert_eq!(idle.one("select 1").as_deref(), Ok("1"));

    let suspend = ["tenant", "suspend", &tenant.id, "--reason", "unpaid", "--registry", registry];
    let (exit, json) = run(&suspend);
    assert_eq!((exit, &json["status"]), (0, &json!("suspended")), "{json}");
    let said = Instant::now();
    assert_eq!(why_cut(&mut idle).as_deref(), Some("57P01"));
    assert_eq!(why_cut(&mut busy).as_deref(), Some("57P01"), "a transaction is no shelter");
    assert!(said.elapsed() < SOON, "cut after {:?}", said.elapsed());
    assert_eq!(code(world.login(&tenant.login())), "57P03");
    assert_eq!(neighbour.one("select 1").as_deref(), Ok("1"), "the neighbour notices nothing");
    let (_, shown) = run(&["tenant", "show", &tenant.id, "--registry", registry]);
    assert_eq!(shown["status"], "suspended");
    assert_eq!(shown["suspendedReason"], "unpaid");

    let (exit, _) = run(&["tenant", "resume", &tenant.id, "--registry", registry]);
    assert_eq!(exit, 0);
    let mut back =
        eventually(SOON, "the resumed tenant is let in", || world.login(&tenant.login()).ok());
    eventually(Duration::from_secs(5), "and served", || back.one("select 1").ok());
    let (_, listed) = run(&["tenant", "list", "--registry", registry]);
    let rows = listed["tenants"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{listed}");
    assert!(rows.iter().all(|row| row["status"] == "active"), "{listed}");
    world.assert_no_panic();
}

#[test]
fn limits_apply_to_a_running_pgusher() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let (tenant, registry) = (&world.tenants[0], world.registry.as_str());
    let mut first = world.session(0);
    let limits = |more: &[&str]| {
        let mut args = vec!["tenant", "limits", &tenant.id, "--registry", registry];
        args.extend(more);
        run(&args)
    };
    let (exit, json) = limits(&["--client-max", "1", "--server-max", "1", "--queue-timeout", "1s"]);
    assert_eq!(exit, 0, "{json}");
    assert_eq!(json["limits"]["clientMax"], 1);
    assert_eq!(json["limits"]["queueTimeoutMs"], 1000);
    eventually(SOON, "a second client is refused", || {
        (code(world.login(&tenant.login())) == "53300").then_some(())
    });
    assert_eq!(first.one("select 1").as_deref(), Ok("1"), "who is in stays in");
    // What is not named stays as it is; what is asked for is held by PostgreSQL too.
    let (_, json) = limits(&["--client-max", "5"]);
    assert_eq!(
        (&json["limits"]["clientMax"], &json["limits"]["serverMax"]),
        (&json!(5), &json!(1))
    );
    let mut second =
        eventually(SOON, "a second client is let in", || world.login(&tenant.login()).ok());
    let mut superuser = world.superuser("postgres");
    let cap =
        format!("select datconnlimit from pg_database where datname = '{}'", tenant.database());
    eventually(SOON, "CONNECTION LIMIT follows", || {
        (superuser.one(&cap).as_deref() == Ok("1")).then_some(())
    });
    first.query("begin").unwrap();
    first.query("select 1").unwrap();
    assert_eq!(code(second.one("select 1")), "53300", "one server, and it is taken");
    first.query("commit").unwrap();
    assert_eq!(second.one("select 1").as_deref(), Ok("1"));

    let (_, json) = limits(&["--reset"]);
    assert!(json["limits"].as_object().unwrap().values().all(Value::is_null), "{json}");
    assert_eq!(limits(&["--weight", "0"]).0, 2);
    assert_eq!(limits(&["--server-min", "3", "--server-max", "2"]).0, 2);
    assert_eq!(run(&["tenant", "limits", "nobody", "--weight", "2", "--registry", registry]).0, 1);
    world.assert_no_panic();
}

#[test]
fn a_tenant_made_here_is_like_any_other_until_it_is_dropped() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let file = config(&world, "");
    let who = ["--email", "new@example.org", "--first-name", "A", "--last-name", "B"];
    let mut create = vec!["tenant", "create", "--name", "New Church", "--config", &file];
    create.extend(who);
    let (exit, made) = run(&create);
    assert_eq!(exit, 0, "{made}");
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    let (id, database) = (text("tenantId"), text("databaseName"));
    let mut owner = world.login(&Login::new("x", &text("accessToken"), &database)).unwrap();
    owner.query("create table t (n int)").unwrap();
    assert_eq!(run(&create).0, 1, "the e-mail is taken");
    let login = json!({ "email": "new@example.org", "password": text("password") }).to_string();
    let answer = world::http::call(world.http, "POST", "/api/auth/login", &[], &login);
    assert_eq!(answer.status, 200, "{answer:?}");

    let issue = ["token", "issue", "--config", &file, "--tenant", &id];
    let (_, token) = run(&[&issue[..], &["--role", "readonly", "--ttl", "1h"]].concat());
    let token = token["token"].as_str().unwrap().to_owned();
    let mut reader = world.login(&Login::new("x", &token, &database)).unwrap();
    assert_eq!(reader.one("select count(*) from t").as_deref(), Ok("0"));
    assert_eq!(code(reader.query("insert into t values (1)")), "42501");
    let other = Login::new("x", &token, &world.tenants[0].database());
    assert_eq!(code(world.login(&other)), "28000", "it opens no other database");
    let (_, operator) = run(&["token", "issue", "--config", &file, "--operator", "stats"]);
    let operator = operator["token"].as_str().unwrap();
    assert_eq!(code(world.login(&Login::new("x", operator, &database))), "28000");

    let drop = ["tenant", "drop", &id, "--config", &file];
    let refused = Command::new(env!("CARGO_BIN_EXE_pgusher")).args(drop).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "not without --yes");
    let (exit, json) = run(&[&drop[..], &["--yes"]].concat());
    assert_eq!(exit, 0, "{json}");
    assert_eq!(why_cut(&mut owner).as_deref(), Some("57P01"));
    let mut superuser = world.superuser("postgres");
    let left = format!(
        "select count(*) from (select datname from pg_database union all select rolname from \
         pg_roles) x where datname like '%{id}%'"
    );
    assert_eq!(superuser.one(&left).as_deref(), Ok("0"), "database and logins are gone");
    let gone = eventually(SOON, "it is refused", || {
        world.login(&Login::new("x", &token, &database)).err()
    });
    assert!(["3D000", "28P01"].contains(&&*gone.code), "{gone:?}");
    assert_eq!(run(&[&drop[..], &["--yes"]].concat()).0, 1, "there is nothing left to drop");
    world.assert_no_panic();
}

#[test]
fn check_says_everything_that_is_wrong_at_once() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let (exit, good) = run(&["check", "--config", &config(&world, "")]);
    assert_eq!(exit, 0, "{good}");
    assert_eq!(good["registry"]["pending"], json!([]));
    assert_eq!(good["registry"]["adoptedLogins"], json!([]));
    assert!(good["servers"]["dev"]["connectionsMax"].as_u64().unwrap() > 90, "{good}");

    let server = world.server_addr();
    let mut superuser = world.superuser("postgres");
    superuser.query("create database wide_open").unwrap();
    superuser.query("create role feeble login password 'x'").unwrap();
    superuser.query("grant connect on database postgres to feeble").unwrap();
    let mut registry = world.superuser(&world.registry_database());
    let root = format!("postgresql://{}@{server}/postgres", world.superuser_name());
    for (id, url) in [("Bad-Id", "postgresql://h/d"), ("old_one", &*root)] {
        found(&mut registry, id, (url, "d"));
    }
    let more = format!(
        "budget = 5000\n\
         [servers.away]\nadmin_url = 'postgresql://x@127.0.0.1:1/postgres'\n\
         [servers.feeble]\nadmin_url = 'postgresql://feeble:x@{server}/postgres'\n\
         [tls]\ncertificate = '/nowhere.pem'\nkey = '/nowhere.key'\n"
    );
    let (exit, bad) = run(&["check", "--config", &config(&world, &more)]);
    assert_eq!(exit, 1, "{bad}");
    let problems = bad["problems"].as_array().unwrap();
    let told = |key: &str, words: &str| {
        let found = problems.iter().any(|p| {
            p["key"].as_str().unwrap().starts_with(key)
                && p["text"].as_str().unwrap().contains(words)
        });
        assert!(found, "nothing about {key}: {words}\n{bad:#}");
    };
    told("tls", "nowhere.pem");
    told("servers.dev.budget", "5000 for tenants");
    told("servers.dev", "everyone may enter the database wide_open");
    told("servers.away.admin_url", "does not answer");
    told("servers.feeble.admin_url", "lacks CREATEDB");
    told("servers.feeble.admin_url", "lacks CREATEROLE");
    told("registry", "Bad-Id");
    told("registry", "is a superuser");
    told("registry", "no CONNECTION LIMIT holds them");

    // A registry nobody has migrated yet, and what `migrate` makes of it.
    superuser.query("create database fresh").unwrap();
    let fresh = format!("postgresql://{}@{server}/fresh", world.superuser_name());
    let all = MigrationSet::registry().iter().count();
    let status = ["migrate", "registry", "--status", "--registry", &fresh];
    let (exit, json) = run(&status);
    assert_eq!((exit, json["pending"].as_array().unwrap().len()), (1, all), "{json}");
    let set = format!("registry.url={fresh}");
    let (_, bad) = run(&["check", "--config", &config(&world, ""), "--set", &set]);
    assert!(bad.to_string().contains("pgusher migrate registry"), "{bad}");
    let (exit, json) = run(&["migrate", "registry", "--registry", &fresh]);
    assert_eq!((exit, json["applied"].as_array().unwrap().len()), (0, all), "{json}");
    assert_eq!(run(&status).0, 0);
    let again = run(&["migrate", "registry", "--registry", &fresh]);
    assert_eq!(
        again,
        (
            0,
            json!({"adopted": false, "applied": [], "refusedTenants": [],
        "unusableUrls": []})
        )
    );
}

/// A tenant that another system left in the registry, with where its database is and its name.
fn found(registry: &mut Conn, id: &str, (url, database): (&str, &str)) {
    let church = "insert into \"Church\" (id, name, email) values";
    registry.query(&format!("{church} ('{id}', 'n', '{id}')")).unwrap();
    let tenant = "insert into \"Tenant\" (id, \"churchId\", name, email, \"databaseUrl\", \
                  \"databaseHost\", \"databaseName\") values";
    let row = format!("{tenant} ('{id}', '{id}', 'n', '{id}', '{url}', 'h', '{database}')");
    registry.query(&row).unwrap();
}

#[test]
fn check_tells_every_login_that_adopted_tenants_came_with() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let server = world.server_addr();
    let mut superuser = world.superuser("postgres");
    superuser.query("create role shared login password 'pa55'").unwrap();
    superuser.query("create role alone login password 'pa55'").unwrap();
    let mut registry = world.superuser(&world.registry_database());
    for (id, user) in [("old_one", "alone"), ("old_two", "shared"), ("old_three", "shared")] {
        let url = format!("postgresql://{user}:pa55@{server}/{id}");
        superuser.query(&format!("create database {id}")).unwrap();
        superuser.query(&format!("revoke connect on database {id} from public")).unwrap();
        superuser.query(&format!("grant connect on database {id} to {user}")).unwrap();
        found(&mut registry, id, (&url, id));
    }
    let file = config(&world, "");
    let (exit, good) = run(&["check", "--config", &file]);
    assert_eq!(exit, 0, "no problem by itself: {good}");
    let login = |user: &str, tenants: u32| {
        json!({ "user": user, "host": "127.0.0.1", "port": server.port(), "tenants": tenants,
            "superuser": false })
    };
    assert_eq!(good["registry"]["adoptedLogins"], json!([login("shared", 2), login("alone", 1)]));
    assert_eq!(good["registry"]["adoptedLoginsMore"], 0);
    assert!(!good.to_string().contains("pa55"), "{good}");
    let mut check = Command::new(env!("CARGO_BIN_EXE_pgusher"));
    let output = check.args(["check", "--config", &file]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = format!("the login \"shared\" on 127.0.0.1:{} is used as found", server.port());
    assert!(text.contains(&line) && !text.contains("pa55"), "{text}");
}

#[test]
fn check_counts_the_registrys_connections_where_it_is_on_the_server() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let check = |budget: u64, set: &str| {
        let file = config(&world, &format!("budget = {budget}"));
        let (_, answer) = run(&["check", "--config", &file, "--set", set]);
        let there = answer["servers"]["dev"]["connectionsMax"].as_u64().unwrap();
        let problems = answer["problems"].as_array().cloned().unwrap_or_default();
        let text = |p: &Value| p["text"].as_str().unwrap().to_owned();
        let about = problems.iter().find(|p| p["key"] == "servers.dev.budget").map(text);
        (there, about)
    };
    let pool = "registry.connections_max=10";
    let (there, about) = check(1, pool);
    assert_eq!(about, None);
    // Three and four to provision, ten of the pool, and the one that listens.
    let most = there - 3 - 4 - 10 - 1;
    assert_eq!(check(most, pool).1, None);
    let told = check(most + 1, pool).1.expect("one too many");
    assert!(told.contains("11 to the registry"), "{told}");
    let elsewhere = "registry.url=postgresql://x@127.0.0.1:1/registry";
    assert_eq!(check(there - 3 - 4, elsewhere).1, None, "it is on no other server");
}

#[test]
fn the_ops_page_has_exact_figures_of_any_tenant() {
    if bare::wanted() {
        return;
    }
    let plan = Plan::default().set("limits.queue_max", "5").set("plans.starter.weight", "3");
    let world = World::start(plan.set("limits.weight", "2"));
    let (first, second) = (&world.tenants[0], &world.tenants[1]);
    let shown = |at, tenant: &world::Tenant| {
        world::http::call(at, "GET", &format!("/tenants/{}", tenant.id), &[], "").json
    };
    // Of the row, of the plan, of the settings, of the code.
    let (exit, json) =
        run(&["tenant", "limits", &first.id, "--client-max", "9", "--registry", &world.registry]);
    assert_eq!(exit, 0, "{json}");
    let seen = eventually(Duration::from_secs(10), "what the row says counts", || {
        let seen = shown(world.ops, first);
        (seen["effectiveLimits"]["clientMax"] == 9).then_some(seen)
    });
    let known = [("serverMax", 10), ("serverMin", 0), ("weight", 3), ("queueMax", 5)];
    for (key, value) in known.into_iter().chain([("queueTimeoutMs", 30_000), ("queryTimeoutMs", 0)])
    {
        assert_eq!(seen["effectiveLimits"][key], value, "{key}: {seen}");
    }
    assert_eq!(seen["limits"]["clientMax"], 9, "{seen}");
    assert_eq!(seen["limits"]["weight"], Value::Null, "the row alone: {seen}");

    // A process where nobody of the tenant has been yet.
    let other = world::served::Served::beside(&world, "[limits]\nserver_max = 4\n");
    let idle = shown(other.ops, second);
    assert_eq!(idle["effectiveLimits"]["serverMax"], 4, "{idle}");
    assert_eq!(idle["live"], Value::Null, "{idle}");

    let mut session = world.session(0);
    for _ in 0..3 {
        session.query("select pg_sleep(0.01)").unwrap();
    }
    drop(session);
    // Exactly what the console says, as soon as all has been counted.
    let columns =
        [("leases", "leases"), ("transactions", "transactions"), ("leaseTimeUs", "lease_time_us")];
    let live = eventually(Duration::from_secs(10), "both say the same", || {
        let live = shown(world.ops, first)["live"].take();
        let same =
            columns.into_iter().chain([("waitTimeUs", "wait_time_us")]).all(|(key, column)| {
                cell(&world, "SHOW TENANTS", &first.id, column) == Some(live[key].to_string())
            });
        same.then_some(live)
    });
    assert!(live["transactions"].as_u64() >= Some(3), "{live}");
    assert!(live["leaseTimeUs"].as_u64() >= Some(30_000), "{live}");
    world.assert_no_panic();
}
