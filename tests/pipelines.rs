//! What is pipelined behind a group that fails: the server throws away more than it says, and goes on
//! at the Sync. No book of pgusher's goes by what was thrown away.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use world::pipeline::{run, told, word};
use world::wire::{self, Refusal, columns};
use world::{Plan, World};

/// All clients share one server.
fn small() -> World {
    World::start(Plan::tenants(1).set("limits.server_max", "1"))
}

fn close(name: &str) -> Vec<u8> {
    wire::message(b'C', &[b"S", name.as_bytes(), b"\0"].concat())
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

/// PostgreSQL reads a message before it drops the unnamed statement for it.
#[test]
fn who_is_refused_before_the_unnamed_statement_is_dropped_runs_nobody_else_s() {
    let world = small();
    let (mut client, mut other) = (world.session(0), world.session(0));
    let secret = [wire::parse("", "select 'secret'"), wire::sync()];
    let long = [b"\0select '\xff", "x".repeat(40_000).as_bytes(), b"'\0\0\0"].concat();
    let sync = wire::sync();
    let prepare = [wire::parse("s1", "select 1"), sync.clone()];
    let bad: [(Vec<u8>, &str); 8] = [
        ([wire::message(b'P', b"\0select '\xff'\0\0\0"), sync.clone()].concat(), "E22021 ZI "),
        ([wire::message(b'P', b"\0select 1\0"), sync.clone()].concat(), "E08P01 ZI "),
        ([wire::message(b'P', b"\0select 1\0\0\x01\0\0"), sync.clone()].concat(), "E08P01 ZI "),
        ([wire::message(b'P', b"\0select 1\0\0\0\0"), sync.clone()].concat(), "E08P01 ZI "),
        ([wire::message(b'P', &long), sync.clone()].concat(), "E22021 ZI "),
        (
            [wire::message(b'P', b"\0deallocate s1 --\xff\0\0\0"), sync.clone()].concat(),
            "E22021 ZI ",
        ),
        (wire::message(b'Q', b"select '\xff'\0"), "E22021 ZI "),
        (wire::message(b'Q', b"deallocate s1 --\xff\0"), "E22021 ZI "),
    ];
    for (n, (said, refused)) in bad.into_iter().enumerate() {
        let told_first = told(&mut client, &prepare, 1);
        assert!(matches!(&*told_first, "1 ZI " | "E42P05 ZI "), "{n}: {told_first}");
        assert_eq!(told(&mut other, &secret, 1), "1 ZI ", "{n}");
        let all = [said, run(""), sync.clone()];
        assert_eq!(told(&mut client, &all, 2), format!("{refused}E26000 ZI "), "{n}");
        // Nor in another transaction.
        assert_eq!(told(&mut other, &secret, 1), "1 ZI ", "{n}");
        assert_eq!(told(&mut client, &[run(""), sync.clone()], 1), "E26000 ZI ", "{n}");
    }
    // What is no ASCII is run like anything else.
    for text in ["select 'é'", "select 'ü'"] {
        let made = [wire::parse("", text), run(""), wire::sync()];
        let value = format!("1 2 D{} C ZI ", text.trim_start_matches("select ").trim_matches('\''));
        assert_eq!(told(&mut client, &made, 1), value);
        assert_eq!(told(&mut other, &secret, 1), "1 ZI ");
        assert_eq!(told(&mut client, &[run(""), wire::sync()], 1), value[2..]);
    }
    world.assert_no_panic();
}

/// In copy mode PostgreSQL ignores a Sync: what comes behind a COPY that fails is thrown away up to
/// the next.
#[test]
fn who_loses_an_unnamed_statement_to_a_copy_runs_nobody_else_s() {
    let world = small();
    let (mut client, mut other) = (world.session(0), world.session(0));
    client.query("create table t (n int)").unwrap();
    let secret = [wire::parse("", "select 'secret'"), wire::sync()];
    let copy = [wire::parse("c", "copy t from stdin"), run("c"), wire::sync()].concat();
    let fail = wire::message(b'f', b"no\0");
    let bad = wire::message(b'd', b"x\n");
    let behind = [wire::parse("", "select 1"), wire::sync(), run(""), wire::sync()].concat();
    for (n, (end, code)) in [(fail, "57014"), (bad, "22P02")].into_iter().enumerate() {
        let rest = [end, behind.clone()].concat();
        for interactive in [false, true] {
            assert_eq!(told(&mut other, &secret, 1), "1 ZI ");
            let mut heard = String::new();
            if interactive {
                client.say(&copy).unwrap();
                while !heard.ends_with("G ") {
                    heard += &word(&client.hear().unwrap());
                }
                heard += &told(&mut client, std::slice::from_ref(&rest), 2);
            } else {
                heard += &told(&mut client, &[copy.clone(), rest.clone()], 2);
            }
            let wanted = format!("1 2 G E{code} ZI E26000 ZI ");
            assert_eq!(heard, wanted, "{n} {interactive}");
            assert_eq!(told(&mut client, &[close("c"), wire::sync()], 1), "3 ZI ");
        }
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

/// What a failed group did not close is still there, and what it did not make is not.
#[test]
fn a_name_means_what_it_meant_before_a_group_that_fails() {
    let world = small();
    let (mut client, mut other) = (world.session(0), world.session(0));
    let nope = wire::bind("nope", &[]);
    let parse = |sql: &str| wire::parse("s1", sql);
    // On the server already, for another client.
    let second = [wire::parse("mine", "select 2"), run("mine"), wire::sync()];
    assert_eq!(told(&mut other, &second, 1), "1 2 D2 C ZI ");
    assert_eq!(told(&mut client, &[parse("select 1"), wire::sync()], 1), "1 ZI ");
    let run = [run("s1"), wire::sync()].concat();
    let lost = [nope.clone(), close("s1"), wire::sync()].concat();
    let again = [parse("select 2"), wire::sync()].concat();
    let heard = told(&mut client, &[lost.clone(), again.clone()], 2);
    assert_eq!(heard, "E26000 ZI E42P05 ZI ", "it is not closed");
    assert_eq!(told(&mut client, std::slice::from_ref(&run), 1), "2 D1 C ZI ");
    for sql in ["select 2", "select 3"] {
        let remade = [nope.clone(), close("s1"), parse(sql), wire::sync(), run.clone()];
        assert_eq!(told(&mut client, &remade, 2), "E26000 ZI 2 D1 C ZI ", "{sql}");
    }
    let closed = [lost, close("s1"), wire::sync(), again.clone(), run.clone()];
    assert_eq!(told(&mut client, &closed, 4), "E26000 ZI 3 ZI 1 ZI 2 D2 C ZI ");
    assert_eq!(told(&mut client, &[close("s1"), wire::sync()], 1), "3 ZI ");
    // Made twice, the first time in vain.
    for sql in ["select 2", "select 4"] {
        let twice = [nope.clone(), parse(sql), wire::sync(), parse(sql), wire::sync()];
        assert_eq!(told(&mut client, &twice, 2), "E26000 ZI 1 ZI ", "{sql}");
        let value = format!("2 D{} C ZI ", &sql[7..]);
        assert_eq!(told(&mut client, std::slice::from_ref(&run), 1), value);
        assert_eq!(told(&mut client, &[close("s1"), wire::sync()], 1), "3 ZI ");
    }
    let lost = [nope.clone(), parse("select 5"), wire::sync(), run.clone()];
    assert_eq!(told(&mut client, &lost, 2), "E26000 ZI E26000 ZI ");
    assert_eq!(told(&mut client, std::slice::from_ref(&run), 1), "E26000 ZI ");
    // What pgusher put on the server in a group that fails is not there behind it.
    assert_eq!(told(&mut client, &[parse("select 6"), wire::sync()], 1), "1 ZI ");
    client.query("discard all").unwrap();
    assert_eq!(told(&mut client, &[parse("select 6"), wire::sync()], 1), "1 ZI ");
    other.query("discard all").unwrap();
    let behind = [nope, run.clone(), run];
    assert_eq!(told(&mut client, &behind, 2), "E26000 ZI 2 D6 C ZI ");
    world.assert_no_panic();
}

/// Nothing waits where it is known what a name means, and nothing for ever.
#[test]
fn a_client_that_sends_no_sync_is_not_waited_for() {
    let world = small();
    let mut client = world.session(0);
    let flush = wire::message(b'H', b"");
    let nope = wire::bind("nope", &[]);
    let made = [wire::parse("s1", "select 1"), wire::parse("", "select 2")].concat();
    let all = [made.clone(), run("s1"), run(""), close("s1"), made, run("s1"), run("")];
    let answers = "1 1 2 D1 C 2 D2 C 3 1 1 2 D1 C 2 D2 C ZI ";
    assert_eq!(told(&mut client, &[all.concat(), wire::sync()], 1), answers);
    assert_eq!(told(&mut client, &[close("s1"), wire::sync()], 1), "3 ZI ");
    client.say(&[all.concat(), flush].concat()).unwrap();
    for tag in answers.split(' ').take_while(|told| *told != "ZI").map(|told| told.as_bytes()[0]) {
        assert_eq!(client.hear().unwrap().tag, tag);
    }
    assert_eq!(told(&mut client, &[wire::sync()], 1), "ZI ");
    let many: Vec<_> = (0..600)
        .flat_map(|n| {
            let name = format!("many{n}");
            [nope.clone(), wire::parse(&name, "select 7"), wire::sync(), run(&name), wire::sync()]
        })
        .collect();
    assert_eq!(told(&mut client, &many, 1_200), "E26000 ZI E26000 ZI ".repeat(600));
    assert_eq!(client.one("select 8").as_deref(), Ok("8"));
    world.assert_no_panic();
}

/// What is prepared behind a DISCARD ALL is there.
#[test]
fn what_is_made_behind_a_discard_stays() {
    let world = small();
    let mut client = world.session(0);
    let flush = wire::message(b'H', b"");
    for (n, discard) in ["discard all", "deallocate all"].iter().enumerate() {
        let parse = |sql: &str| [wire::parse("s1", sql), wire::sync()].concat();
        let run = [run("s1"), wire::sync()].concat();
        assert_eq!(told(&mut client, &[parse("select 1")], 1), "1 ZI ", "{discard}");
        let all = [wire::query(discard), parse("select 2"), run.clone()];
        assert_eq!(told(&mut client, &all, 3), "C ZI 1 ZI 2 D2 C ZI ", "{discard}");
        assert_eq!(told(&mut client, std::slice::from_ref(&run), 1), "2 D2 C ZI ");
        // In one group, and with what is not closed by it.
        let extended = [wire::parse("", discard), wire::bind("", &[]), wire::execute()].concat();
        let all = [extended, wire::parse("s2", "select 3"), flush.clone(), wire::sync()];
        assert_eq!(told(&mut client, &all, 1), "1 2 C 1 ZI ", "{discard}");
        let run = [wire::bind("s2", &[]), wire::execute(), wire::sync(), run];
        assert_eq!(told(&mut client, &run, 2), "2 D3 C ZI E26000 ZI ", "{discard} {n}");
        client.query(discard).unwrap();
    }
    // Of a name that it closes.
    let mut other = world.session(0);
    let mine = [wire::parse("mine", "select 1"), wire::sync()];
    assert_eq!(told(&mut other, &mine, 1), "1 ZI ");
    assert_eq!(told(&mut client, &[wire::parse("s1", "select 1"), wire::sync()], 1), "1 ZI ");
    let extended = [wire::parse("", "deallocate all"), run("")].concat();
    let all = [extended, wire::parse("s1", "select 2"), run("s1"), wire::sync()];
    assert_eq!(told(&mut client, &all, 1), "1 2 C 1 2 D2 C ZI ");
    for _ in 0..2 {
        assert_eq!(told(&mut other, &[run("mine"), wire::sync()], 1), "2 D1 C ZI ");
    }
    world.assert_no_panic();
}

/// PostgreSQL says what texts are read by with ReadyForQuery; what is sent before that is read by it
/// all the same.
#[test]
fn a_text_behind_a_change_of_how_texts_are_read_shows_nothing() {
    let world = small();
    let mut client = world.session(0);
    let change = "set standard_conforming_strings = off";
    let asked = r"select '\'', statement from pg_prepared_statements where '\'' <> ''";
    let long = format!("{asked} and '{}' <> ''", "x".repeat(40_000));
    let batch = |name: &str, sql: &str| [wire::parse(name, sql), run(name)].concat();
    let secret = [wire::parse("mine", "select 'not for others'"), wire::sync()];
    assert_eq!(told(&mut client, &secret, 1), "1 ZI ");
    for text in [asked, &long] {
        let local = [wire::query("begin"), wire::query(&change.replace("set", "set local"))];
        let ways: [(Vec<u8>, usize); 5] = [
            ([wire::query(change), wire::query(text)].concat(), 2),
            ([local.concat(), wire::query(text), wire::query("commit")].concat(), 4),
            ([wire::query(change), batch("", text), wire::sync()].concat(), 2),
            ([batch("", change), batch("", text), wire::sync()].concat(), 1),
            ([batch("", change), batch("named", text), wire::sync()].concat(), 1),
        ];
        for (n, (said, answers)) in ways.into_iter().enumerate() {
            let run = [run("mine"), wire::sync()];
            assert_eq!(told(&mut client, &run, 1), "2 Dnot for others C ZI ", "{n}");
            // One of its own each time: who does what nobody can read keeps its server.
            let mut other = world.session(0);
            other.say(&said).unwrap();
            for _ in 0..answers {
                let heard = other.hear_all().unwrap();
                let shown = heard.iter().filter(|m| m.tag == b'D').map(|m| columns(&m.body));
                let shown = format!("{:?}", shown.collect::<Vec<_>>());
                assert!(!shown.contains("for others"), "{n}: {shown}");
                let refused = heard.iter().find(|m| m.tag == b'E');
                assert_eq!(refused.map(|m| Refusal::parse(&m.body).text()), None, "{n}");
            }
        }
    }
    world.assert_no_panic();
}

/// Anything in any order: the same answers as from PostgreSQL itself, and nothing of another client's.
#[test]
fn pipelines_of_anything_are_answered_as_by_postgresql() {
    let world = small();
    let (mut client, mut other) = (world.session(0), world.session(0));
    let mut direct = world.superuser(&world.tenants[0].database());
    let seed = std::env::var("PIPELINES_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut state: u64 = seed;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let queries = [
        "select 4",
        "deallocate s1",
        "execute s1",
        "deallocate all",
        "select 1/0",
        "select 5; execute s1",
        "savepoint a; deallocate s1; release a",
    ];
    for round in 0..400 {
        let mut said = Vec::new();
        for _ in 0..=next(12) {
            let name = ["", "", "s1", "s2"][next(4)];
            let text = ["select 1", "select 2", "select 3", "selec", "select 1/0"][next(5)];
            let deallocate = [wire::parse("", "deallocate s1"), run("")].concat();
            // Parsed before there is an `s1`, it would be sent as it is.
            let made = [close("s1"), wire::parse("s1", text)].concat();
            said.push(match next(16) {
                15 => [close("e"), made, wire::parse("e", "execute s1")].concat(),
                14 => [made, wire::parse("", "execute s1")].concat(),
                13 => run(["e", ""][next(2)]),
                12 => [made, deallocate].concat(),
                0..=2 => wire::parse(name, text),
                3..=5 => run(name),
                6 => {
                    let name = [name, "e"][next(2)];
                    wire::message(b'D', &[b"S", name.as_bytes(), b"\0"].concat())
                }
                7 => close(name),
                8 => wire::bind("nope", &[]),
                9 => wire::query(queries[next(7)]),
                _ => wire::sync(),
            });
        }
        said.extend([wire::sync(), wire::query("select 'end'")]);
        let asked: Vec<_> = said.iter().map(|m| m.escape_ascii().to_string()).collect();
        let answers = [&mut client, &mut direct].map(|conn| {
            conn.say(&said.concat()).unwrap();
            let mut told = String::new();
            while !told.ends_with("Dend C ZI ") {
                told.extend(conn.hear_all().unwrap().iter().map(word));
            }
            // An EXECUTE of what is gone is described up to where that is told.
            told.replace("t E26000", "E26000")
        });
        assert_eq!(answers[0], answers[1], "seed {seed}, round {round}: {asked:#?}");
        if next(2) == 0 {
            let other_one = [wire::parse("", "select 'other'"), run(""), wire::sync()];
            assert_eq!(told(&mut other, &other_one, 1), "1 2 Dother C ZI ");
        }
    }
    world.assert_no_panic();
}
