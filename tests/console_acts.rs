//! The admin console's commands act, on the tenant they name and on no other.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::sync::OnceLock;
use std::time::Duration;

use pgusher::auth::Power;
use world::operator::{cell, operator};
use world::wire::query;
use world::{Plan, World, bare, code, eventually, server_connections};

/// How long a promise may take to come true.
const SOON: Duration = Duration::from_secs(20);

/// One tenant a test, so that none disturbs another.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::start(Plan::tenants(7)))
}

#[test]
fn a_pause_waits_for_leases_and_holds_the_others_until_resume() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[2];
    let (mut busy, mut next) = (world.session(2), world.session(2));
    busy.query("begin").unwrap();
    let mut admin = operator(world, Power::Admin);
    admin.say(&query(&format!("PAUSE {}", tenant.database()))).unwrap();
    let paused = || cell(world, "SHOW DATABASES", &tenant.database(), "paused");
    eventually(SOON, "the pause is on", || (paused()? == "1").then_some(()));
    next.say(&query("select 'served'")).unwrap();
    let waiting = || cell(world, "SHOW POOLS", &tenant.database(), "cl_waiting");
    eventually(SOON, "the next one waits", || (waiting()? == "1").then_some(()));
    // The one that was there goes on to its end; only then is the pause complete.
    assert_eq!(busy.one("select 2").as_deref(), Ok("2"));
    busy.query("commit").unwrap();
    admin.rows().unwrap();
    let held = server_connections(&mut world.superuser("postgres"));
    assert!(!held.iter().any(|(name, _)| *name == tenant.database()), "{held:?}");
    assert_eq!(world.session(0).one("select 1").as_deref(), Ok("1"), "others are served");
    admin.query(&format!("RESUME {}", tenant.id)).unwrap();
    assert_eq!(next.rows().unwrap()[0][0].as_deref(), Some("served"));
    assert_eq!(paused().as_deref(), Some("0"));
    assert_eq!(code(admin.query("PAUSE nobody_of_that_name")), "3D000");
    assert_eq!(code(admin.query("PAUSE \"x'; --\"")), "3D000");
}

#[test]
fn an_operator_who_leaves_a_pause_leaves_it_behind() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[3];
    let mut busy = world.session(3);
    busy.query("begin").unwrap();
    let mut admin = operator(world, Power::Admin);
    admin.say(&query(&format!("PAUSE {}", tenant.id))).unwrap();
    let paused = || cell(world, "SHOW DATABASES", &tenant.database(), "paused");
    eventually(SOON, "the pause is on", || (paused()? == "1").then_some(()));
    drop(admin);
    assert_eq!(paused().as_deref(), Some("1"));
    operator(world, Power::Admin).query(&format!("RESUME {}", tenant.id)).unwrap();
    busy.query("commit").unwrap();
    assert_eq!(busy.one("select 1").as_deref(), Ok("1"));
}

#[test]
fn kill_cuts_sessions_with_57p01_and_the_next_wait_for_resume() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[4];
    let (mut idle, mut busy) = (world.session(4), world.session(4));
    let (mut one, mut bystander) = (world.session(4), world.session(0));
    busy.query("begin").unwrap();
    let mut admin = operator(world, Power::Admin);
    admin.query(&format!("KILL_CLIENT {}", one.pid)).unwrap();
    assert_eq!(one.verdict().expect("it is told why").code, "57P01");
    assert_eq!(code(admin.query(&format!("KILL_CLIENT {}", one.pid))), "42704");
    assert_eq!(idle.one("select 1").as_deref(), Ok("1"), "only that one");
    admin.query(&format!("KILL {}", tenant.id)).unwrap();
    for session in [&mut idle, &mut busy] {
        let verdict = session.verdict().expect("it is told why");
        assert_eq!((&*verdict.severity, &*verdict.code), ("FATAL", "57P01"));
    }
    assert_eq!(bystander.one("select 1").as_deref(), Ok("1"), "others live");
    let mut superuser = world.superuser("postgres");
    eventually(SOON, "the servers are gone", || {
        let held = server_connections(&mut superuser);
        (!held.iter().any(|(name, _)| *name == tenant.database())).then_some(())
    });
    let newcomer = std::thread::spawn(|| self::world().session(4).one("select 'back'"));
    let waiting = || cell(world, "SHOW POOLS", &tenant.database(), "cl_active");
    eventually(SOON, "the newcomer is in the room", || waiting().map(drop));
    admin.query(&format!("RESUME {}", tenant.id)).unwrap();
    assert_eq!(newcomer.join().unwrap().as_deref(), Ok("back"));
}

#[test]
fn disable_refuses_newcomers_and_keeps_those_present() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[5];
    let mut present = world.session(5);
    let mut admin = operator(world, Power::Admin);
    admin.query(&format!("DISABLE {}", tenant.id)).unwrap();
    assert_eq!(code(world.login(&tenant.login())), "57P03");
    assert_eq!(present.one("select 1").as_deref(), Ok("1"));
    let disabled = cell(world, "SHOW DATABASES", &tenant.database(), "disabled");
    assert_eq!(disabled.as_deref(), Some("1"));
    admin.query(&format!("ENABLE {}", tenant.id)).unwrap();
    assert_eq!(world.session(5).one("select 1").as_deref(), Ok("1"));
}

#[test]
fn reconnect_replaces_servers_and_reload_is_heard() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let mut session = world.session(6);
    let before = session.one("select pg_backend_pid()").unwrap();
    assert_eq!(session.one("select pg_backend_pid()").as_ref(), Ok(&before));
    let mut admin = operator(world, Power::Admin);
    admin.query(&format!("RECONNECT {}", world.tenants[6].id)).unwrap();
    assert_ne!(session.one("select pg_backend_pid()").unwrap(), before);
    admin.query("RELOAD").unwrap();
    assert_eq!(session.one("select 1").as_deref(), Ok("1"));
}

#[test]
fn shutdown_ends_the_process_in_order() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let mut session = world.session(0);
    let mut admin = operator(&world, Power::Admin);
    let pid = world.pid();
    admin.say(&query("SHUTDOWN")).unwrap();
    assert_eq!(session.verdict().expect("it is told why").code, "57P01");
    // Its parent is the world's shell, which looks at it only at the end: gone or a zombie.
    eventually(SOON, "the process has ended", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    });
}

#[test]
fn another_process_takes_its_part_of_the_budget() {
    if bare::wanted() {
        return;
    }
    let world = world();
    drop(world.session(0));
    let total = || cell(world, "SHOW BUDGETS", "dev", "total").unwrap().parse::<u32>().unwrap();
    let whole = cell(world, "SHOW BUDGETS", "dev", "of_all").unwrap().parse::<u32>().unwrap();
    eventually(SOON, "it is alone", || (total() == whole).then_some(()));
    let mut registry = world.superuser(&world.registry_database());
    let sql = "insert into pgusher.processes (id, host, pid, version) values ('!', 'x', 1, 'x')";
    registry.query(sql).unwrap();
    eventually(SOON, "the other one is seen", || (total() == whole / 2).then_some(()));
    registry.query("delete from pgusher.processes where id = '!'").unwrap();
    eventually(SOON, "it is alone again", || (total() == whole).then_some(()));
}
