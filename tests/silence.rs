//! What a log holds of what was said: no SQL, no parameter, no token, at whatever level.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::Duration;

use pgusher::auth::Power;
use serde_json::json;
use world::wire::{self, Conn, Login, Refusal};
use world::{Plan, World, bare, code, eventually, http, operator};

/// In every text and every parameter of this test.
const MARK: &str = "zwieback";

/// Says it, and hears what comes of it.
fn say(conn: &mut Conn, said: &[Vec<u8>]) -> String {
    conn.say(&said.concat()).unwrap();
    let heard = conn.hear_all().unwrap();
    let error = heard.iter().find(|m| m.tag == b'E').map(|m| Refusal::parse(&m.body).code);
    error.unwrap_or_else(|| "done".to_owned())
}

#[test]
fn the_log_holds_no_sql_no_parameter_and_no_token_at_its_most_verbose() {
    if bare::wanted() {
        return;
    }
    let plan = Plan::default().set("log.level", "trace").set("log.format", "json");
    let plan = plan.set("limits.server_max", "1").set("limits.queue_timeout", "300ms");
    let world = World::start(plan.set("limits.query_timeout", "1s"));
    let tenant = &world.tenants[0];
    let mut client = world.session(0);
    let text = |sql: &str| sql.replace('@', MARK);
    let value = [MARK.as_bytes()];

    // In simple queries, of every kind that pgusher reads for itself.
    for (sql, end) in [
        ("create table @ (t text unique); insert into @ values ('@')", ""),
        ("select t as \"@\" from @ where t = '@' -- @", ""),
        ("set app.name = '@'; select set_config('app.other', '@', false)", ""),
        ("prepare @ as select '@'; execute @; deallocate @", ""),
        ("create temp table t_@ (t text); drop table t_@; notify @, '@'", ""),
        ("declare @ cursor with hold for select '@'; close @", ""),
        ("do $$ begin raise warning '@'; end $$", ""),
        ("copy (select '@') to stdout", ""),
        ("insert into @ values ('@')", "23505"),
        ("select '@'::int", "22P02"),
        ("selekt '@'", "42601"),
        ("select pg_sleep(5), '@'", "57014"),
    ] {
        let sql = text(sql);
        assert_eq!(client.query(&sql).err().map_or(String::new(), |e| e.code), end, "{sql}");
    }
    // In extended ones, with parameters, and the names of statements.
    let insert = text("insert into @ values ($1)");
    let (parse, bind) = (wire::parse(MARK, &insert), wire::bind(MARK, &value));
    let failing = [parse, bind, wire::execute(), wire::sync()];
    assert_eq!(say(&mut client, &failing), "23505");
    let unnamed = [wire::parse("", &text("select $1::text, '@'")), wire::bind("", &value)];
    assert_eq!(say(&mut client, &[unnamed.concat(), wire::execute(), wire::sync()]), "done");
    // By pgusher itself: an unknown statement, a place in line that was waited for in vain.
    assert_eq!(say(&mut client, &[wire::bind("no_zwieback", &value), wire::sync()]), "26000");
    client.query("begin; select 1").unwrap();
    let mut other = world.session(0);
    assert_eq!(code(other.query(&text("select '@'"))), "53300");
    let (parse, bind) = (wire::parse("", &insert), wire::bind("", &value));
    assert_eq!(say(&mut other, &[parse, bind, wire::execute(), wire::sync()]), "53300");
    client.query("commit").unwrap();
    // What is no message at all, at the door and in the console.
    other.say(&wire::message(b'!', MARK.as_bytes())).unwrap();
    other.farewell();
    let mut admin = operator::operator(&world, Power::Admin);
    assert!(admin.query(&text("show @ '@'")).is_err());
    let odd = tenant.login().with("application_name", MARK).with("options", &text("-c app.x=@"));
    drop(world.login(&odd));
    for login in [Login::new("app", MARK, MARK), Login::new("key_zwieback", MARK, "app")] {
        assert!(world.login(&login).is_err());
    }
    // And over HTTP, which asks registry and tenants on its own.
    let body = json!({ "email": "zwieback@example.org", "password": "zwieback zwieback",
        "firstName": MARK, "lastName": MARK, "churchName": MARK });
    for path in ["register", "login"] {
        let path = format!("/api/auth/{path}");
        let answer = http::call(world.http, "POST", &path, &[], &body.to_string());
        assert!(answer.status < 300, "{answer:?}");
    }
    drop((client, other, admin));

    let log = eventually(Duration::from_secs(10), "the log tells of what was refused", || {
        Some(world.log()).filter(|log| log.matches("\"refused\"").count() >= 4)
    });
    assert!(log.contains("\"level\":\"TRACE\""), "this is its most verbose");
    for secret in [MARK, &tenant.token, &tenant.password, &tenant.key_secret] {
        let found: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(found.is_empty(), "{secret} is in the log {} times: {}", found.len(), found[0]);
    }
    world.assert_no_panic();
}

/// What PostgreSQL says of pgusher's own statements is told but for the values it quotes.
#[test]
fn a_fault_names_what_postgresql_refused_and_no_value_of_a_row() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default().set("log.format", "json"));
    let mut registry = world.superuser(&world.registry_database());
    let raises = "CREATE FUNCTION pgusher.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.name LIKE '%raised' THEN
                RAISE EXCEPTION 'no %', NEW.name USING ERRCODE = 'check_violation';
            END IF;
            IF NEW.name LIKE '%cast' THEN NEW.expires_at := NEW.name; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON pgusher.api_keys
            FOR EACH ROW EXECUTE FUNCTION pgusher.refuse();
        ALTER TABLE pgusher.api_keys ADD CONSTRAINT keys_are_short CHECK (length(name) < 20)";
    registry.query(raises).unwrap();
    let bearer = format!("Bearer {}", world.tenants[0].token);
    let make = |name: &str| {
        let body = json!({ "name": format!("{MARK} {name}") }).to_string();
        let headers = [("authorization", &*bearer)];
        http::call(world.http, "POST", "/api/tenant/keys", &headers, &body).assert_problem(503);
    };
    ["raised", "cast", "that is too long for it"].into_iter().for_each(make);
    registry.query("ALTER TABLE pgusher.api_keys RENAME TO elsewhere").unwrap();
    make("nowhere");
    let causes = eventually(Duration::from_secs(10), "the log tells of four faults", || {
        let log = world.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        let causes =
            lines.filter_map(|line: serde_json::Value| Some(line["cause"].as_str()?.into()));
        Some(causes.collect::<Vec<String>>()).filter(|causes| causes.len() >= 4)
    });
    let expected = [
        "db error: SQLSTATE 23514",
        "db error: SQLSTATE 22007",
        "db error: SQLSTATE 23514: new row for relation \"api_keys\" violates check constraint \
         \"keys_are_short\"",
        "db error: SQLSTATE 42P01: relation \"pgusher.api_keys\" does not exist",
    ];
    assert_eq!(causes, expected);
    assert!(!world.log().contains(MARK), "{}", world.log());
}

/// One line for each session that is over, with its totals, whose it was and what ended it.
#[test]
fn a_session_that_is_over_is_one_line_with_its_totals() {
    if bare::wanted() {
        return;
    }
    let plan = Plan::default().set("log.format", "json");
    let world = World::start(plan.set("limits.client_max", "2"));
    let tenant = &world.tenants[0];
    let mut session = world.session(0);
    for _ in 0..3 {
        session.query("select 1").unwrap();
    }
    let other = world.session(0);
    assert_eq!(world.login(&tenant.login()).err().map(|e| e.code).as_deref(), Some("53300"));
    drop((session, other));
    let told = |what: &str, field: &str, value: &serde_json::Value| {
        eventually(Duration::from_secs(10), "the log tells", || {
            let log = world.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
            let mut lines = lines.filter(|line: &serde_json::Value| line["message"] == what);
            lines.find(|line| line[field] == *value)
        })
    };
    let ended = told("session ended", "transactions", &3.into());
    assert_eq!(
        (&ended["level"], &ended["mode"]),
        (&"INFO".into(), &"transaction".into()),
        "{ended}"
    );
    assert_eq!(ended["tenant"], *tenant.id, "{ended}");
    assert!(ended["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{ended}");
    assert!(ended["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{ended}");
    assert!(ended.get("sqlstate").is_none(), "its client ended it: {ended}");
    let refused = told("refused", "sqlstate", &"53300".into());
    assert_eq!(refused["tenant"], *tenant.id, "{refused}");
    assert!(refused["peer"].is_string(), "{refused}");
}
