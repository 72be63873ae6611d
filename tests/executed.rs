//! What is executed out of a text's sight, by EXECUTE or by its object id, leaves nothing for others.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use world::pipeline::{run, told, word};
use world::wire::{self, Conn, message};
use world::{Plan, World};

fn world() -> World {
    World::start(Plan::tenants(1).set("limits.server_max", "1"))
}

/// A FunctionCall of text arguments, by object id.
fn call(id: u32, arguments: &[&str]) -> Vec<u8> {
    let count = u16::try_from(arguments.len()).unwrap().to_be_bytes();
    let mut body = [&id.to_be_bytes()[..], &[0, 0], &count].concat();
    for argument in arguments {
        body.extend(u32::try_from(argument.len()).unwrap().to_be_bytes());
        body.extend(argument.as_bytes());
    }
    body.extend([0, 0]);
    message(b'F', &body)
}

/// Ends a client and waits until its server is another's.
fn next(world: &World, client: Conn) -> Conn {
    drop(client);
    world.session(0)
}

#[test]
fn a_custom_setting_made_by_what_is_executed_is_nobody_else_s() {
    let world = world();
    let set = "select set_config('app.user', $1, false)";
    let user = "select current_setting('app.user', true)";
    let texts = |sql: &str| [wire::query(sql)].concat();
    let executed = [wire::parse("e", "execute s1('alice')"), run("e"), wire::sync()].concat();
    let unnamed = [wire::parse("", "execute s1('alice')"), wire::sync()].concat();
    let ways: [(&str, Vec<Vec<u8>>); 5] = [
        ("text", vec![texts("execute s1('alice')")]),
        ("named", vec![executed]),
        ("unnamed", vec![unnamed, [run(""), wire::sync()].concat()]),
        (
            "prepare",
            vec![
                texts(&format!("prepare p as {set}")),
                texts("execute p('alice')"),
                texts("deallocate p"),
            ],
        ),
        ("oid", vec![call(2078, &["app.user", "alice", "f"])]),
    ];
    for (way, said) in ways {
        let mut client = world.session(0);
        let prepare = [wire::parse("s1", set), wire::sync()];
        assert_eq!(told(&mut client, &prepare, 1), "1 ZI ", "{way}");
        // Another lease than that of the Parse.
        let mut other = world.session(0);
        assert_eq!(other.one("select 1").as_deref(), Ok("1"), "{way}");
        for said in said {
            let heard = told(&mut client, &[said], 1);
            assert!(heard.ends_with("ZI ") && !heard.contains('E'), "{way}: {heard}");
        }
        assert_eq!(client.one(user).as_deref(), Ok("alice"), "{way}");
        let rows = |other: &mut Conn| other.query(user).map(|rows| rows[0][0].clone());
        if way == "prepare" || way == "oid" {
            // What may be set again out of sight keeps its server.
            other = next(&world, client);
        }
        // PostgreSQL keeps the name of a setting that it has heard of once.
        let seen = rows(&mut other).unwrap();
        assert!(seen.as_deref().is_none_or(str::is_empty), "{way}: {seen:?}");
    }
    world.assert_no_panic();
}

#[test]
fn a_text_read_behind_what_is_executed_is_nobody_else_s() {
    let world = world();
    let zone = "select set_config('timezone', 'Asia/Tokyo', true)";
    let mut other = world.session(0);
    for (minute, way) in ["text", "bound", "prepare", "oid"].iter().enumerate() {
        let sql = format!(
            "select extract(epoch from '2024-01-01 00:0{minute}'::timestamptz)::bigint - 60 * {minute}"
        );
        let mut client = world.session(0);
        let epoch = |client: &mut Conn, ends: &str| {
            let all = [wire::parse("s", &sql), run("s"), message(b'C', b"Ss\0"), wire::sync()];
            let heard = told(client, &all, 1);
            heard.strip_prefix("1 2 ").unwrap().strip_suffix(ends).unwrap().to_owned()
        };
        let prepare = [wire::parse("s1", zone), wire::sync()];
        assert_eq!(told(&mut client, &prepare, 1), "1 ZI ", "{way}");
        if matches!(*way, "prepare" | "bound") {
            client.query(&format!("prepare p as {zone}")).unwrap();
        }
        client.query("begin").unwrap();
        let said = match *way {
            "text" => wire::query("execute s1"),
            "prepare" => wire::query("execute p"),
            "bound" => [run("p"), wire::sync()].concat(),
            _ => call(2078, &["timezone", "Asia/Tokyo", "t"]),
        };
        let heard = told(&mut client, &[said], 1);
        assert!(heard.ends_with("ZT ") && !heard.contains('E'), "{way}: {heard}");
        assert_eq!(epoch(&mut client, "C 3 ZT "), "D1704034800 ", "{way}");
        client.query("commit").unwrap();
        if matches!(*way, "prepare" | "bound") {
            client.query("deallocate p").unwrap();
        }
        if *way == "oid" {
            drop(client);
        }
        assert_eq!(epoch(&mut other, "C 3 ZI "), "D1704067200 ", "behind {way}");
    }
    world.assert_no_panic();
}

/// Large objects are what drivers call functions by their ids for: their clients share servers.
#[test]
fn who_reads_large_objects_keeps_no_server() {
    let world = world();
    let mut client = world.session(0);
    let id: u32 = client.one("select lo_from_bytea(0, '\\x616263')").unwrap().parse().unwrap();
    client.query("begin").unwrap();
    let open = [&952_u32.to_be_bytes()[..], &[0, 1, 0, 1, 0, 2], &[0, 0, 0, 4]].concat();
    let arguments = [&id.to_be_bytes()[..], &[0, 0, 0, 4], &0x4_0000_u32.to_be_bytes()].concat();
    let heard = told(&mut client, &[message(b'F', &[open, arguments, vec![0, 1]].concat())], 1);
    assert_eq!(heard, "V ZT ");
    client.query("commit").unwrap();
    let mut other = world.session(0);
    assert_eq!(other.one("select 1").as_deref(), Ok("1"), "the only server is shared on");
    // Any other may have tied anything to it.
    assert_eq!(told(&mut client, &[call(1599, &["0.5"])], 1), "V ZI ");
    let first = client.one("select pg_backend_pid()").unwrap();
    drop(client);
    let second = other.one("select pg_backend_pid()").unwrap();
    assert_ne!(first, second, "a server whose session had a seed is nobody's");
    world.assert_no_panic();
}

/// A statement whose table is gone is refused once, by the SQLSTATE PostgreSQL gives.
#[test]
fn what_cannot_be_prepared_is_refused_once() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "2"));
    let mut client = world.session(0);
    client.query("create table gone (n int); create table kept (n int)").unwrap();
    let prepare = [wire::parse("s1", "select * from gone"), wire::sync()];
    assert_eq!(told(&mut client, &prepare, 1), "1 ZI ");
    // The other server does not know the statement.
    let mut busy = world.session(0);
    busy.query("begin").unwrap();
    busy.query("drop table gone").unwrap();
    client.query("select 1").unwrap();
    busy.query("commit").unwrap();
    let execute = || wire::query("execute s1");
    assert_eq!(told(&mut client, &[execute()], 1), "E42P01 ZI ");
    assert_eq!(told(&mut client, &[wire::query("begin"), execute()], 2), "C ZT E42P01 ZE ");
    client.query("rollback").unwrap();
    let failed = [wire::query("begin"), wire::query("select 1/0"), execute()];
    assert_eq!(told(&mut client, &failed, 3), "C ZT E22012 ZE E25P02 ZE ");
    client.query("rollback").unwrap();
    // What a failure throws away up to the client's Sync stays thrown away.
    let insert = wire::query("insert into kept values (1)");
    let group = [wire::parse("", "select 1/0"), run(""), wire::query("select 4"), execute()];
    assert_eq!(told(&mut client, &[group.concat(), insert, wire::sync()], 1), "1 E22012 ZI ");
    assert_eq!(client.one("select count(*) from kept").as_deref(), Ok("0"));
    world.assert_no_panic();
}

/// The same behind what pgusher has closed there on its own account.
#[test]
fn what_cannot_be_prepared_where_others_were_is_answered_to_the_end() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    let (mut client, mut other) = (world.session(0), world.session(0));
    client.query("create table gone (n int)").unwrap();
    let prepare = [wire::parse("s1", "select * from gone"), wire::sync()];
    assert_eq!(told(&mut client, &prepare, 1), "1 ZI ");
    other.query("discard all").unwrap();
    let prepare = [wire::parse("mine", "select 1"), wire::sync()];
    assert_eq!(told(&mut other, &prepare, 1), "1 ZI ");
    other.query("drop table gone").unwrap();
    assert_eq!(told(&mut client, &[wire::query("execute s1")], 1), "E42P01 ZI ");
    assert_eq!(client.one("select 1").as_deref(), Ok("1"));
    world.assert_no_panic();
}

/// A statement prepared by SQL calls what its function has come to do since.
#[test]
fn a_function_changed_behind_a_prepare_leaves_nothing() {
    let world = world();
    let mut client = world.session(0);
    let function = "create or replace function f(t text) returns text language plpgsql as $f$";
    client.query(&format!("{function} begin return t; end $f$")).unwrap();
    client.query("prepare p(text) as select f($1)").unwrap();
    let set = "begin return set_config('app.user', t, false); end";
    client.query(&format!("{function} {set} $f$")).unwrap();
    client.query("execute p('alice')").unwrap();
    client.query("deallocate p").unwrap();
    let user = "select current_setting('app.user', true)";
    assert_eq!(client.one(user).as_deref(), Ok("alice"));
    let seen = world.session(0).query(user).unwrap()[0][0].clone();
    assert!(seen.as_deref().is_none_or(str::is_empty), "{seen:?}");
    world.assert_no_panic();
}

/// Where a text comes in halves behind a SET of its batch, it is read as a whole.
#[test]
fn halves_behind_a_change_of_settings_keep_no_server() {
    let world = world();
    let mut client = world.session(0);
    let prepare = [wire::parse("s1", "select 1"), wire::sync()];
    assert_eq!(told(&mut client, &prepare, 1), "1 ZI ");
    let batch = [wire::parse("", "set search_path to public"), run("")].concat();
    let text = wire::parse("", "select 2");
    let (head, tail) = text.split_at(text.len() / 2);
    // What is answered came in one read with the half behind it.
    client.say(&[&batch, &message(b'H', b""), head].concat()).unwrap();
    let mut heard = String::new();
    while !heard.ends_with("C ") {
        heard += &word(&client.hear().unwrap());
    }
    assert_eq!(heard, "1 2 C ");
    let rest = [tail, &run(""), &wire::sync()].concat();
    assert_eq!(told(&mut client, &[rest], 1), "1 2 D2 C ZI ");
    assert_eq!(
        world.session(0).one("select 1").as_deref(),
        Ok("1"),
        "the only server is shared on"
    );
    world.assert_no_panic();
}
