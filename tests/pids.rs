//! The process id a client is told at login, in transaction mode: that of an idle server which it
//! then finds, as long as there are enough; never one that another session goes by.
#![allow(clippy::unwrap_used, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use world::wire::{self, Conn, query};
use world::{Plan, World, code, eventually};

/// No process of Linux has this id or a higher one.
const MADE_UP: u32 = 1 << 22;

const PATIENCE: Duration = Duration::from_secs(20);

fn server_of(session: &mut Conn) -> u32 {
    session.one("select pg_backend_pid()").unwrap().parse().unwrap()
}

fn cancel(world: &World, session: &Conn) {
    let mut canceller = Conn::dial(world.listen);
    canceller.say(&wire::cancel(session.pid, &session.key)).unwrap();
    assert!(canceller.farewell().is_empty(), "a cancel is not answered");
}

#[test]
fn a_lone_session_finds_itself_under_the_id_it_was_told() {
    let world = World::start(Plan::tenants(1));
    let mut first = world.session(0);
    for _ in 0..5 {
        assert_eq!(server_of(&mut first), first.pid);
    }
    let mine = format!("select count(*) from pg_stat_activity where pid = {}", first.pid);
    assert_eq!(first.one(&mine).as_deref(), Ok("1"));
    // As pg8000's suite has it: a notification's sender against `pg_backend_pid()`.
    first.query("listen news").unwrap();
    first.say(&query("notify news")).unwrap();
    let heard = first.hear_all().unwrap();
    let sender = &heard.iter().find(|m| m.tag == b'A').unwrap().body[..4];
    assert_eq!(sender, first.pid.to_be_bytes());
    assert_eq!(server_of(&mut first), first.pid);
    first.query("unlisten *").unwrap();
    // Who comes behind it, too.
    let told = first.pid;
    drop(first);
    let mut second = eventually(PATIENCE, "the server is told again", || {
        Some(world.session(0)).filter(|session| session.pid == told)
    });
    assert_eq!(server_of(&mut second), told);
    // Its own request to end it reaches it, as on a connection of its own.
    assert_eq!(code(second.query(&format!("select pg_terminate_backend({told})"))), "57P01");
}

#[test]
fn no_two_sessions_are_told_one_id() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "3"));
    let mut before = [(); 3].map(|()| world.session(0));
    let mut servers = BTreeSet::new();
    for session in &mut before {
        session.query("begin").unwrap();
        servers.insert(server_of(session));
    }
    assert_eq!(servers.len(), 3);
    drop(before);
    let mut sessions: Vec<Conn> = Vec::new();
    // Three that are told a server's id each, and find it.
    while sessions.len() < 3 {
        sessions.push(eventually(PATIENCE, "an idle server is told", || {
            Some(world.session(0)).filter(|session| session.pid < MADE_UP)
        }));
        for session in &mut sessions {
            assert_eq!(server_of(session), session.pid);
        }
    }
    let mut told: BTreeSet<u32> = sessions.iter().map(|session| session.pid).collect();
    assert_eq!(told.len(), 3);
    // For those who come then there is none; what they are told is no process at all.
    for _ in 0..3 {
        let mut more = world.session(0);
        assert!(more.pid >= MADE_UP, "{}", more.pid);
        assert!(told.insert(more.pid), "{} was told twice", more.pid);
        let sql = format!("select pg_terminate_backend({})", more.pid);
        assert_eq!(more.one(&sql).as_deref(), Ok("f"));
        sessions.push(more);
    }
}

#[test]
fn a_cancel_is_for_the_session_not_for_the_server_whose_id_it_was_told() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    let (mut named, mut other) = (world.session(0), world.session(0));
    assert_eq!(server_of(&mut other), named.pid, "one server, of which one was told");
    other.say(&query("select pg_sleep(1), 'undisturbed'")).unwrap();
    let mut superuser = world.superuser("postgres");
    let runs = |superuser: &mut Conn, pid: u32| {
        let sought = format!(
            "select count(*) from pg_stat_activity \
             where pid = {pid} and state = 'active' and query like '%pg_sleep%'"
        );
        eventually(PATIENCE, "the query runs", || {
            (superuser.one(&sought).unwrap() == "1").then_some(())
        });
    };
    runs(&mut superuser, named.pid);
    cancel(&world, &named);
    assert_eq!(other.rows().unwrap()[0][1].as_deref(), Some("undisturbed"));
    named.say(&query("select pg_sleep(30)")).unwrap();
    runs(&mut superuser, named.pid);
    cancel(&world, &other);
    cancel(&world, &named);
    assert_eq!(code(named.rows()), "57014");
    assert_eq!(named.one("select 1").as_deref(), Ok("1"));
}

/// What PostgreSQL keeps for a session on that server was another session's.
#[test]
fn a_session_is_told_an_id_and_nothing_else_of_the_server() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    // Its server is closed behind it.
    world.session(0).query("create sequence told").unwrap();
    let mut first = eventually(PATIENCE, "a server is told", || {
        let mut session = world.session(0);
        (server_of(&mut session) == session.pid).then_some(session)
    });
    let told = first.pid;
    assert_eq!(first.one("select nextval('told')").as_deref(), Ok("1"));
    assert_eq!(server_of(&mut first), told);
    drop(first);
    let mut second = eventually(PATIENCE, "the server is told again", || {
        Some(world.session(0)).filter(|session| session.pid == told)
    });
    assert_eq!(code(second.query("select currval('told')")), "55000");
    assert_eq!(code(second.query("select lastval()")), "55000");
    assert_eq!(server_of(&mut second), told);
}

#[test]
fn a_session_outlives_the_server_whose_id_it_was_told() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    let mut session = world.session(0);
    let told = session.pid;
    assert_eq!(server_of(&mut session), told);
    let mut superuser = world.superuser("postgres");
    // Somebody else is on it, and ends it.
    let ends = "select pg_terminate_backend(pg_backend_pid())";
    assert_eq!(code(world.session(0).query(ends)), "57P01");
    let now = server_of(&mut session);
    assert_ne!(now, told);
    // The new one is nobody's yet; once its last session is away for long enough, it is told.
    let mut other = eventually(PATIENCE, "the new one is told", || {
        let other = world.session(0);
        assert_ne!(other.pid, told);
        Some(other).filter(|other| other.pid == now)
    });
    assert_eq!(server_of(&mut other), now);
    // The first one's key is its own as before.
    session.say(&query("select pg_sleep(30)")).unwrap();
    let sought = format!(
        "select count(*) from pg_stat_activity where pid = {now} and query like '%pg_sleep%'"
    );
    eventually(PATIENCE, "the query runs", || {
        (superuser.one(&sought).unwrap() == "1").then_some(())
    });
    cancel(&world, &session);
    assert_eq!(code(session.rows()), "57014");
}
