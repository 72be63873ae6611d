//! What a session leaves behind is never another's: halves of messages, servers that wait,
//! transactions without an end.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::Duration;

use world::wire::{self, Conn, message, query};
use world::{Plan, World, bare, code, eventually};

fn of_servers(servers: &str) -> World {
    World::start(Plan::tenants(1).set("limits.server_max", servers))
}

fn value(conn: &mut Conn, sql: &str) -> String {
    conn.one(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

/// The rest of a message that is being dropped is not read as messages: data of a COPY that has
/// failed holds a query where the proxy's buffer ends.
#[test]
fn data_of_a_failed_copy_is_never_read_as_messages() {
    let mut conn = World::shared().session(0);
    conn.query("drop table if exists dropped_data").unwrap();
    conn.query("create table dropped_data (n int)").unwrap();
    conn.say(&query("copy dropped_data from stdin")).unwrap();
    conn.say(&message(b'd', b"not a number\n")).unwrap();
    conn.say(&message(b'c', b"")).unwrap();
    assert_eq!(code(conn.rows()), "22P02");
    for buffer in [4_096, 8_192, 16_384, 32_768, 65_536] {
        // Behind the five bytes of the message's own header.
        let mut data = vec![b'x'; buffer - 5];
        data.extend(query("insert into dropped_data values (666)"));
        conn.say(&message(b'd', &data)).unwrap();
        // Sent apart, so that the buffer ends where the data says.
        assert_eq!(conn.one("select 'alone'").as_deref(), Ok("alone"), "{buffer}");
    }
    assert_eq!(conn.one("select count(*) from dropped_data").as_deref(), Ok("0"));
    conn.query("drop table dropped_data").unwrap();
}

/// What a client leaves behind that goes away while its server waits for it is cleaned up: no
/// server is held, no transaction stays open.
#[test]
fn a_client_that_leaves_its_server_waiting_leaves_nothing() {
    if bare::wanted() {
        return;
    }
    let world = World::shared();
    let flush = message(b'H', b"");
    let endings = [
        [query("begin"), query("copy hello from stdin")].concat(),
        query("copy hello from stdin"),
        [wire::parse("", "select nosuch"), flush.clone()].concat(),
        [wire::parse("", "select 1"), wire::bind("", &[]), wire::execute(), flush].concat(),
        wire::parse("", "select 1"),
        message(b'Q', &vec![b's'; 100_000])[..50_000].to_vec(),
    ];
    for ending in &endings {
        // More of each than the tenant may have servers.
        for _ in 0..12 {
            let mut conn = world.session(0);
            conn.say(ending).unwrap();
            drop(conn);
        }
    }
    let database = world.tenants[0].database();
    let mut superuser = world.superuser("postgres");
    let sql = "select count(*) from pg_stat_activity where state <> 'idle' and datname = ";
    eventually(Duration::from_secs(20), "every server is free again", || {
        let busy = superuser.one(&format!("{sql}'{database}'")).unwrap();
        (busy == "0").then_some(())
    });
    assert_eq!(world.session(0).one("select 1").as_deref(), Ok("1"));
}

/// PostgreSQL turns an untyped literal into a constant when it reads the statement. What is read
/// under a setting of the transaction alone is not what others mean by the same text.
#[test]
fn a_text_read_under_a_setting_of_its_transaction_is_nobody_else_s() {
    let world = of_servers("1");
    let (mut local, mut other) = (world.session(0), world.session(0));
    let zone = "set_config('timezone', 'Asia/Tokyo', true)";
    for (name, language, body) in [
        ("tokyo", "plpgsql", format!("begin perform {zone}; end")),
        ("local", "plpgsql", "begin set local time zone 'Asia/Tokyo'; end".to_owned()),
        ("dynamic", "plpgsql", format!("begin execute 'select ' || $q${zone}$q$; end")),
    ] {
        let head = format!("create function to_{name}() returns void language {language}");
        local.query(&format!("{head} as $f$ {body} $f$")).unwrap();
    }
    let ways = [
        "set local timezone = 'Asia/Tokyo'",
        "set local time zone 'Asia/Tokyo'",
        &format!("select {zone}"),
        "select to_tokyo()",
        "select to_local()",
        "select to_dynamic()",
        &format!("do $$ begin perform {zone}; end $$"),
        "do $$ begin set local \"TimeZone\" = 'Asia/Tokyo'; end $$",
    ];
    for (minute, way) in ways.iter().enumerate() {
        let sql = format!(
            "select extract(epoch from '2024-01-01 00:0{minute}'::timestamptz)::bigint - 60 * {minute}"
        );
        let epoch = |client: &mut Conn| {
            let all = [wire::parse("s", &sql), wire::bind("s", &[]), wire::execute()].concat();
            client.say(&[all, wire::sync()].concat()).unwrap();
            let rows = client.rows().unwrap_or_else(|e| panic!("{way}: {e:?}"));
            let close = [message(b'C', b"Ss\0"), wire::sync()].concat();
            client.say(&close).unwrap();
            client.rows().unwrap();
            rows[0][0].clone().unwrap()
        };
        local.query("begin").unwrap();
        local.query(way).unwrap_or_else(|e| panic!("{way}: {e:?}"));
        assert_eq!(epoch(&mut local), "1704034800", "{way}");
        local.query("commit").unwrap();
        assert_eq!(epoch(&mut other), "1704067200", "behind {way}");
    }
}

/// Two servers, of which somebody has one: all others share the second, or wait in vain.
fn crowded() -> (World, Conn) {
    let plan = Plan::tenants(1).set("limits.server_max", "2").set("limits.queue_timeout", "1s");
    let world = World::start(plan);
    let mut busy = world.session(0);
    busy.query("begin").unwrap();
    value(&mut busy, "select 1");
    (world, busy)
}

/// What was done in one write with a statement whose columns have changed stays with who did it: one
/// that waits for that, since what others have prepared is closed before it.
#[test]
fn what_is_done_before_a_statement_of_other_columns_is_its_client_s_alone() {
    let (world, _busy) = crowded();
    let (mut client, mut other) = (world.session(0), world.session(0));
    client.query("create table shape (a int)").unwrap();
    let text = "select *, (select count(*) from pg_prepared_statements) from shape";
    let describe = message(b'D', b"Ss\0");
    client.say(&[wire::parse("s", text), describe, wire::sync()].concat()).unwrap();
    client.rows().unwrap();
    other.say(&[wire::parse("own", "select 1"), wire::sync()].concat()).unwrap();
    other.rows().unwrap();
    other.query("alter table shape add b int").unwrap();
    let lock = query("select pg_advisory_lock(77)");
    client.say(&[lock, wire::bind("s", &[]), wire::execute(), wire::sync()].concat()).unwrap();
    client.rows().unwrap();
    assert_eq!(code(client.rows()), "0A000");
    let again = "select pg_try_advisory_lock(77)";
    assert_eq!(code(other.one(again)), "53300", "the server is the client's as long as it locks");
    assert_eq!(value(&mut client, "select pg_advisory_unlock(77)"), "t");
    assert_eq!(value(&mut other, again), "t");
}

/// Where the temporary schema comes first in a `search_path`, CREATE TABLE says nothing of it.
#[test]
fn a_table_that_is_temporary_by_the_search_path_is_its_client_s_alone() {
    let (world, _busy) = crowded();
    let mut other = world.session(0);
    other.query("create table orders (n int)").unwrap();
    other.query("insert into orders values (7)").unwrap();
    let login = world.tenants[0].login().with("search_path", "pg_temp, public");
    for startup in [false, true] {
        let mut client = if startup { world.login(&login).unwrap() } else { world.session(0) };
        if !startup {
            client.query("set search_path = pg_temp, public").unwrap();
        }
        client.query("create table orders (n int)").unwrap();
        let all = "select sum(n) from orders";
        assert_eq!(code(other.one(all)), "53300", "the server is the client's: {startup}");
        assert_eq!(value(&mut client, "select count(*) from orders"), "0");
        drop(client);
        eventually(Duration::from_secs(20), "the server is everybody's again", || {
            other.one(all).ok().filter(|sum| sum == "7")
        });
    }
}

/// An UPDATE of `pg_settings` sets what it names, for the session.
#[test]
fn what_an_update_of_pg_settings_sets_is_its_client_s_alone() {
    let world = of_servers("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    let before = value(&mut other, "show work_mem");
    let update = |kib: &str| {
        format!("update pg_catalog.pg_settings set setting = '{kib}' where name = 'work_mem'")
    };
    client
        .query(&format!(
            "create function by_view() returns void language plpgsql as $$ begin {}; end $$",
            update("9216")
        ))
        .unwrap();
    for (sql, set) in [
        (update("7168"), "7MB"),
        (format!("do $$ begin {}; end $$", update("8192")), "8MB"),
        ("select by_view()".to_owned(), "9MB"),
    ] {
        client.query(&sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(value(&mut other, "show work_mem"), before, "{sql}");
        assert_eq!(value(&mut client, "show work_mem"), set, "{sql}");
    }
}

/// More settings than are kept of one text, and such whose names are written in a way that is not read.
#[test]
fn settings_whose_names_are_not_kept_are_their_client_s_alone() {
    let (world, _busy) = crowded();
    let mut other = world.session(0);
    let many: Vec<_> = (1..=17).map(|n| format!("set app.k{n} = 'alice'")).collect();
    let long = ["a", "b", "c"].map(|part| part.repeat(60)).join(".");
    for (sql, name) in [
        (many.join(";"), "app.k17"),
        (format!("set {long} = 'alice'"), &long),
        (r#"set U&"\0061pp".escaped = 'alice'"#.to_owned(), "app.escaped"),
    ] {
        let mut client = world.session(0);
        client.query(&sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let ask = format!("select current_setting('{name}', true)");
        assert_eq!(code(other.one(&ask)), "53300", "the server is the client's: {sql}");
        assert_eq!(value(&mut client, &ask), "alice", "{sql}");
        drop(client);
        let ask = format!("select coalesce(current_setting('{name}', true), '')");
        let seen =
            eventually(Duration::from_secs(20), "there is a server", || other.one(&ask).ok());
        assert_eq!(seen, "", "{sql}");
    }
    world.assert_no_panic();
}
