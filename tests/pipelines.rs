//! What is pipelined behind a group that fails: the server throws away more than it says, and goes on
//! at the Sync. No book of pgusher's goes by what was thrown away.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use world::wire::{self, Conn, Message, Refusal, columns};
use world::{Plan, World};

/// All clients share one server.
fn small() -> World {
    World::start(Plan::tenants(1).set("limits.server_max", "1"))
}

fn close(name: &str) -> Vec<u8> {
    wire::message(b'C', &[b"S", name.as_bytes(), b"\0"].concat())
}

fn run(name: &str) -> Vec<u8> {
    [wire::bind(name, &[]), wire::execute()].concat()
}

/// Says all this in one write and hears as many answers to a Sync or Query: what each says, by tag,
/// with the SQLSTATEs and the values.
fn told(conn: &mut Conn, said: &[Vec<u8>], answers: usize) -> String {
    conn.say(&said.concat()).unwrap();
    let mut told = String::new();
    for _ in 0..answers {
        told.extend(conn.hear_all().unwrap().iter().map(word));
    }
    told
}

fn word(message: &Message) -> String {
    match message.tag {
        b'E' => format!("E{} ", Refusal::parse(&message.body).code),
        b'D' => format!("D{} ", columns(&message.body)[0].as_deref().unwrap_or("null")),
        b'Z' => format!("Z{} ", message.body[0] as char),
        b'S' | b'N' => String::new(),
        tag => format!("{} ", tag as char),
    }
}

/// The unnamed statement on a shared server is whoever's used it last.
#[test]
fn who_has_no_unnamed_statement_runs_nobody_else_s() {
    let world = small();
    let (mut client, mut other) = (world.session(0), world.session(0));
    let secret = [wire::parse("", "select 'secret'"), wire::sync()];
    let nope = wire::bind("nope", &[]);
    let none = "E26000 ZI E26000 ZI ";
    let one = [nope.clone(), wire::parse("", "select 1"), wire::sync(), run(""), wire::sync()];
    let two = [nope.clone(), wire::bind("", &[]), wire::sync(), run(""), wire::sync()];
    let long = wire::parse("", &format!("select '{}'", "x".repeat(40_000)));
    let three = [nope.clone(), long, wire::sync(), run(""), wire::sync()];
    let four = [nope.clone(), wire::query("select 1"), wire::sync(), run(""), wire::sync()];
    let five = [nope, wire::parse("", "select 1"), wire::sync(), run(""), wire::sync()];
    for (n, said) in [one, two, three, four, five].iter().enumerate() {
        assert_eq!(told(&mut other, &secret, 1), "1 ZI ", "{n}");
        assert_eq!(told(&mut client, said, 2), none, "{n}");
        assert_eq!(told(&mut client, &[run(""), wire::sync()], 1), "E26000 ZI ", "{n}");
    }
    world.assert_no_panic();
}

/// What PostgreSQL never accepted is not what the client has in a later transaction.
#[test]
fn an_unnamed_statement_thrown_away_leaves_the_one_before_it() {
    let world = small();
    let (mut client, mut other) = (world.session(0), world.session(0));
    let nope = wire::bind("nope", &[]);
    let parse = |sql: &str| wire::parse("", sql);
    let run = [run(""), wire::sync()].concat();
    let first = [parse("select 'a'"), wire::sync()];
    let lost: [&[Vec<u8>]; 5] = [
        &[nope.clone(), parse("select 'b'"), wire::sync()],
        &[nope.clone(), close(""), wire::sync()],
        &[nope.clone(), parse("select 'b'"), parse("select 'c'"), close(""), wire::sync()],
        &[nope.clone(), wire::query("select 'b'"), wire::sync()],
        &[nope.clone(), parse(&format!("select '{}'", "x".repeat(40_000))), wire::sync()],
    ];
    for (n, lost) in lost.iter().enumerate() {
        for others in [false, true] {
            assert_eq!(told(&mut client, &first, 1), "1 ZI ");
            if others {
                assert_eq!(told(&mut other, &[parse("select 'x'"), wire::sync()], 1), "1 ZI ");
            }
            assert_eq!(told(&mut client, lost, 1), "E26000 ZI ", "{n} {others}");
            if others {
                assert_eq!(told(&mut other, std::slice::from_ref(&run), 1), "2 Dx C ZI ");
            }
            assert_eq!(told(&mut client, std::slice::from_ref(&run), 1), "2 Da C ZI ", "{n}");
            // All in one write.
            let all = [lost.concat(), run.clone()];
            assert_eq!(told(&mut client, &all, 2), "E26000 ZI 2 Da C ZI ", "{n} {others}");
        }
    }
    // One that fails leaves none.
    let refused = [parse("selec 1"), wire::sync(), run.clone()];
    assert_eq!(told(&mut client, &refused, 2), "E42601 ZI E26000 ZI ");
    other.query("select 1").unwrap();
    assert_eq!(told(&mut client, std::slice::from_ref(&run), 1), "E26000 ZI ");
    // The next one stays, and has the client's own before it.
    for next in [parse("select 'd'"), parse("select 'b'")] {
        assert_eq!(told(&mut client, &first, 1), "1 ZI ");
        let all = [nope.clone(), parse("select 'b'"), wire::sync(), next, wire::sync()];
        assert_eq!(told(&mut client, &all, 2), "E26000 ZI 1 ZI ");
        other.query("select 1").unwrap();
        let heard = told(&mut client, std::slice::from_ref(&run), 1);
        assert!(heard == "2 Dd C ZI " || heard == "2 Db C ZI ", "{heard}");
    }
    let refused = [nope.clone(), parse("select 'b'"), wire::sync(), nope, parse("x"), wire::sync()];
    assert_eq!(told(&mut client, &first, 1), "1 ZI ");
    assert_eq!(told(&mut client, &refused, 2), "E26000 ZI E26000 ZI ");
    assert_eq!(told(&mut client, &[run], 1), "2 Da C ZI ");
    world.assert_no_panic();
}
