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

/// What is no part of a statement's result is not compared: the table behind it may be another.
#[test]
fn a_table_made_anew_is_served_as_ever() {
    if bare::wanted() {
        return;
    }
    let world = small("2");
    let [mut client, mut other, mut third] = [(); 3].map(|()| world.session(0));
    let temporary = "begin; create temp table passing on commit drop as select 7 as a";
    other.query("begin").unwrap();
    client.query(temporary).unwrap();
    prepare(&mut client, "t", "select a from passing");
    client.query("commit").unwrap();
    prepare(&mut client, "s", "select a from shape");
    third.query("begin").unwrap();
    let swap = "create table fresh (a int); insert into fresh values (8); drop table shape;
                alter table fresh rename to shape; grant all on shape to public";
    outside(&world, swap);
    other.query("commit").unwrap();
    client.query(temporary).unwrap();
    assert_eq!(told(&mut client, &sync(run("t")), 1), "2 D7 C ZT ");
    assert_eq!(told(&mut client, &sync(run("s")), 1), "2 D8 C ZT ");
    client.query("commit").unwrap();
    assert_eq!(told(&mut client, &sync(run("s")), 1), "2 D8 C ZI ");
    world.assert_no_panic();
}

/// A server may have read the text before a change that the client was told of.
#[test]
fn who_was_told_since_is_served_by_a_server_that_read_it_before() {
    if bare::wanted() {
        return;
    }
    for described in [true, false] {
        let world = small("2");
        let [mut client, mut other, mut third] = [(); 3].map(|()| world.session(0));
        // One server has it of before, the other reads it behind the change.
        third.query("begin").unwrap();
        if described {
            prepare(&mut other, "s", "select * from shape");
        } else {
            told(&mut other, &[wire::parse("s", "select * from shape"), wire::sync()], 1);
        }
        assert_eq!(told(&mut other, &sync(run("s")), 1), "2 D7 C ZI ");
        other.query("begin").unwrap();
        third.query("commit").unwrap();
        outside(&world, "alter table shape alter a type bigint");
        client.query("begin").unwrap();
        prepare(&mut client, "s", "select * from shape");
        client.query("commit").unwrap();
        third.query("begin").unwrap();
        other.query("commit").unwrap();
        for _ in 0..2 {
            client.query("begin").unwrap();
            assert_eq!(told(&mut client, &sync(run("s")), 1), "2 D7 C ZT ", "{described}");
            client.query("commit").unwrap();
        }
        assert_eq!(told(&mut client, &sync(run("s")), 1), "2 D7 C ZI ");
        world.assert_no_panic();
    }
}

/// One text under two names: what is told of the one says nothing of the other.
#[test]
fn every_name_is_told_of_by_itself() {
    if bare::wanted() {
        return;
    }
    let world = small("1");
    let mut client = world.session(0);
    for turn in 0..8 {
        // Nobody asked about the second: that is nothing to the first.
        prepare(&mut client, &format!("a{turn}"), "select * from shape");
        told(
            &mut client,
            &[wire::parse(&format!("b{turn}"), "select * from shape"), wire::sync()],
            1,
        );
        world.session(0).query("create table unrelated (n int); drop table unrelated").unwrap();
        assert_eq!(told(&mut client, &sync(run(&format!("a{turn}"))), 1), "2 D7 C ZI ");
    }
    prepare(&mut client, "old", "select * from shape");
    outside(&world, "alter table shape alter a type bigint");
    client.query("begin").unwrap();
    prepare(&mut client, "new", "select * from shape");
    assert_eq!(told(&mut client, &sync(run("new")), 1), "2 D7 C ZT ");
    // Asked about in the same write, too.
    let said = [describe("new"), run("old"), wire::sync()];
    assert_eq!(told(&mut client, &said, 1), format!("t T {CHANGED}ZE "));
    client.query("rollback").unwrap();
    world.assert_no_panic();
}

/// What PostgreSQL refuses for another reason is told with that reason.
#[test]
fn what_cannot_be_read_anew_is_refused_as_by_postgresql() {
    if bare::wanted() {
        return;
    }
    let world = small("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    prepare(&mut client, "s", "select * from shape");
    let said = [wire::query("rollback"), run("s"), wire::sync()];
    client.query("begin").unwrap();
    assert!(client.query("select 1 / 0").is_err());
    outside(&world, "alter table shape alter a type bigint");
    // A failed transaction that ends in the same write hides nothing.
    assert_eq!(told(&mut client, &said, 2), format!("C ZI {CHANGED}ZI "));
    prepare(&mut client, "again", "select * from shape");
    other.query("drop table shape").unwrap();
    assert_eq!(told(&mut client, &sync(run("again")), 1), "E42P01 ZI ");
    other.query("begin").unwrap();
    world.assert_no_panic();
}
