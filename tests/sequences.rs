//! What a session's sequences gave it is told to it and to nobody else, however few servers its
//! tenant has and whoever else is on them.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::thread;

use world::tools::env_or;
use world::wire::{self, Conn, Refusal};
use world::{Plan, World, bare, code, report};

/// Where nothing is known of the session's own sequences.
const NOT_DEFINED: &str = "55000";

fn small(servers: &str) -> World {
    let world = World::start(Plan::tenants(1).set("limits.server_max", servers));
    let mut owner = world.session(0);
    owner.query("drop table if exists items").unwrap();
    owner.query("create table items (id serial, who int)").unwrap();
    world
}

/// Inserts a row and asks for its number, each by itself, `turns` times. Returns how often there
/// was an answer; panics where it is another session's.
fn ask_after_insert(conn: &mut Conn, who: u64, turns: u64) -> u64 {
    let mut answers = 0;
    for turn in 0..turns {
        conn.query(&format!("insert into items (who) values ({who})")).unwrap();
        let asked = match turn % 3 {
            0 => conn.one("select lastval()"),
            1 => conn.one("select currval('items_id_seq')"),
            _ => prepared(conn, "select LastVal()"),
        };
        match asked {
            Ok(id) => {
                let newest = format!("select max(id) from items where who = {who}");
                assert_eq!(id, conn.one(&newest).unwrap(), "{who} is told another's");
                answers += 1;
            }
            Err(refusal) => assert_eq!(refusal.code, NOT_DEFINED, "{refusal:?}"),
        }
    }
    answers
}

/// By a named statement, parsed in a transaction of its own.
fn prepared(conn: &mut Conn, sql: &str) -> Result<String, Refusal> {
    conn.say(&[wire::parse("asks", sql), wire::sync()].concat())?;
    conn.rows()?;
    conn.say(&[wire::bind("asks", &[]), wire::execute(), wire::sync()].concat())?;
    let rows = conn.rows();
    let close = wire::message(b'C', b"Sasks\0");
    conn.say(&[close, wire::sync()].concat())?;
    conn.rows()?;
    Ok(rows?[0][0].clone().unwrap())
}

fn contend(servers: &str, sessions: u64) -> (u64, u64) {
    let world = small(servers);
    let turns = env_or("PGUSHER_TEST_TURNS", 150);
    let told = thread::scope(|scope| {
        let asking: Vec<_> = (0..sessions)
            .map(|who| {
                let world = &world;
                scope.spawn(move || ask_after_insert(&mut world.session(0), who, turns))
            })
            .collect();
        asking.into_iter().map(|one| one.join().unwrap()).sum()
    });
    report(&format!(
        "{sessions} sessions on {servers} servers: {told} of {} questions were answered",
        sessions * turns
    ));
    (told, sessions * turns)
}

#[test]
fn as_many_sessions_as_servers_are_always_answered() {
    let (told, asked) = contend("2", 2);
    assert_eq!(told, asked);
}

#[test]
fn more_sessions_than_servers_are_never_told_another_s_number() {
    let (told, asked) = contend("2", 6);
    assert!(told * 10 >= asked * 9, "{told} of {asked}");
}

#[test]
fn what_a_function_did_out_of_sight_is_not_told_to_another() {
    if bare::wanted() {
        return;
    }
    let world = small("1");
    let (mut one, mut other) = (world.session(0), world.session(0));
    one.query(
        "create or replace function hidden() returns void language sql as \
         $$insert into items (who) values (1)$$",
    )
    .unwrap();
    for ask in ["select lastval()", "select currval('items_id_seq')"] {
        one.query("select hidden()").unwrap();
        assert_eq!(code(other.one(ask)), NOT_DEFINED);
        other.query("discard sequences").unwrap();
    }
    one.query("select hidden()").unwrap();
    assert_eq!(code(prepared(&mut other, "select lastval()")), NOT_DEFINED);
    other.query("discard all").unwrap();
    one.query("insert into items (who) values (1)").unwrap();
    other.query("begin").unwrap();
    assert_eq!(code(other.one("select lastval()")), NOT_DEFINED);
    other.query("rollback").unwrap();
}

#[test]
fn discarding_its_sequences_frees_the_server() {
    if bare::wanted() {
        return;
    }
    let world = small("1");
    let (mut one, mut other) = (world.session(0), world.session(0));
    for discard in ["discard sequences", "discard all"] {
        one.query("insert into items (who) values (1)").unwrap();
        one.query("select lastval()").unwrap();
        one.query(discard).unwrap();
        assert_eq!(code(one.one("select lastval()")), NOT_DEFINED, "{discard}");
        one.query(discard).unwrap();
        // Another session gets the only server, and does not wait for it.
        assert_eq!(other.one("select 1").as_deref(), Ok("1"));
    }
}

/// A statement that was prepared long ago does what its text says whenever it is run.
#[test]
fn a_prepared_statement_is_watched_whenever_it_is_run() {
    if bare::wanted() {
        return;
    }
    let world = small("2");
    let (mut one, mut others) = (world.session(0), [world.session(0), world.session(0)]);
    let run = |conn: &mut Conn, name: &str| {
        conn.say(&[wire::bind(name, &[]), wire::execute(), wire::sync()].concat()).unwrap();
        conn.rows().unwrap();
    };
    for (name, sql) in [
        ("set", "select set_config('app.of', 'one', false)"),
        ("lock", "select pg_advisory_lock(7)"),
    ] {
        one.say(&[wire::parse(name, sql), wire::sync()].concat()).unwrap();
        one.rows().unwrap();
    }
    for _ in 0..4 {
        run(&mut one, "set");
        for other in &mut others {
            assert_eq!(other.one("select current_setting('app.of', true)").unwrap_or_default(), "");
        }
        assert_eq!(one.one("select current_setting('app.of', true)").as_deref(), Ok("one"));
    }
    run(&mut one, "lock");
    for other in &mut others {
        assert_eq!(other.one("select pg_try_advisory_lock(7)").as_deref(), Ok("f"));
    }
    assert_eq!(one.one("select pg_advisory_unlock(7)").as_deref(), Ok("t"));
}

fn run_with(conn: &mut Conn, messages: &[Vec<u8>]) -> Result<wire::Rows, Refusal> {
    conn.say(&[messages.concat(), wire::sync()].concat())?;
    conn.rows()
}

/// Execute of the unnamed portal, one row.
fn execute_one() -> Vec<u8> {
    wire::message(b'E', b"\0\0\0\0\x01")
}

/// What a session does that advances a sequence where no command tag says so.
const TAKES: [&str; 9] = [
    "bound",
    "executed",
    "executed by protocol",
    "select by_insert()",
    "select by_nextval()",
    "select around()",
    "table taker",
    "failed",
    "suspended",
];

fn take(conn: &mut Conn, how: &str) {
    let done = match how {
        "bound" => run_with(conn, &[wire::bind("take", &[]), wire::execute()]),
        "executed" => conn.query("execute take"),
        "executed by protocol" => {
            run_with(conn, &[wire::parse("", "execute take"), wire::bind("", &[]), wire::execute()])
        }
        "failed" => {
            let sql = "insert into items (who) select 1 / (1 - n) from generate_series(0, 1) n";
            assert_eq!(code(conn.query(sql)), "22012");
            return;
        }
        "suspended" => {
            let sql = "insert into items (who) values (1), (2) returning id";
            run_with(conn, &[wire::parse("", sql), wire::bind("", &[]), execute_one()])
        }
        sql => conn.query(sql),
    };
    done.unwrap_or_else(|e| panic!("{how}: {e:?}"));
}

/// However a session came to its number, and however another asks for it.
#[test]
fn a_number_taken_out_of_sight_is_not_told_to_another() {
    if bare::wanted() {
        return;
    }
    let world = small("1");
    let (mut one, mut other) = (world.session(0), world.session(0));
    for sql in [
        "create function by_insert() returns void language sql as \
         'insert into items (who) values (1)'",
        "create function by_nextval() returns bigint language plpgsql stable as \
         $$ begin return nextval('items_id_seq'); end $$",
        "create function around() returns bigint language plpgsql as \
         $$ begin return by_nextval(); end $$",
        "create function peek() returns bigint language sql as 'select lastval()'",
        "create view behind as select nextval('items_id_seq') as id",
        "create view taker as select * from behind",
    ] {
        one.query(sql).unwrap();
    }
    run_with(&mut one, &[wire::parse("take", "select nextval('items_id_seq')")]).unwrap();
    let with = "with x as (insert into items (who) values (1) returning id) select id from x";
    run_with(&mut one, &[wire::parse("with", with)]).unwrap();
    for how in TAKES.iter().chain(&[with]) {
        for ask in ["select lastval()", "select currval('items_id_seq')", "select peek()"] {
            other.query("select 1").unwrap();
            take(&mut one, how);
            other.query("begin").unwrap();
            assert_eq!(code(other.one(ask)), NOT_DEFINED, "{how}: {ask}");
            other.query("rollback").unwrap();
            take(&mut one, how);
            assert_eq!(code(other.one(ask)), NOT_DEFINED, "{how}: {ask}");
        }
    }
    other.query("select 1").unwrap();
    run_with(&mut one, &[wire::bind("with", &[]), wire::execute()]).unwrap();
    let asked = [wire::parse("", "begin"), wire::bind("", &[]), wire::execute()].concat();
    let ask = [wire::parse("", "select lastval()"), wire::bind("", &[]), wire::execute()].concat();
    assert_eq!(code(run_with(&mut other, &[asked, ask])), NOT_DEFINED);
    other.query("rollback").unwrap();
}

/// A cancel or a timeout may hit what pgusher asks for itself: nobody's session ends by that, and
/// nobody is told another's number.
#[test]
fn a_server_that_is_disturbed_while_it_forgets_is_asked_again() {
    if bare::wanted() {
        return;
    }
    let world = small("1");
    let (mut one, mut other) = (world.session(0), world.session(0));
    let mut superuser = world.superuser("postgres");
    let storm = "do $$ declare till timestamptz := clock_timestamp() + interval '3 s'; begin \
                 while clock_timestamp() < till loop perform pg_cancel_backend(pid) \
                 from pg_stat_activity where backend_type = 'client backend' \
                 and pid <> pg_backend_pid() and datname = '$'; \
                 perform pg_stat_clear_snapshot(), pg_sleep(0.003); end loop; end $$";
    let storm = storm.replace('$', "\u{1}").replace("\u{1}\u{1}", "$$");
    let storm = storm.replace('\u{1}', &world.tenants[0].database());
    let mut asked = 0;
    thread::scope(|scope| {
        let raging = scope.spawn(move || superuser.query(&storm).unwrap());
        let patiently = |conn: &mut Conn, sql: &str| loop {
            match conn.query(sql) {
                Ok(rows) => return Ok(rows),
                Err(refusal) if refusal.code == "57014" => {}
                Err(refusal) => return Err(refusal),
            }
        };
        while !raging.is_finished() {
            patiently(&mut one, "insert into items (who) values (1)").unwrap();
            for sql in ["select 1", "select lastval()", "begin", "select lastval()", "rollback"] {
                match patiently(&mut other, sql) {
                    Ok(_) => assert_ne!(sql, "select lastval()", "it is told another's"),
                    // A cancel has ended the transaction.
                    Err(refusal) if refusal.code == "25P02" => {}
                    Err(refusal) => assert_eq!(refusal.code, NOT_DEFINED, "{sql}: {refusal:?}"),
                }
            }
            asked += 1;
        }
    });
    report(&format!("{asked} rounds under a storm of cancels"));
    assert!(asked > 0);
}

/// The unnamed statement is bound behind another Sync, with others on the server in between.
#[test]
fn a_long_unnamed_statement_is_there_in_the_next_transaction() {
    let world = small("1");
    let (mut one, mut other) = (world.session(0), world.session(0));
    for length in [10, 16_000, 17_000, 100_000, 900_000] {
        let sql = format!("select length('{}')", "x".repeat(length));
        one.say(&[wire::parse("", &sql), wire::sync()].concat()).unwrap();
        one.rows().unwrap();
        other.query("select 'another'").unwrap();
        one.say(&[wire::bind("", &[]), wire::execute(), wire::sync()].concat()).unwrap();
        let rows = one.rows().unwrap_or_else(|e| panic!("{length}: {e:?}"));
        assert_eq!(rows[0][0].as_deref(), Some(&*length.to_string()));
    }
}
