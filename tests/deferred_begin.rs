//! `session.deferred_begin`: a BEGIN by itself takes no server, and nobody can tell but by `now()`.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::Duration;

use world::wire::{self, Conn, Message, Refusal, columns};
use world::{Plan, World, bare, diff, eventually};

fn plan(servers: &str) -> Plan {
    let plan = Plan::tenants(1).set("session.deferred_begin", "true");
    plan.set("limits.server_max", servers)
}

/// What a session may do around a BEGIN. What begins with `+` goes by the extended protocol.
#[rustfmt::skip]
const SCENARIOS: [&[&str]; 12] = [
    &["begin", "select 1", "commit", "begin", "select 1/0", "select 2", "rollback", "select 3"],
    &["begin", "commit", "begin", "rollback", "start transaction", "end", "begin", "abort",
      "select 1"],
    &["begin", "set transaction isolation level serializable", "show transaction_isolation",
      "select 1", "commit", "begin isolation level repeatable read, read only",
      "show transaction_isolation", "insert into made values (1)", "commit"],
    &["START TRANSACTION READ ONLY DEFERRABLE;", "show transaction_read_only",
      "show transaction_deferrable", "COMMIT WORK ;", "show transaction_read_only"],
    &["begin", "begin", "select 1", "commit", "commit", "rollback", "begin work", "begin; select 1",
      "commit and chain", "select 2", "rollback and no chain"],
    &["begin garbage", "begin read only,", "begin isolation level read", "start", "start work",
      "begin -- why not", "select 1", "commit", "/* here */ begin", "rollback /* there */"],
    &["begin", "", "commit", "begin", ";", "commit", "begin", "rollback to a", "select 1", "commit"],
    &["begin", "create table made (n int)", "insert into made values (1)", "savepoint a",
      "insert into made values (2)", "rollback to a", "commit", "select * from made", "begin",
      "drop table made", "rollback", "select * from made", "drop table made"],
    &["begin", "+select 1", "+commit", "+begin", "+select 2", "commit", "begin", "+select 1/0",
      "+select 2", "+rollback", "begin", "+rollback", "select 3"],
    &["begin", "set local work_mem to '9MB'", "show work_mem", "commit", "show work_mem",
      "set work_mem to '7MB'", "begin", "show work_mem", "commit", "begin",
      "set work_mem to '8MB'", "rollback", "show work_mem", "reset work_mem"],
    &["begin", "create temp table mine (n int)", "commit", "begin", "insert into mine values (1)",
      "commit", "begin", "commit", "select * from mine", "drop table mine", "begin",
      "listen news", "commit", "begin", "select pg_listening_channels()", "commit", "unlisten *"],
    &["begin", "prepare p as select 1", "commit", "begin", "execute p", "rollback", "begin",
      "deallocate p", "commit", "begin", "declare c cursor for select generate_series(1, 3)",
      "fetch 2 from c", "commit", "begin", "discard all", "commit", "discard all"],
];

fn asked(step: &str) -> Vec<u8> {
    match step.strip_prefix('+') {
        None => wire::query(step),
        Some(sql) => {
            let describe = wire::message(b'D', b"P\0");
            [wire::parse("", sql), wire::bind("", &[]), describe, wire::execute(), wire::sync()]
                .concat()
        }
    }
}

fn line(message: &Message) -> String {
    let told = match message.tag {
        b'D' => format!("{:?}", columns(&message.body)),
        b'E' | b'N' => Refusal::parse(&message.body).text(),
        b'T' => message.body.len().to_string(),
        _ => String::from_utf8_lossy(&message.body).into_owned(),
    };
    format!("{} {told}\n", message.tag as char)
}

fn transcript(client: &mut Conn, steps: &[&str], at_once: bool) -> String {
    let mut told = String::new();
    if at_once {
        let all: Vec<u8> = steps.iter().flat_map(|step| asked(step)).collect();
        client.say(&all).unwrap();
    }
    for step in steps {
        if !at_once {
            client.say(&asked(step)).unwrap();
        }
        told += &format!("< {step}\n");
        for message in client.hear_all().unwrap_or_else(|e| panic!("{step}: {e:?}")) {
            told += &line(&message);
        }
    }
    told
}

#[test]
fn transactions_read_as_directly() {
    if bare::wanted() {
        return;
    }
    let world = World::start(plan("4"));
    let database = world.tenants[0].database();
    let mut differing = Vec::new();
    for steps in SCENARIOS {
        for at_once in [false, true] {
            let direct = transcript(&mut world.superuser(&database), steps, at_once);
            let through = transcript(&mut world.session(0), steps, at_once);
            differing.extend(diff::lines(&direct, &through));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    world.assert_no_panic();
}

fn status(client: &mut Conn, sql: &str) -> char {
    client.say(&wire::query(sql)).unwrap();
    let heard = client.hear_all().unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    heard.last().unwrap().body[0] as char
}

/// Many clients in transactions in which they have done nothing, on a single server.
#[test]
fn a_begin_holds_no_server() {
    let world = World::start(plan("1"));
    let mut idle: Vec<_> = (0..3).map(|_| world.session(0)).collect();
    for client in &mut idle {
        assert_eq!(status(client, "begin"), 'T');
    }
    let mut worker = world.session(0);
    let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%' \
                and datname = current_database()";
    assert_eq!(worker.one(open).unwrap(), "0");
    let leases = |world: &World| {
        let name = "pgusher_session_lease_seconds_count ";
        let metrics = world.metrics();
        metrics.lines().find_map(|l| l.strip_prefix(name)).unwrap().parse::<u64>().unwrap()
    };
    // A client has its answer before its server is back.
    let settled = |world: &World| loop {
        let count = leases(world);
        std::thread::sleep(std::time::Duration::from_millis(100));
        if leases(world) == count {
            return count;
        }
    };
    let before = settled(&world);
    assert_eq!(status(&mut idle[0], "rollback"), 'I');
    assert_eq!(status(&mut idle[0], "begin"), 'T');
    assert_eq!(status(&mut idle[0], "commit"), 'I');
    assert_eq!(settled(&world), before, "no server was leased");
    // It is one transaction from its first statement on.
    let mine = idle[1].one("select txid_current()").unwrap();
    assert_eq!(idle[1].one("select txid_current()").unwrap(), mine);
    assert_eq!(status(&mut idle[1], "commit"), 'I');
    assert_ne!(idle[1].one("select txid_current()").unwrap(), mine);
    // Who leaves leaves nothing.
    idle[2].say(&wire::message(b'X', b"")).unwrap();
    assert!(idle[2].farewell().is_empty());
    assert_eq!(worker.one(open).unwrap(), "0");
    world.assert_no_panic();
}

/// A transaction that gets no server has failed for the client, and stays so until it ends it.
#[test]
fn a_transaction_that_gets_no_server_has_failed() {
    let world = World::start(plan("1").set("limits.queue_timeout", "200ms"));
    let (mut holder, mut client) = (world.session(0), world.session(0));
    for ends in ["rollback", "commit", "+rollback"] {
        holder.query("begin").unwrap();
        holder.query("select 1").unwrap();
        assert_eq!(status(&mut client, "begin"), 'T');
        for _ in 0..2 {
            client.say(&wire::query("select 1")).unwrap();
            let heard = client.hear_all().unwrap();
            let error = heard.iter().find(|m| m.tag == b'E').unwrap();
            assert_eq!(Refusal::parse(&error.body).code, "53300");
            assert_eq!(heard.last().unwrap().body, b"E");
        }
        if ends == "rollback" {
            assert_eq!(
                transcript(&mut client, &["commit"], false),
                "< commit\nC ROLLBACK\0\nZ I\n"
            );
            holder.query("commit").unwrap();
            continue;
        }
        holder.query("commit").unwrap();
        // There is a server now; it does nothing all the same.
        assert_eq!(client.query("create table never (n int)").unwrap_err().code, "25P02");
        let told = transcript(&mut client, &[ends], false);
        assert!(told.ends_with("C ROLLBACK\0\nZ I\n"), "{told}");
        assert_eq!(
            client.one("select count(*) from pg_class where relname = 'never'").unwrap(),
            "0"
        );
    }
    world.assert_no_panic();
}

#[test]
fn who_began_and_did_nothing_is_idle_in_transaction() {
    let plan = plan("1").set("limits.client_idle_timeout", "1h");
    let world = World::start(plan.set("limits.idle_in_transaction_timeout", "300ms"));
    let mut client = world.session(0);
    assert_eq!(status(&mut client, "begin"), 'T');
    let said = client.verdict().unwrap();
    assert_eq!(said.code, "25P03", "{said:?}");
    let mut next = world.session(0);
    assert_eq!(next.one("select 1").unwrap(), "1");
    eventually(Duration::from_secs(5), "the session is gone", || {
        let line = "pgusher_session_live 1\n";
        world.metrics().contains(line).then_some(())
    });
    world.assert_no_panic();
}
