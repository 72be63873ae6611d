//! What a client was told of a statement stays true on every server, those that read its text behind a
//! change of the schema among them: where it would not, PostgreSQL's own error says so.
#![allow(clippy::unwrap_used, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use world::pipeline::told;
use world::wire::{self, Conn};
use world::{Plan, World, bare};

const CHANGED: &str = "E0A000 ";

fn small(servers: &str) -> World {
    let world = World::start(Plan::tenants(1).set("limits.server_max", servers));
    let mut owner = world.session(0);
    owner.query("create table shape (a int); insert into shape values (7)").unwrap();
    owner.query("create table log (n int)").unwrap();
    world
}

/// Works past pgusher.
fn outside(world: &World, sql: &str) {
    let mut superuser = world.superuser(&world.tenants[0].database());
    superuser.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

fn describe(name: &str) -> Vec<u8> {
    wire::message(b'D', &[b"S", name.as_bytes(), b"\0"].concat())
}

/// Prepares a statement as a driver does that asks once what it returns.
fn prepare(conn: &mut Conn, name: &str, text: &str) {
    let said = [wire::parse(name, text), describe(name), wire::sync()];
    let heard = told(conn, &said, 1);
    assert!(heard.starts_with("1 t "), "{heard}");
}

fn run(name: &str) -> Vec<u8> {
    [wire::bind(name, &[]), wire::execute()].concat()
}

fn sync(said: Vec<u8>) -> [Vec<u8>; 2] {
    [said, wire::sync()]
}

/// The first to meet the change is told by PostgreSQL, and the server closes what it had: who comes
/// behind it, with a description of before, is told all the same.
#[test]
fn who_comes_behind_who_was_told_is_told_as_well() {
    if bare::wanted() {
        return;
    }
    let world = small("1");
    let (mut first, mut second) = (world.session(0), world.session(0));
    let mut third = world.session(0);
    for conn in [&mut first, &mut second, &mut third] {
        prepare(conn, "s", "select * from shape");
        assert_eq!(told(conn, &sync(run("s")), 1), "2 D7 C ZI ");
    }
    outside(&world, "alter table shape alter a type bigint");
    for conn in [&mut first, &mut second] {
        conn.query("begin; insert into log values (1)").unwrap();
        assert_eq!(told(conn, &sync(run("s")), 1), format!("{CHANGED}ZE "));
        // As any error does, it ends the transaction.
        assert_eq!(told(conn, &sync(run("s")), 1), "E25P02 ZE ");
        conn.query("rollback").unwrap();
        assert_eq!(told(conn, &sync(run("s")), 1), format!("{CHANGED}ZI "));
    }
    // In a group, what comes before it is undone and what comes behind it skipped.
    let insert = wire::parse("", "insert into log values (2)");
    let said = [insert, run(""), run("s"), run(""), wire::sync(), wire::query("select 1")];
    assert_eq!(told(&mut third, &said, 2), format!("1 2 C {CHANGED}ZI T D1 C ZI "));
    assert_eq!(third.one("select count(*) from log").as_deref(), Ok("0"));
    // Asked again, it tells what is true.
    for conn in [&mut first, &mut second, &mut third] {
        let said = [describe("s"), run("s"), wire::sync()];
        assert_eq!(told(conn, &said, 1), "t T 2 D7 C ZI ");
        assert_eq!(told(conn, &sync(run("s")), 1), "2 D7 C ZI ");
    }
    world.assert_no_panic();
}

/// A server that has never had the statement reads it as the schema is now; within a transaction that
/// was begun since nobody can prepare it anew.
#[test]
fn a_server_that_reads_a_statement_later_serves_nobody_who_was_told_before() {
    if bare::wanted() {
        return;
    }
    for through in [true, false] {
        let world = small("2");
        let [mut client, mut other, mut third] = [(); 3].map(|()| world.session(0));
        other.query("begin").unwrap();
        prepare(&mut client, "s", "select * from shape");
        prepare(&mut client, "same", "select 1 from shape");
        // It has the server that has the statements.
        third.query("begin").unwrap();
        let change = "alter table shape alter a type text";
        if through {
            other.query(change).unwrap();
        } else {
            outside(&world, change);
        }
        other.query("commit").unwrap();
        client.query("begin").unwrap();
        assert_eq!(told(&mut client, &sync(run("same")), 1), "2 D1 C ZT ");
        assert_eq!(told(&mut client, &sync(run("s")), 1), format!("{CHANGED}ZE "));
        assert_eq!(client.query("rollback").unwrap().len(), 0);
        world.assert_no_panic();
    }
}

/// What types its parameters have is told once, too: values are sent as such.
#[test]
fn parameters_keep_the_types_that_were_told() {
    if bare::wanted() {
        return;
    }
    let world = small("2");
    let [mut client, mut other, mut third] = [(); 3].map(|()| world.session(0));
    other.query("begin").unwrap();
    prepare(&mut client, "i", "insert into shape values ($1)");
    // It has the server that has the statement.
    third.query("begin").unwrap();
    outside(&world, "alter table shape alter a type bigint");
    // Four bytes, as an int4.
    let run = |value: i32| {
        let counts = [b"\0\x01\0\x01\0\x01\0\0\0\x04", &value.to_be_bytes()[..], b"\0\0"].concat();
        let bind = wire::message(b'B', &[b"\0i\0", &counts[..]].concat());
        [bind, wire::execute(), wire::sync()]
    };
    other.query("commit").unwrap();
    client.query("begin").unwrap();
    for _ in 0..2 {
        assert_eq!(told(&mut client, &run(9), 1), "2 C ZT ");
    }
    client.query("commit").unwrap();
    let sum = "select sum(a)::int from shape";
    assert_eq!(other.one(sum).as_deref(), Ok("25"), "7 + 2 * 9");
    world.assert_no_panic();
}
