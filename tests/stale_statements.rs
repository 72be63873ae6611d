//! A prepared statement whose tables are changed past pgusher: who prepares it afterwards, or is
//! told what it returns, never hears "cached plan must not change result type" of another's.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::process::Command;
use std::time::Duration;

use world::wire::{self, Conn, Message, Refusal, columns};
use world::{Plan, World, bare, eventually, tools};

const TEXT: &str = "select * from shape";

const PATIENCE: Duration = Duration::from_secs(10);

/// All clients of the tenant share so many servers.
fn small(servers: &str) -> World {
    World::start(Plan::tenants(1).set("limits.server_max", servers))
}

/// Works past pgusher. Its connection counts for the tenant's cap, too.
fn outside(world: &World, sql: &str) {
    let mut superuser = world.superuser(&world.tenants[0].database());
    superuser.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

fn furnished(servers: &str) -> World {
    let world = small(servers);
    outside(
        &world,
        "create table shape (a int); insert into shape values (7); create table log (n int);
         grant all on shape, log to public",
    );
    world
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    wire::message(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn flush() -> Vec<u8> {
    wire::message(b'H', b"")
}

fn run(name: &str) -> Vec<u8> {
    [wire::bind(name, &[]), describe(b'P', ""), wire::execute()].concat()
}

/// Says this and hears up to a message of `last`.
fn exchange(conn: &mut Conn, said: &[Vec<u8>], last: u8) -> Vec<Message> {
    conn.say(&said.concat()).unwrap();
    let mut heard = Vec::new();
    loop {
        let message = conn.hear().unwrap_or_else(|e| panic!("{e}: after {heard:?}"));
        let tag = message.tag;
        heard.push(message);
        if tag == last {
            return heard;
        }
        assert!(heard.len() < 50, "{heard:?}");
    }
}

fn tags(heard: &[Message]) -> String {
    heard.iter().map(|m| m.tag as char).collect()
}

/// How many columns the last row had.
fn width(heard: &[Message]) -> usize {
    heard.iter().filter(|m| m.tag == b'D').map(|m| columns(&m.body).len()).next_back().unwrap_or(0)
}

fn healed(world: &World) -> u64 {
    let metrics = world.metrics();
    let name = "pgusher_session_stale_statements_healed_total ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

/// What a newcomer says, and what it hears: one answer for every group.
type Shape = (&'static str, fn() -> Vec<(Vec<Vec<u8>>, u8, &'static str)>);

/// The ways drivers have to prepare and run a statement.
const SHAPES: [Shape; 8] = [
    ("as pgx", || {
        vec![
            (vec![wire::parse("s", TEXT), describe(b'S', "s"), wire::sync()], b'Z', "1tTZ"),
            (vec![run("s"), wire::sync()], b'Z', "2TDCZ"),
        ]
    }),
    ("as node-postgres", || {
        vec![(vec![wire::parse("s", TEXT), run("s"), wire::sync()], b'Z', "12TDCZ")]
    }),
    ("as psycopg", || {
        vec![
            (vec![wire::parse("s", TEXT), wire::sync()], b'Z', "1Z"),
            (vec![run("s"), wire::sync()], b'Z', "2TDCZ"),
        ]
    }),
    ("as asyncpg", || {
        vec![
            (vec![wire::parse("s", TEXT), describe(b'S', "s"), flush()], b'T', "1tT"),
            (vec![wire::bind("s", &[]), wire::execute(), wire::sync()], b'Z', "2DCZ"),
        ]
    }),
    ("without asking what it returns", || {
        vec![(
            vec![wire::parse("s", TEXT), wire::bind("s", &[]), wire::execute(), wire::sync()],
            b'Z',
            "12DCZ",
        )]
    }),
    ("in a transaction", || {
        vec![
            (vec![wire::query("begin")], b'Z', "CZ"),
            (vec![wire::parse("s", TEXT), describe(b'S', "s"), wire::sync()], b'Z', "1tTZ"),
            (vec![run("s"), wire::sync()], b'Z', "2TDCZ"),
            (vec![wire::query("commit")], b'Z', "CZ"),
        ]
    }),
    ("prepared before a transaction, run in it", || {
        vec![
            (vec![wire::parse("s", TEXT), wire::sync()], b'Z', "1Z"),
            (vec![wire::query("begin")], b'Z', "CZ"),
            (vec![run("s"), wire::sync()], b'Z', "2TDCZ"),
            (vec![wire::query("commit")], b'Z', "CZ"),
        ]
    }),
    ("behind something else, all at once", || {
        let insert = wire::parse("", "insert into log values (1)");
        let first = [insert, wire::bind("", &[]), wire::execute(), wire::sync()].concat();
        let second = [wire::parse("s", TEXT), run("s"), wire::sync()].concat();
        vec![(vec![first, second], b'Z', "12CZ"), (vec![], b'Z', "12TDCZ")]
    }),
];

#[test]
fn who_prepares_after_a_change_hears_nothing_of_it() {
    if bare::wanted() {
        return;
    }
    let world = furnished("1");
    let mut first = world.session(0);
    for (turn, (name, shape)) in SHAPES.iter().enumerate() {
        let prepared = format!("p{turn}");
        let said = [wire::parse(&prepared, TEXT), run(&prepared), wire::sync()];
        assert_eq!(width(&exchange(&mut first, &said, b'Z')), turn + 1, "{name}");
        outside(&world, &format!("alter table shape add c{turn} int default 1"));
        let mut newcomer = world.session(0);
        let mut seen = 0;
        for (said, last, wanted) in shape() {
            let heard = exchange(&mut newcomer, &said, last);
            assert_eq!(tags(&heard), wanted, "{name}: {heard:?}");
            seen = seen.max(width(&heard));
        }
        assert_eq!(seen, turn + 2, "{name}");
    }
    assert_eq!(first.one("select count(*) from log").unwrap(), "1", "nothing is done twice");
    assert!(healed(&world) >= 5, "{}", healed(&world));
    world.assert_no_panic();
}

/// One that is bound in a lease on another server than it was prepared on, which has it of before.
#[test]
fn what_was_prepared_after_a_change_is_not_served_from_before_it() {
    if bare::wanted() {
        return;
    }
    let world = furnished("2");
    let mut both: Vec<_> = (0..2).map(|_| world.session(0)).collect();
    for one in &mut both {
        one.query("begin").unwrap();
        exchange(one, &[wire::parse("s", TEXT), run("s"), wire::sync()], b'Z');
    }
    for one in &mut both {
        one.query("commit").unwrap();
    }
    outside(&world, "alter table shape alter a type bigint");
    // Each on a server of its own again.
    let mut late: Vec<_> = (0..2).map(|_| world.session(0)).collect();
    for one in &mut late {
        let heard = exchange(one, &[wire::parse("s", TEXT), wire::sync()], b'Z');
        assert_eq!(tags(&heard), "1Z");
    }
    for transaction in [true, false] {
        for one in &mut late {
            if transaction {
                one.query("begin").unwrap();
            }
            let heard = exchange(one, &[run("s"), wire::sync()], b'Z');
            assert_eq!(tags(&heard), "2TDCZ", "{heard:?}");
        }
        for one in &mut late {
            one.query("commit").unwrap();
        }
    }
    world.assert_no_panic();
}

fn refusal(heard: &[Message]) -> String {
    let error = heard.iter().find(|m| m.tag == b'E').unwrap_or_else(|| panic!("{heard:?}"));
    Refusal::parse(&error.body).text()
}

/// Who was told what it returns is told as PostgreSQL tells it, and can prepare it anew.
#[test]
fn who_goes_by_a_description_is_told_that_it_has_changed() {
    if bare::wanted() {
        return;
    }
    let world = furnished("1");
    for through in [false, true] {
        let mut client = world.session(0);
        let prepare = [wire::parse("s", TEXT), describe(b'S', "s"), wire::sync()];
        exchange(&mut client, &prepare, b'Z');
        let use_it = [wire::bind("s", &[]), wire::execute(), wire::sync()];
        exchange(&mut client, &use_it, b'Z');
        if through {
            let mut other = world.session(0);
            other.query("create table if not exists unrelated (n int)").unwrap();
        }
        // Nothing of its shape has changed.
        assert_eq!(tags(&exchange(&mut client, &use_it, b'Z')), "2DCZ");
        outside(&world, &format!("alter table shape add through_{through} int"));
        let heard = exchange(&mut client, &use_it, b'Z');
        assert_eq!(tags(&heard), "EZ", "{heard:?}");
        assert!(refusal(&heard).contains("0A000 cached plan must not change result type"));
        let again = [wire::parse("again", TEXT), describe(b'S', "again"), wire::sync()];
        assert_eq!(tags(&exchange(&mut client, &again, b'Z')), "1tTZ");
        let use_it = [wire::bind("again", &[]), wire::execute(), wire::sync()];
        assert_eq!(tags(&exchange(&mut client, &use_it, b'Z')), "2DCZ");
    }
    world.assert_no_panic();
}

/// A client that is told with every run what it returns.
#[test]
fn who_asks_every_time_is_served_across_any_change() {
    if bare::wanted() {
        return;
    }
    let world = furnished("1");
    outside(
        &world,
        "create function widen() returns void security definer language sql as \
                   $$ alter table shape add by_function int $$",
    );
    let (mut client, mut other) = (world.session(0), world.session(0));
    exchange(&mut client, &[wire::parse("s", TEXT), run("s"), wire::sync()], b'Z');
    let run = [run("s"), wire::sync()];
    outside(&world, "alter table shape add directly int");
    assert_eq!(width(&exchange(&mut client, &run, b'Z')), 2);
    other.query("select widen()").unwrap();
    assert_eq!(width(&exchange(&mut client, &run, b'Z')), 3);
    outside(&world, "alter table shape alter a type text");
    assert_eq!(width(&exchange(&mut client, &run, b'Z')), 3);
    // In a transaction nothing can be done about it; behind it all is well.
    outside(&world, "alter table shape add late int");
    client.query("begin").unwrap();
    let heard = exchange(&mut client, &run, b'Z');
    assert!(refusal(&heard).contains("0A000"), "{heard:?}");
    client.query("rollback").unwrap();
    assert_eq!(width(&exchange(&mut client, &run, b'Z')), 4);
    world.assert_no_panic();
}

/// What comes behind it waits for how the group ends, and is sent again with it.
#[test]
fn what_waits_behind_a_statement_that_is_sent_again_is_answered() {
    if bare::wanted() {
        return;
    }
    let world = furnished("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    exchange(&mut client, &[wire::parse("s", TEXT), run("s"), wire::sync()], b'Z');
    outside(&world, "alter table shape add x int");
    let first = [run("s"), wire::parse("n", "select 2"), wire::sync()];
    let said = [first.concat(), run("n"), wire::sync()];
    let heard = exchange(&mut client, &said, b'Z');
    assert_eq!((tags(&heard).as_str(), width(&heard)), ("2TDC1Z", 2), "{heard:?}");
    assert_eq!(tags(&exchange(&mut client, &[], b'Z')), "2TDCZ");
    assert_eq!(other.one("select 1").as_deref(), Ok("1"));
    world.assert_no_panic();
}

/// What is longer than the relay's buffer is not kept: the client is told, and the next time works.
#[test]
fn what_is_too_long_to_be_sent_again_is_told() {
    if bare::wanted() {
        return;
    }
    let world = furnished("1");
    let mut client = world.session(0);
    let text = "select *, length($1::text) from shape";
    let long = vec![b'x'; 100_000];
    let run = |value: &[u8]| {
        [wire::bind("s", &[value]), describe(b'P', ""), wire::execute(), wire::sync()]
    };
    let heard =
        exchange(&mut client, &[vec![wire::parse("s", text)], run(&long).into()].concat(), b'Z');
    assert_eq!(width(&heard), 2);
    outside(&world, "alter table shape add more int");
    let heard = exchange(&mut client, &run(&long), b'Z');
    assert!(refusal(&heard).contains("0A000"), "{heard:?}");
    assert_eq!(width(&exchange(&mut client, &run(&long), b'Z')), 3);
    outside(&world, "alter table shape add most int");
    assert_eq!(width(&exchange(&mut client, &run(b"short"), b'Z')), 4);
    world.assert_no_panic();
}

/// Two drivers, new connections after every change, beside some that stay.
#[test]
fn drivers_hear_nothing_of_a_change_past_the_pool() {
    if bare::wanted() {
        return;
    }
    let world = furnished("3");
    let login = world.tenants[0].login();
    let mut command = Command::new("timeout");
    command.arg("120").arg(tools::python()).arg(tools::file("drivers/stale_asyncpg.py"));
    command.envs([
        ("T_HOST", "127.0.0.1"),
        ("T_PORT", &world.listen.port().to_string()),
        ("T_USER", &login.user),
        ("T_PASSWORD", &login.password),
        ("T_DATABASE", &world.tenants[0].database()),
        ("T_OUTSIDE", world.superuser_name()),
        ("T_OUTSIDE_PORT", &world.server_addr().port().to_string()),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]);
    let told = tools::run(&mut command);
    let mut wanted = String::new();
    for turn in 0..4 {
        let inside = if turn % 2 == 1 { "True" } else { "False" };
        let (width, kept) = (2 * turn + 2, vec![2 * turn + 3; turn + 1]);
        wanted += &format!("asyncpg {inside} {width}\npsycopg {inside} {}\n", width + 1);
        wanted += &format!("kept {kept:?}\n");
    }
    assert_eq!(told, wanted + "== end\n");
    world.assert_no_panic();
}

/// It waits for a lock as the client's own would; but not beyond the end of its session.
#[test]
fn who_is_prepared_anew_behind_a_lock_is_cut_all_the_same() {
    if bare::wanted() {
        return;
    }
    let world = furnished("4");
    let (mut client, mut other) = (world.session(0), world.session(0));
    exchange(&mut client, &[wire::parse("p", TEXT), run("p"), wire::sync()], b'Z');
    // Through pgusher, so that the statement is known to be stale.
    other.query("create table another (n int)").unwrap();
    let mut holder = world.superuser(&world.tenants[0].database());
    holder.query("begin; lock table shape").unwrap();
    client.say(&[run("p"), wire::sync()].concat()).unwrap();
    let waits = "select count(*) from pg_locks where not granted";
    eventually(PATIENCE, "it waits", || (holder.one(waits).unwrap() == "1").then_some(()));
    world.cli(&["tenant", "suspend", &world.tenants[0].id]);
    assert_eq!(client.verdict().map(|refusal| refusal.code).as_deref(), Some("57P01"));
    // A transaction sees one and the same pg_stat_activity from its first look on.
    let mut watcher = world.superuser("postgres");
    let left = "select count(*) from pg_stat_activity where usename like 't\\_%'";
    eventually(PATIENCE, "its server ends", || (watcher.one(left).unwrap() == "0").then_some(()));
    drop(holder);
    world.assert_no_panic();
}

/// A client that cannot be prepared anew takes nothing from the others.
#[test]
fn who_cannot_be_prepared_anew_leaves_the_others_what_they_prepared() {
    if bare::wanted() {
        return;
    }
    let world = furnished("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    client.query("set lock_timeout = '200ms'").unwrap();
    let prepare = |name: &str| [wire::parse(name, TEXT), describe(b'S', name), wire::sync()];
    exchange(&mut client, &prepare("s"), b'Z');
    other.query("create table another (n int)").unwrap();
    let use_it = |name: &str| [wire::bind(name, &[]), wire::execute(), wire::sync()];
    exchange(&mut other, &prepare("o"), b'Z');
    assert_eq!(tags(&exchange(&mut other, &use_it("o"), b'Z')), "2DCZ");
    let mut holder = world.superuser(&world.tenants[0].database());
    holder.query("begin; lock table shape").unwrap();
    assert_eq!(tags(&exchange(&mut client, &use_it("s"), b'Z')), "EZ");
    drop(holder);
    assert_eq!(tags(&exchange(&mut other, &use_it("o"), b'Z')), "2DCZ");
    assert_eq!(tags(&exchange(&mut client, &use_it("s"), b'Z')), "2DCZ");
    world.assert_no_panic();
}
