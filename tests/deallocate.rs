//! DEALLOCATE of what was prepared by the protocol: servers know it by another name, and other clients
//! by names of their own.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use world::pipeline::{run, told};
use world::wire::{self, Conn, Refusal};
use world::{Plan, World};

fn small(servers: &str) -> World {
    World::start(Plan::tenants(1).set("limits.server_max", servers))
}

#[test]
fn a_name_is_deallocated_by_either_protocol_and_stays_for_others() {
    let world = small("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    let prepare = [wire::parse("s1", "select 1"), wire::sync()];
    assert_eq!(told(&mut other, &prepare, 1), "1 ZI ");
    let run_it = [run("s1"), wire::sync()].concat();
    for sql in ["deallocate s1", " DEALLOCATE prepare \"s1\"", "/* x */ deallocate s1;"] {
        let ways: [(Vec<u8>, usize, &str); 4] = [
            (wire::query(sql), 1, "C ZI "),
            ([wire::parse("", sql), run(""), wire::sync()].concat(), 1, "1 2 C ZI "),
            (
                [wire::parse("", sql), wire::sync(), run(""), wire::sync()].concat(),
                2,
                "1 ZI 2 C ZI ",
            ),
            ([wire::parse("d", sql), run("d"), wire::sync()].concat(), 1, "1 2 C ZI "),
        ];
        for (n, (said, answers, wanted)) in ways.into_iter().enumerate() {
            assert_eq!(told(&mut client, &prepare, 1), "1 ZI ", "{sql} {n}");
            assert_eq!(told(&mut client, std::slice::from_ref(&run_it), 1), "2 D1 C ZI ");
            // Thrown away, it has deallocated nothing.
            if n < 2 {
                let lost = [wire::bind("nope", &[]), said.clone(), wire::sync()];
                let answers = 1 + usize::from(n == 1);
                let heard = told(&mut client, &lost, answers);
                assert_eq!(heard, ["E26000 ZI ", "E26000 ZI ZI "][n], "{sql} {n}");
                let run = std::slice::from_ref(&run_it);
                assert_eq!(told(&mut client, run, 1), "2 D1 C ZI ", "{sql} {n}");
            }
            assert_eq!(told(&mut client, &[said], answers), wanted, "{sql} {n}");
            assert_eq!(
                told(&mut client, std::slice::from_ref(&run_it), 1),
                "E26000 ZI ",
                "{sql} {n}"
            );
            assert_eq!(
                told(&mut other, std::slice::from_ref(&run_it), 1),
                "2 D1 C ZI ",
                "{sql} {n}"
            );
        }
        client.query("deallocate d").unwrap();
    }
    let count = "select count(*) from pg_prepared_statements";
    assert_eq!(client.one(count).as_deref(), Ok("0"));
    // Parsed in one transaction, run in another; and made anew in the same group.
    assert_eq!(told(&mut client, &prepare, 1), "1 ZI ");
    assert_eq!(told(&mut client, &[wire::parse("", "deallocate s1"), wire::sync()], 1), "1 ZI ");
    other.query("select 1").unwrap();
    let anew = [run(""), wire::parse("s1", "select 2"), run("s1"), wire::sync()];
    assert_eq!(told(&mut client, &anew, 1), "2 C 1 2 D2 C ZI ");
    assert_eq!(told(&mut client, std::slice::from_ref(&run_it), 1), "2 D2 C ZI ");
    assert_eq!(client.one(count).as_deref(), Ok("1"));
    // In a transaction that has failed nothing is deallocated.
    client.query("begin").unwrap();
    assert!(client.query("select 1/0").is_err());
    assert_eq!(told(&mut client, &[wire::query("deallocate s1")], 1), "E25P02 ZE ");
    client.query("rollback").unwrap();
    assert_eq!(told(&mut client, std::slice::from_ref(&run_it), 1), "2 D2 C ZI ");
    let all = [wire::query("begin"), wire::query("select 1/0"), wire::query("deallocate s1")];
    assert_eq!(told(&mut client, &all, 3), "C ZT E22012 ZE E25P02 ZE ");
    client.query("rollback").unwrap();
    assert_eq!(told(&mut client, &[run_it], 1), "2 D2 C ZI ");
    world.assert_no_panic();
}

/// What is deallocated is not made first: its table may be gone, or locked.
#[test]
fn a_statement_of_a_dropped_table_is_deallocated() {
    let world = small("2");
    let mut client = world.session(0);
    let pid = |session: &mut Conn| session.one("select pg_backend_pid()").unwrap();
    for sql in ["deallocate s1", "/* */ deallocate s1"] {
        client.query("create table gone (n int)").unwrap();
        let prepare = [wire::parse("s1", "select * from gone"), wire::sync()];
        assert_eq!(told(&mut client, &prepare, 1), "1 ZI ");
        let there = pid(&mut client);
        // The client's next transaction is on the other server, and the table is locked.
        let (mut one, mut two) = (world.session(0), world.session(0));
        one.query("begin").unwrap();
        two.query("begin").unwrap();
        if pid(&mut one) != there {
            std::mem::swap(&mut one, &mut two);
        }
        one.query("drop table gone").unwrap();
        two.query("commit").unwrap();
        client.query("begin").unwrap();
        assert_eq!(told(&mut client, &[wire::query(sql)], 1), "C ZT ", "{sql}");
        assert_ne!(pid(&mut client), there);
        one.query("commit").unwrap();
        client.query("commit").unwrap();
        assert_eq!(told(&mut client, &[run("s1"), wire::sync()], 1), "E26000 ZI ", "{sql}");
    }
    world.assert_no_panic();
}

/// A simple query ends what came before it without a Sync: if it fails, that is undone.
#[test]
fn an_execute_does_not_commit_what_came_before_it() {
    let world = small("1");
    let mut client = world.session(0);
    client.query("create table log (n int)").unwrap();
    let prepare = [wire::parse("s1", "select 1 / (select 0)"), wire::sync()];
    assert_eq!(told(&mut client, &prepare, 1), "1 ZI ");
    let insert = [wire::parse("", "insert into log values (1)"), run("")].concat();
    let all = [insert, wire::query("execute s1"), wire::sync()];
    assert_eq!(told(&mut client, &all, 2), "1 2 C E22012 ZI ZI ");
    assert_eq!(client.one("select count(*) from log").as_deref(), Ok("0"));
    world.assert_no_panic();
}

/// What is executed twice finds nothing the second time, and says so by the client's name.
#[test]
fn who_deallocates_twice_hears_of_its_own_name_and_hurts_nobody() {
    let world = small("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    let mine = [wire::parse("mine", "select 1"), run("mine"), wire::sync()];
    assert_eq!(told(&mut other, &mine, 1), "1 2 D1 C ZI ");
    let run_mine = [run("mine"), wire::sync()];
    for name in ["d", ""] {
        let prepare = [wire::parse("s1", "select 2"), wire::parse(name, "deallocate s1")];
        let all = [prepare.concat(), run(name), wire::sync()];
        assert_eq!(told(&mut client, &all, 1), "1 1 2 C ZI ", "{name}");
        client.say(&[run(name), wire::sync()].concat()).unwrap();
        let heard = client.hear_all().unwrap();
        let refused = heard.iter().find(|m| m.tag == b'E').unwrap();
        let text = Refusal::parse(&refused.body).text();
        assert!(text.contains("26000 prepared statement \"s1\" does not exist"), "{text}");
        // The server need not be asked anew for what others have prepared.
        assert_eq!(told(&mut other, &run_mine, 1), "2 D1 C ZI ", "{name}");
    }
    world.assert_no_panic();
}

/// What a portal was bound to is deallocated when that one is executed.
#[test]
fn every_portal_deallocates_its_own() {
    let world = small("1");
    let mut client = world.session(0);
    let portal = |portal: &str, name: &str| {
        wire::message(b'B', format!("{portal}\0{name}\0\0\0\0\0\0\0").as_bytes())
    };
    let execute = |portal: &str| wire::message(b'E', format!("{portal}\0\0\0\0\0").as_bytes());
    let prepare = [
        wire::parse("a", "select 'a'"),
        wire::parse("b", "select 'b'"),
        wire::parse("da", "deallocate a"),
        wire::parse("db", "deallocate b"),
        wire::sync(),
    ];
    assert_eq!(told(&mut client, &prepare, 1), "1 1 1 1 ZI ");
    let run_both = [run("a"), wire::sync(), run("b"), wire::sync()];
    let one = [portal("p1", "da"), portal("p2", "db"), execute("p1"), wire::sync()];
    assert_eq!(told(&mut client, &one, 1), "2 2 C ZI ");
    assert_eq!(told(&mut client, &run_both, 2), "E26000 ZI 2 Db C ZI ");
    assert_eq!(told(&mut client, &prepare[..1], 0), "");
    assert_eq!(told(&mut client, &[wire::sync()], 1), "1 ZI ");
    let both = [portal("p1", "da"), portal("p2", "db"), execute("p1"), execute("p2"), wire::sync()];
    assert_eq!(told(&mut client, &both, 1), "2 2 C C ZI ");
    assert_eq!(told(&mut client, &run_both, 2), "E26000 ZI E26000 ZI ");
    world.assert_no_panic();
}

/// A name that is free again in its group means what was parsed under it since.
#[test]
fn what_is_made_behind_a_deallocate_all_of_its_group_stays() {
    let world = small("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    let run_it = [run("a"), wire::sync()];
    let all = |sql: &str| [wire::parse("", sql), run("")].concat();
    let make = |sql: &str| wire::parse("a", sql);
    let close = || wire::message(b'C', b"Sa\0");
    let hidden = "do $$ begin execute 'deallocate all'; end $$";
    for free in ["deallocate all", "discard all", hidden] {
        let mut says = |said: &[Vec<u8>], answers: usize| {
            let old = [wire::parse("a", "select 0"), wire::sync()];
            assert_eq!(told(&mut client, &old, 1), "1 ZI ", "{free}");
            let said = [all(free), said.concat(), wire::sync()];
            let heard = told(&mut client, &said, answers);
            let ran = told(&mut client, &run_it, 1);
            client.query("deallocate all").unwrap();
            (heard, ran)
        };
        let expect = |heard: &str, ran: &str| (heard.to_owned(), ran.to_owned());
        assert_eq!(says(&[make("select 1")], 1), expect("1 2 C 1 ZI ", "2 D1 C ZI "), "{free}");
        // What is freed out of sight is the client's until it makes another.
        let left = if free == hidden { "2 D0 C ZI " } else { "E26000 ZI " };
        let fails = expect("1 2 C E42601 ZI ", left);
        assert_eq!(says(&[make("selec")], 1), fails, "{free}");
        let closed = expect("1 2 C 1 3 ZI ", "E26000 ZI ");
        assert_eq!(says(&[make("select 1 + 1 + 1"), close()], 1), closed, "{free}");
        let kept = expect("1 2 C 1 E26000 ZI ", "2 D1 C ZI ");
        assert_eq!(says(&[make("select 1"), run("nope"), close()], 1), kept, "{free}");
        if free != hidden {
            let lost = expect("1 2 C E26000 ZI ", "E26000 ZI ");
            assert_eq!(says(&[run("nope"), close()], 1), lost, "{free}");
        }
        let later = [make("select 1"), wire::sync(), close(), wire::sync(), make("select 2")];
        let pipelined = expect("1 2 C 1 ZI 3 ZI 1 ZI ", "2 D2 C ZI ");
        assert_eq!(says(&later, 3), pipelined, "{free}");
        let twice = [make("select 1"), close(), make("select 2")];
        assert_eq!(says(&twice, 1), expect("1 2 C 1 3 1 ZI ", "2 D2 C ZI "), "{free}");
        let mine = [wire::parse("b", "select 0"), run("b"), wire::parse("c", "select 1"), run("c")];
        let heard = told(&mut other, &[mine.concat(), wire::sync()], 1);
        assert_eq!(heard, "1 2 D0 C 1 2 D1 C ZI ", "{free}");
        other.query("deallocate all").unwrap();
    }
    world.assert_no_panic();
}

/// When its server prepared "select 1", the one statement it has of the client.
fn made(client: &mut Conn) -> String {
    let sql = "select prepare_time from pg_prepared_statements where statement = 'select 1'";
    let rows = client.query(sql).unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    row[0].clone().unwrap()
}

/// A temporary table is its client's alone, though its tag is any table's.
#[test]
fn who_makes_a_temporary_table_has_nobody_prepare_anew() {
    let world = small("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    let mine = [wire::parse("mine", "select 1"), wire::sync()];
    assert_eq!(told(&mut other, &mine, 1), "1 ZI ");
    // Who goes by no description has its statement made anew behind every change.
    let undescribed = [wire::bind("mine", &[]), wire::execute(), wire::sync()].concat();
    let time = |other: &mut Conn| {
        assert_eq!(told(other, std::slice::from_ref(&undescribed), 1), "2 D1 C ZI ");
        made(other)
    };
    let mut before = time(&mut other);
    let create = "create temp table passing (a int) on commit drop";
    let unnamed = [wire::parse("", create), run(""), wire::sync()].concat();
    for (makes, anew) in [
        (wire::query(create), false),
        (unnamed, false),
        (wire::query("create temp view w as select 1; drop view w"), true),
        (wire::query(&format!("{create}; create table stays ()")), true),
        (wire::query("create table pg_temp.other (); drop table pg_temp.other"), true),
        (wire::query("do 'begin end'; create table more ()"), true),
    ] {
        let text = String::from_utf8_lossy(&makes).into_owned();
        client.say(&makes).unwrap();
        let heard = client.hear_all().unwrap();
        assert!(heard.iter().all(|m| m.tag != b'E'), "{text} {heard:?}");
        let after = time(&mut other);
        assert_eq!(after != before, anew, "{text}");
        before = after;
    }
    world.assert_no_panic();
}

/// Whoever prepares a name that is taken is told so, and has nobody's statements made anew.
#[test]
fn a_name_that_is_taken_hurts_nobody() {
    let world = small("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    let mine = [wire::parse("mine", "select 1"), wire::sync()];
    assert_eq!(told(&mut other, &mine, 1), "1 ZI ");
    let before = made(&mut other);
    let s1 = [wire::parse("s1", "select 2"), wire::sync()];
    assert_eq!(told(&mut client, &s1, 1), "1 ZI ");
    client.say(&s1.concat()).unwrap();
    let heard = client.hear_all().unwrap();
    let refused = heard.iter().find(|m| m.tag == b'E').unwrap();
    let text = Refusal::parse(&refused.body).text();
    assert!(text.contains("42P05 prepared statement \"s1\" already exists"), "{text}");
    assert_eq!(told(&mut client, &[run("s1"), wire::sync()], 1), "2 D2 C ZI ");
    assert_eq!(told(&mut other, &[run("mine"), wire::sync()], 1), "2 D1 C ZI ");
    assert_eq!(made(&mut other), before, "not made anew");
    world.assert_no_panic();
}

/// psqlODBC closes what it has prepared in a text of three statements, inside a savepoint.
#[test]
fn one_statement_of_several_deallocates_or_executes() {
    let world = small("2");
    let mut client = world.session(0);
    let prepare = [wire::parse("_PLAN1", "select 1"), wire::sync()];
    let closed = "savepoint s;DEALLOCATE \"_PLAN1\";release s";
    let gone = [wire::bind("_PLAN1", &[]), wire::sync()];
    for (said, wanted) in [
        (closed, "C C C ZT "),
        ("select 1; execute \"_PLAN1\"; select 2", "T D1 C T D1 C T D2 C ZT "),
        ("execute \"_PLAN1\"; rollback; begin", "T D1 C C C ZT "),
        ("deallocate \"_PLAN1\"; select 1", "C T D1 C ZT "),
    ] {
        assert_eq!(told(&mut client, &prepare, 1), "1 ZI ", "{said}");
        // Its next transaction is on the other server, or on one dialled for it.
        let mut busy = world.session(0);
        busy.query("begin").unwrap();
        client.query("begin").unwrap();
        assert_eq!(told(&mut client, &[wire::query(said)], 1), wanted, "{said}");
        client.query("rollback").unwrap();
        busy.query("rollback").unwrap();
        if said.to_lowercase().contains("deallocate") {
            assert_eq!(told(&mut client, &gone, 1), "E26000 ZI ", "{said}");
        } else {
            client.query("deallocate \"_PLAN1\"").unwrap();
        }
    }
    // In a transaction that has failed nothing is closed before its end.
    told(&mut client, &prepare, 1);
    client.query("begin; savepoint s").unwrap();
    client.query("select 1/0").unwrap_err();
    assert_eq!(told(&mut client, &[wire::query(closed)], 1), "E25P02 ZE ");
    let behind = [wire::query("rollback to s; deallocate \"_PLAN1\"; commit")];
    assert_eq!(told(&mut client, &behind, 1), "C C C ZI ");
    assert_eq!(told(&mut client, &gone, 1), "E26000 ZI ");
    world.assert_no_panic();
}

/// A text that comes in two halves is about the client's name, too, where nothing else is prepared.
#[test]
fn a_text_that_comes_in_halves_is_renamed() {
    let world = small("2");
    let mut client = world.session(0);
    let prepare = [wire::parse("s1", "select 1"), wire::sync()];
    let texts = [
        (wire::query("execute s1"), "T D1 C ZT "),
        ([wire::parse("", "execute s1"), run(""), wire::sync()].concat(), "1 2 D1 C ZT "),
        (wire::query("deallocate s1"), "C ZT "),
        ([wire::parse("", "deallocate s1"), run(""), wire::sync()].concat(), "1 2 C ZT "),
    ];
    for (said, wanted) in texts {
        told(&mut client, &prepare, 1);
        // Its next transaction is on the other server, or on one dialled for it.
        let mut busy = world.session(0);
        busy.query("begin").unwrap();
        busy.query("select 1").unwrap();
        client.query("begin").unwrap();
        // What is answered came in one read with the half behind it.
        let half = said.iter().rposition(|b| *b == b's').unwrap();
        let before = [wire::query("select 1"), said[..half].to_vec()];
        assert_eq!(told(&mut client, &before, 1), "T D1 C ZT ");
        assert_eq!(told(&mut client, &[said[half..].to_vec()], 1), wanted);
        for session in [&mut client, &mut busy] {
            session.query("deallocate all").unwrap();
            session.query("commit").unwrap();
        }
    }
    world.assert_no_panic();
}

/// What a body closes was others', too.
#[test]
fn a_deallocate_all_in_a_body_takes_nothing_from_others() {
    let world = small("1");
    let (mut client, mut other) = (world.session(0), world.session(0));
    client
        .query("create function frees() returns int language plpgsql as 'begin deallocate all; return 1; end'")
        .unwrap();
    let make = [wire::parse("a", "select 7"), wire::sync()];
    assert_eq!(told(&mut other, &make, 1), "1 ZI ");
    for free in
        ["do $$ begin deallocate all; end $$", "select frees()", "select frees()", "select frees()"]
    {
        assert_eq!(told(&mut other, &[run("a"), wire::sync()], 1), "2 D7 C ZI ", "{free}");
        client.query(free).unwrap();
    }
    assert_eq!(told(&mut other, &[run("a"), wire::sync()], 1), "2 D7 C ZI ");
    world.assert_no_panic();
}
