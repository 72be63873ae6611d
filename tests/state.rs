//! Session state: what a client did to its session is there for it, and for nobody else.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::Duration;

use world::wire::{self, Conn, Login, Refusal};
use world::{Plan, World, bare, code, eventually};

/// Two servers for all clients of a tenant: they take turns on them.
fn small() -> World {
    World::start(Plan::tenants(1).set("limits.server_max", "2"))
}

fn login(world: &World, mode: &str) -> Login {
    let option = format!("-c pgusher.pool_mode={mode}");
    world.tenants[0].login().with("options", &option).with("datestyle", "German")
}

fn session(world: &World, mode: &str) -> Conn {
    world.login(&login(world, mode)).unwrap_or_else(|e| panic!("{mode}: {e:?}"))
}

fn value(session: &mut Conn, sql: &str) -> String {
    session.one(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

#[test]
fn reset_returns_to_the_startup_packet() {
    let world = small();
    for mode in ["session", "transaction"] {
        let mut client = session(&world, mode);
        for reset in ["reset datestyle", "reset all", "set datestyle to default", "discard all"] {
            client.query("set datestyle to iso").unwrap();
            client.query(reset).unwrap();
            assert_eq!(value(&mut client, "show datestyle"), "German, DMY", "{mode}: {reset}");
            assert_eq!(client.parameters["DateStyle"], "German, DMY", "{mode}: {reset}");
        }
    }
}

#[test]
fn reset_returns_to_the_startup_packet_inside_a_transaction() {
    let world = small();
    let mut clients: Vec<_> = (0..4).map(|_| session(&world, "transaction")).collect();
    for client in clients.iter_mut().take(2) {
        for reset in ["reset datestyle", "reset all", "set datestyle to default"] {
            client.query("begin").unwrap();
            client.query("set datestyle to iso").unwrap();
            client.query(reset).unwrap();
            assert_eq!(value(client, "show datestyle"), "German, DMY", "{reset}");
            client.query("commit").unwrap();
        }
    }
    // Whoever has other settings is served all the same, with its own.
    let plain = world.tenants[0].login();
    let mut others: Vec<_> = (0..2).map(|_| world.login(&plain).unwrap()).collect();
    for _ in 0..3 {
        for other in &mut others {
            assert_eq!(value(other, "show datestyle"), "ISO, MDY");
        }
        for client in &mut clients {
            assert_eq!(value(client, "show datestyle"), "German, DMY");
        }
    }
}

#[test]
fn reset_returns_to_the_startup_packet_on_a_pinned_server_too() {
    let world = small();
    let mut client = session(&world, "transaction");
    client.query("create temp table mine (n int)").unwrap();
    client.query("set datestyle to iso").unwrap();
    client.query("reset datestyle").unwrap();
    assert_eq!(value(&mut client, "show datestyle"), "German, DMY");
    assert_eq!(client.parameters["DateStyle"], "German, DMY");
    assert_eq!(value(&mut client, "select count(*) from mine"), "0");
}

#[test]
fn a_session_of_its_own_begins_on_a_server_of_its_own() {
    let world = small();
    let mut first = session(&world, "session");
    let pid = value(&mut first, "select pg_backend_pid()");
    assert_eq!(pid, first.pid.to_string(), "it is told the server's own pid");
    first.query("select set_config('plpgsql.variable_conflict', 'error', false)").unwrap();
    first.query("do 'begin end'").unwrap();
    drop(first);
    let mut second = session(&world, "session");
    assert_ne!(value(&mut second, "select pg_backend_pid()"), pid);
    // Where PL/pgSQL is loaded the name would be refused.
    second.query("set plpgsql.no_such_setting = 1").unwrap();
}

#[test]
fn a_startup_setting_postgresql_refuses_is_the_client_s_own_affair() {
    let world = small();
    let mut other = session(&world, "session");
    for mode in ["session", "transaction"] {
        for (name, bad) in [("timezone", "Nowhere/AtAll"), ("work_mem", "a lot")] {
            let refused = world.login(&login(&world, mode).with(name, bad));
            assert_eq!(code(refused), "22023", "{mode}: {name}");
        }
        assert_eq!(value(&mut session(&world, mode), "select 1"), "1", "{mode}: nobody else waits");
    }
    assert_eq!(value(&mut other, "select 1"), "1");
}

#[test]
fn another_user_is_one_session_s_affair() {
    if bare::wanted() {
        return;
    }
    let world = small();
    let mut client = session(&world, "transaction");
    let owner = value(&mut client, "select session_user");
    let database = world.tenants[0].database();
    let mut superuser = world.superuser(&database);
    superuser.query(&format!("alter role \"{owner}\" superuser")).unwrap();
    superuser.query("create role somebody").unwrap();
    // From here on new servers are a superuser's.
    let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
                     where datname = current_database() and pid <> pg_backend_pid()";
    superuser.query(terminate).unwrap();

    let mut client = fresh(&world);
    let mut others: Vec<_> = (0..3).map(|_| fresh(&world)).collect();
    client.query("set log_statement to 'none'").unwrap();
    client.query("set session authorization somebody").unwrap();
    for _ in 0..4 {
        for other in &mut others {
            assert_eq!(value(other, "select session_user"), owner);
        }
        assert_eq!(value(&mut client, "select session_user"), "somebody");
        assert_eq!(value(&mut client, "show log_statement"), "none", "only a superuser sets it");
    }
    client.query("reset session authorization").unwrap();
    assert_eq!(value(&mut client, "select session_user"), owner);
}

/// A session once the servers that were ended are gone from the pool.
fn fresh(world: &World) -> Conn {
    eventually(Duration::from_secs(30), "a session on a living server", || {
        let mut session = world.login(&login(world, "transaction")).ok()?;
        session.one("select 1").ok().map(|_| session)
    })
}

#[test]
fn a_setting_that_has_become_invalid_does_not_end_its_session() {
    let world = small();
    let mut client = session(&world, "transaction");
    let mut other = session(&world, "transaction");
    client.query("create text search configuration public.mine (copy = simple)").unwrap();
    client.query("set default_text_search_config to 'public.mine'").unwrap();
    client.query("set work_mem to '7MB'").unwrap();
    client.query("set search_path to public, gone").unwrap();
    for _ in 0..3 {
        assert_eq!(value(&mut other, "show work_mem"), "4MB");
        assert_eq!(value(&mut client, "show default_text_search_config"), "public.mine");
    }
    other.query("drop text search configuration public.mine").unwrap();
    for _ in 0..3 {
        assert_eq!(value(&mut other, "show work_mem"), "4MB");
        assert_eq!(value(&mut client, "show work_mem"), "7MB");
        assert_eq!(value(&mut client, "show search_path"), "public, gone");
    }
}

#[test]
fn whatever_is_in_the_temporary_schema_stays() {
    let world = small();
    let mut client = session(&world, "transaction");
    let mut other = session(&world, "transaction");
    client.query("create table t (a int, b int)").unwrap();
    client.query("create statistics pg_temp.s on a, b from t").unwrap();
    for _ in 0..4 {
        value(&mut other, "select 1");
    }
    client.query("drop statistics pg_temp.s").unwrap();
    client.query("drop table t").unwrap();
}

#[test]
fn an_unnamed_statement_outlives_what_pgusher_asks() {
    let world = small();
    let mut client = session(&world, "transaction");
    client.query("prepare p as select 1 as one").unwrap();
    // As psql's \gdesc does.
    client.say(&[wire::parse("", "execute p"), wire::sync()].concat()).unwrap();
    client.rows().unwrap();
    client.say(&[wire::message(b'D', b"S\0"), wire::sync()].concat()).unwrap();
    let heard = client.hear_all().unwrap();
    assert!(heard.iter().any(|m| m.tag == b'T'), "{heard:?}");
}

#[test]
fn a_client_that_leaves_without_a_sync_leaves_nothing_behind() {
    let world = small();
    let batch = || [wire::bind("", &[]), wire::execute()].concat();
    // More than its cap of two: each has to give its server back.
    for mode in ["session", "transaction", "session", "transaction", "transaction"] {
        let mut client = session(&world, mode);
        client.query("create table if not exists kept (n int)").unwrap();
        let whole = [wire::parse("", "insert into kept values (1)"), batch(), wire::sync()];
        let cut = [wire::parse("", "insert into kept values (2)"), batch()];
        let goodbye = wire::message(b'X', b"");
        client.say(&[whole.concat(), cut.concat(), goodbye].concat()).unwrap();
    }
    let mut last = session(&world, "transaction");
    let sql = "select count(*) filter (where n = 1) || '+' || count(*) filter (where n = 2) \
               from kept";
    eventually(Duration::from_secs(20), "what was synced is there, the rest not", || {
        (value(&mut last, sql) == "5+0").then_some(())
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_message_or_a_copy_leaves_nothing_behind() {
    let world = small();
    for mode in ["session", "transaction", "session", "transaction"] {
        let mut client = session(&world, mode);
        client.query("create table if not exists kept (n int)").unwrap();
        let half = wire::query("select 1");
        client.say(&half[..half.len() - 4]).unwrap();
        drop(client);
        let mut client = session(&world, mode);
        client.say(&wire::query("copy kept from stdin")).unwrap();
        assert_eq!(client.hear().map_err(Refusal::from).unwrap().tag, b'G');
        client.say(&wire::message(b'd', b"1\n")).unwrap();
    }
    assert_eq!(value(&mut session(&world, "transaction"), "select count(*) from kept"), "0");
}

/// What the client's encoding spells in other bytes, or not at all.
#[test]
fn a_setting_is_carried_in_any_encoding() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    let (mut client, mut other) = (world.session(0), world.session(0));
    client.query("set app.far = '\u{65e5}\u{672c}\\e\u{e9}'").unwrap();
    client.query("set client_encoding = 'LATIN1'").unwrap();
    let latin = |text: &str| {
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        wire::message(b'Q', &[&bytes[..], b"\0"].concat())
    };
    for set in ["set app.who = 'M\u{fc}ller'", "set search_path = \"m\u{fc}ller\", public"] {
        client.say(&latin(set)).unwrap();
        client.rows().unwrap();
    }
    for turn in 0..3 {
        assert_eq!(value(&mut other, "select 1"), "1");
        for (name, wanted) in [
            ("app.who", r"M\00FCller"),
            ("search_path", r#""m\00FCller", public"#),
            ("app.far", r"\65E5\672C\\e\00E9"),
        ] {
            let same = format!("select current_setting('{name}') = U&'{wanted}'");
            assert_eq!(value(&mut client, &same), "t", "{turn}: {name}");
            let others = value(&mut other, &same.replace("') =", "', true) ="));
            assert_ne!(others, "t", "{turn}: {name}");
        }
        client.query(&format!("set app.turn = '{turn}'")).unwrap();
    }
    client.query("reset all").unwrap();
    world.assert_no_panic();
}
