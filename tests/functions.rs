//! Functions that touch session state out of a statement's sight: their bodies are read.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use world::wire::{self, Conn};
use world::{Plan, World, bare};

/// Two servers for all clients of a tenant: they take turns on them.
fn small() -> World {
    World::start(Plan::tenants(1).set("limits.server_max", "2"))
}

fn value(session: &mut Conn, sql: &str) -> String {
    session.one(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

fn void(body: &str) -> String {
    format!("returns void language plpgsql as $f$ begin {body} end $f$")
}

/// Runs `sql` in `client`; then `seen` is what it was set to for the client, and for no other.
fn mine_alone(world: &World, client: &mut Conn, sql: &str, seen: &str, set: &str) {
    let mut others: Vec<_> = (0..3).map(|_| world.session(0)).collect();
    let before = value(&mut others[0], seen);
    client.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    for _ in 0..3 {
        for other in &mut others {
            assert_eq!(value(other, seen), before, "another client after {sql}");
        }
        assert_eq!(value(client, seen), set, "after {sql}");
    }
}

const APP: &str = "select coalesce(current_setting('app.who', true), '')";

#[test]
fn what_a_function_sets_is_its_client_s_alone() {
    let world = small();
    let mut client = world.session(0);
    for (name, body) in [
        ("who(v text)", "perform set_config('app.who', v, false);"),
        (
            "lang(v text)",
            "if v = 'x' then set lc_messages = 'C'; else set work_mem = '7MB'; end if;",
        ),
        ("dynamic(v text)", "execute 'set app.who = ' || quote_literal(v);"),
        ("outer_one(v text)", "perform who(v);"),
    ] {
        client.query(&format!("create function {name} {}", void(body))).unwrap();
    }
    client.query("create view hidden as select who('view') is null as done").unwrap();
    client.query("create table book (n int, by text default 'nobody')").unwrap();
    client
        .query(
            "create function note() returns trigger language plpgsql as \
             $$ begin perform outer_one('trigger'); return new; end $$",
        )
        .unwrap();
    client
        .query("create trigger t before insert on book for each row execute function note()")
        .unwrap();
    client.query("create procedure fill() language sql as 'insert into book values (1)'").unwrap();
    for (sql, set) in [
        ("select who('me')", "me"),
        ("select dynamic('it''s')", "it's"),
        ("select public.\"outer_one\"('two')", "two"),
        ("select * from hidden", "view"),
        ("insert into book values (1)", "trigger"),
        ("select who('again')", "again"),
        ("call fill()", "trigger"),
        ("do $$ begin perform set_config('app.who', 'do', false); end $$", "do"),
    ] {
        mine_alone(&world, &mut client, sql, APP, set);
    }
    mine_alone(&world, &mut client, "select lang('y')", "show work_mem", "7MB");
}

/// Most schemas have no function but pgusher's: then it is not asked what functions do. A view may do
/// it, too.
#[test]
fn a_view_that_sets_something_is_found_where_there_is_no_function() {
    let world = small();
    let mut client = world.session(0);
    let functions = "select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
                     where p.oid >= 16384 and n.nspname <> 'pgusher'";
    assert_eq!(value(&mut client, functions), "0", "a schema with functions shows nothing here");
    client.query("create view hidden as select set_config('app.who', 'view', false)").unwrap();
    mine_alone(&world, &mut client, "select * from hidden", APP, "view");
}

#[test]
fn a_lock_taken_by_a_trigger_stays_with_its_client() {
    let world = small();
    let mut client = world.session(0);
    client.query("create table guarded (n int)").unwrap();
    let body = "perform pg_advisory_lock(41); return new;";
    client
        .query(&format!(
            "create function guard() returns trigger language plpgsql as $$ begin {body} end $$"
        ))
        .unwrap();
    client.query("create trigger g after insert on guarded execute function guard()").unwrap();
    let mut others: Vec<_> = (0..3).map(|_| world.session(0)).collect();
    client.query("insert into guarded values (1)").unwrap();
    let pid = value(&mut client, "select pg_backend_pid()");
    for _ in 0..3 {
        for other in &mut others {
            assert_eq!(value(other, "select pg_try_advisory_lock(41)"), "f");
        }
        assert_eq!(value(&mut client, "select pg_backend_pid()"), pid, "it keeps its server");
    }
    assert_eq!(value(&mut client, "select pg_advisory_unlock(41)"), "t");
    assert_eq!(value(&mut others[0], "select pg_try_advisory_lock(41)"), "t");
}

#[test]
fn what_nobody_can_know_is_cleaned_before_another_client_comes() {
    let world = small();
    let mut client = world.session(0);
    client.query(&format!("create function run(t text) {}", void("execute t;"))).unwrap();
    let mut others: Vec<_> = (0..3).map(|_| world.session(0)).collect();
    for round in 0..4 {
        client.query(&format!("select run('set se.cret = ''{round}''')")).unwrap();
        for other in &mut others {
            let seen = value(other, "select coalesce(current_setting('se.cret', true), '')");
            assert_eq!(seen, "", "round {round}");
        }
    }
}

#[test]
fn a_statement_prepared_long_ago_does_what_its_text_names() {
    let world = small();
    let mut client = world.session(0);
    let text = "select pg_advisory_lock($1::int)";
    client.say(&[wire::parse("lock", text), wire::sync()].concat()).unwrap();
    client.rows().unwrap();
    let mut others: Vec<_> = (0..3).map(|_| world.session(0)).collect();
    for other in &mut others {
        value(other, "select 1");
    }
    client.say(&[wire::bind("lock", &[b"7"]), wire::execute(), wire::sync()].concat()).unwrap();
    client.rows().unwrap();
    for _ in 0..3 {
        for other in &mut others {
            assert_eq!(value(other, "select pg_try_advisory_lock(7)"), "f");
        }
    }
    assert_eq!(value(&mut client, "select pg_advisory_unlock(7)"), "t");
}

#[test]
fn a_function_another_client_makes_is_known_at_once() {
    let world = small();
    let (mut maker, mut client) = (world.session(0), world.session(0));
    value(&mut client, "select 1");
    let made = void("perform set_config('app.who', 'made', false);");
    maker.query(&format!("create function late() {made}")).unwrap();
    mine_alone(&world, &mut client, "select late()", APP, "made");
}

#[test]
fn a_database_whose_functions_are_calm_is_asked_nothing() {
    if bare::wanted() {
        return;
    }
    let world = small();
    let mut client = world.session(0);
    client.query("create table t (n int)").unwrap();
    client
        .query(
            "create function touch() returns trigger language plpgsql as \
             $$ begin new.n := new.n + 1; return new; end $$",
        )
        .unwrap();
    client
        .query("create trigger t before insert on t for each row execute function touch()")
        .unwrap();
    let figures = |what: &str| -> u64 {
        let page = world.metrics();
        let line = page.lines().find(|l| l.starts_with(what)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let looks = figures("pgusher_session_state_looks_total");
    let readings = figures("pgusher_session_function_readings_total");
    for _ in 0..50 {
        client.query("insert into t values (1)").unwrap();
        client.query("select count(*) from t").unwrap();
    }
    // A function that is made but not called is nothing to look for.
    let made = void("perform set_config('app.who', 'made', false);");
    client.query(&format!("create function unused() {made}")).unwrap();
    client.query("insert into t values (1)").unwrap();
    assert_eq!(figures("pgusher_session_state_looks_total"), looks);
    assert!(figures("pgusher_session_function_readings_total") <= readings + 1);
}

/// To write a body out, PostgreSQL locks what it reads. Whoever alters a table keeps nobody waiting, and
/// what functions do is known all the same.
#[test]
fn functions_are_read_while_a_table_in_them_is_locked() {
    let world = small();
    let mut migration = world.session(0);
    for sql in [
        "create table t (n int)",
        "create function count_t() returns bigint begin atomic select count(*) from t; end",
        "create function who(v text) returns text \
         begin atomic select set_config('app.who', v, false); end",
        "create view seen as select set_config('app.who', 'seen', false) as who",
        "create view seen_t as select set_config('app.who', 'seen', false) as who, n from t",
        "begin",
        "alter table t add column m int",
    ] {
        migration.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    let (mut client, mut other) = (world.session(0), world.session(0));
    let late = "create function late(v text) returns text language sql \
                as 'select set_config(''app.who'', v, false)'";
    let began = Instant::now();
    client.query(late).unwrap();
    assert_eq!(value(&mut other, "select 1"), "1");
    for sql in ["select who('me')", "select * from seen", "select late('me')"] {
        client.query(sql).unwrap();
        for _ in 0..3 {
            assert_eq!(value(&mut other, APP), "", "another client after {sql}");
        }
    }
    mine_alone(&world, &mut client, "select late('late')", APP, "late");
    let readings = world.figure("pgusher_session_function_readings_total");
    for _ in 0..20 {
        value(&mut client, "select 1");
        value(&mut other, "select 1");
    }
    assert!(world.figure("pgusher_session_function_readings_total") <= readings + 1.0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    migration.query("commit").unwrap();
    client.query("drop function late").unwrap();
    client.query("create function later() returns int language sql as 'select 1'").unwrap();
    mine_alone(&world, &mut client, "select who('again')", APP, "again");
    mine_alone(&world, &mut client, "select * from seen", APP, "seen");
}

/// A client's own timeouts are for its own statements.
#[test]
fn the_shortest_of_timeouts_does_not_end_a_session() {
    let world = small();
    let mut client = world.session(0);
    let mut other = world.session(0);
    client.query("set search_path to nowhere").unwrap();
    client.query("set lock_timeout to 1").unwrap();
    client.query("set standard_conforming_strings to off").unwrap();
    client.query("set default_transaction_isolation to serializable").unwrap();
    client.query("set default_transaction_read_only to on").unwrap();
    client.query("set default_transaction_deferrable to on").unwrap();
    client.query("set statement_timeout to 1").unwrap();
    // Its own statements may be too slow for it; its session goes on.
    let mut patiently = |sql: &str| loop {
        match client.one(sql) {
            Ok(value) => return value,
            Err(refusal) => assert_eq!(refusal.code, "57014", "{sql}: {refusal:?}"),
        }
    };
    for round in 0..20 {
        assert_eq!(value(&mut other, "show statement_timeout"), "0");
        assert_eq!(patiently("show statement_timeout"), "1ms");
        let sql = format!("select set_config('a.b', '{round}', false)");
        patiently(&sql);
        assert_eq!(patiently("show lock_timeout"), "1ms");
        assert_eq!(patiently("show a.b"), round.to_string());
        assert_eq!(value(&mut other, "select coalesce(current_setting('a.b', true), '')"), "");
    }
}

/// More code, and more that calls it, than is read: whatever that is, no session ends of it.
#[test]
fn code_of_any_length_ends_no_session() {
    let world = small();
    let mut client = world.session(0);
    let padding = "\u{1f600}".repeat(64_000);
    let body = format!("perform set_config('app.who', v, false); /* {padding} */");
    for n in 0..12 {
        let function = format!("create function long_{n}(v text) {}", void(&body));
        client.query(&function).unwrap_or_else(|e| panic!("{n}: {e:?}"));
    }
    mine_alone(&world, &mut client, "select long_3('three')", APP, "three");
    client
        .query(&format!(
            "create function short(v text) {}",
            void("perform set_config('app.who', v, false);")
        ))
        .unwrap();
    let many = "do $$ begin for n in 1..1100 loop \
                execute format('create view seen_%s as select short(''seen'') is null as done', n); end loop; end $$";
    client.query(many).unwrap();
    client.query("create view last_seen as select short('seen') is null as done").unwrap();
    mine_alone(&world, &mut client, "select * from last_seen", APP, "seen");
    mine_alone(&world, &mut client, "select long_11('eleven')", APP, "eleven");
    world.assert_no_panic();
}

/// What is in a server's process and in no catalog goes with its session: dblink's connections, the
/// memory of C functions and interpreters, the seed of `random()`.
#[test]
fn what_no_command_undoes_is_lent_to_nobody() {
    if bare::wanted() {
        return;
    }
    let world = small();
    let mut superuser = world.superuser(&world.tenants[0].database());
    superuser.query("create extension dblink").unwrap();
    // It counts for the database's connection limit.
    drop(superuser);
    let mut client = world.session(0);
    client
        .query("create function seed() returns void language sql as 'select setseed(0.5)'")
        .unwrap();
    let mut others: Vec<_> = (0..3).map(|_| world.session(0)).collect();
    let pid = "select pg_backend_pid()";
    for round in 0..3 {
        client.query("select dblink_get_connections()").unwrap();
        let own = value(&mut client, pid);
        for other in &mut others {
            assert_ne!(value(other, pid), own, "round {round}");
        }
    }
    client
        .query("create function sow() returns text language sql as 'select set_config(''seed'', ''0.5'', false)'")
        .unwrap();
    for sql in [
        "select setseed(0.5)",
        "select seed()",
        "set seed = 0.5",
        "select set_config('seed', '0.5', true)",
        "do $$ begin set local seed to 0.5; end $$",
        "select sow()",
        "select dblink_disconnect('nosuch')",
    ] {
        let mut client = world.session(0);
        let _ = client.query(sql);
        let own = value(&mut client, pid);
        for other in others.iter_mut().chain(&mut [world.session(0)]) {
            assert_ne!(value(other, pid), own, "{sql}");
        }
        if !sql.contains("dblink") {
            assert_eq!(value(&mut client, pid), own, "{sql}: it keeps its server");
        }
        drop(client);
        for other in &mut others {
            assert_ne!(value(other, pid), own, "{sql}: nor behind it");
        }
    }
}

/// `set_limit` of pg_trgm is a setting's name for setting it.
#[test]
fn the_limit_of_pg_trgm_is_its_client_s_alone() {
    let world = small();
    let mut superuser = world.superuser(&world.tenants[0].database());
    superuser.query("create extension pg_trgm").unwrap();
    drop(superuser);
    let mut client = world.session(0);
    client
        .query("create function strict() returns real language sql as 'select set_limit(0.8)'")
        .unwrap();
    for (sql, set) in [("select set_limit(0.9)", "0.9"), ("select strict()", "0.8")] {
        mine_alone(&world, &mut client, sql, "select show_limit()", set);
    }
}
