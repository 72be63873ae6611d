//! Changes of one tenant's row that come quickly, while its server is slow or refuses.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub, missing_docs)]

mod world;

use std::time::Duration;

use world::wire::Conn;
use world::{Plan, World, bare, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// A world whose first tenant is served.
fn served() -> (World, Conn) {
    let world = World::start(Plan::default());
    let mut session = world.session(0);
    assert_eq!(session.one("select 1").as_deref(), Ok("1"));
    (world, session)
}

/// Nobody can change a database while this is held.
fn hold_databases(world: &World) -> Conn {
    let mut superuser = world.superuser("postgres");
    superuser.query("begin; lock table pg_database in share mode").unwrap();
    superuser
}

/// The processes that wait to change one.
fn waiting(superuser: &mut Conn) -> Vec<String> {
    let sql = "select pid from pg_stat_activity where wait_event_type = 'Lock' \
               and query like 'ALTER DATABASE%'";
    let rows = superuser.query(sql).unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

fn limit(world: &World, server_max: &str) {
    world.cli(&["tenant", "limits", &world.tenants[0].id, "--server-max", server_max]);
}

fn is_held(superuser: &mut Conn, world: &World, server_max: &str) {
    let database = world.tenants[0].database();
    let sql = format!("select datconnlimit from pg_database where datname = '{database}'");
    eventually(PATIENCE, "postgresql holds the last cap", || {
        (superuser.one(&sql).unwrap() == server_max).then_some(())
    });
}

#[test]
fn changes_that_come_quickly_are_applied_one_at_a_time_and_the_last_one_stays() {
    if bare::wanted() {
        return;
    }
    let (world, mut session) = served();
    let (mut lock, mut superuser) = (hold_databases(&world), world.superuser("postgres"));
    for server_max in ["3", "4", "5", "6", "7"] {
        limit(&world, server_max);
        eventually(PATIENCE, "it is on its way", || {
            (!waiting(&mut superuser).is_empty()).then_some(())
        });
    }
    // A server that does not answer keeps nobody from being cut.
    world.cli(&["tenant", "suspend", &world.tenants[0].id]);
    eventually(PATIENCE, "it is cut", || session.one("select 1").err());
    let found = waiting(&mut superuser);
    assert_eq!(found.len(), 1, "one at a time: {found:?}");
    world.cli(&["tenant", "resume", &world.tenants[0].id]);
    lock.query("commit").unwrap();
    is_held(&mut superuser, &world, "7");
    eventually(PATIENCE, "it is served again", || {
        world.login(&world.tenants[0].login()).ok()?.one("select 1").ok()
    });
    world.assert_no_panic();
}

#[test]
fn a_cap_that_its_server_did_not_take_is_told_it_again() {
    if bare::wanted() {
        return;
    }
    let (world, _session) = served();
    let (mut lock, mut superuser) = (hold_databases(&world), world.superuser("postgres"));
    limit(&world, "7");
    let pid = eventually(PATIENCE, "it is on its way", || waiting(&mut superuser).pop());
    superuser.query(&format!("select pg_terminate_backend({pid})")).unwrap();
    lock.query("commit").unwrap();
    is_held(&mut superuser, &world, "7");
    world.assert_no_panic();
}
