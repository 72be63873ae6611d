//! What a tenant is told of a limit of its PostgreSQL server, on the wire: which, how much of it is
//! used and how long it waited.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::Duration;

use world::wire::{self, Refusal};
use world::{Plan, World};

fn world(budget: &str) -> World {
    let plan = Plan::tenants(2)
        .set("servers.dev.budget", budget)
        .set("servers.dev.tenant_connections_max", budget)
        .set("limits.server_max", budget)
        .set(world::keys::QUEUE_TIMEOUT, "1s");
    World::start(plan)
}

fn says(refusal: &Refusal, severity: &str, parts: &[&str]) {
    assert_eq!((&*refusal.code, &*refusal.severity), ("53400", severity), "{refusal:?}");
    for part in parts {
        assert!(refusal.detail.contains(part), "no {part:?} in {refusal:?}");
    }
    assert!(!refusal.hint.is_empty(), "{refusal:?}");
}

#[test]
fn a_wait_that_ends_at_the_servers_budget_is_53400_with_the_figures() {
    let world = world("2");
    let (mut one, mut two, mut other) = (world.session(0), world.session(0), world.session(1));
    for holder in [&mut one, &mut two] {
        holder.query("begin").unwrap();
        assert_eq!(holder.one("select 1").as_deref(), Ok("1"));
    }
    let refused = other.one("select 1").unwrap_err();
    says(
        &refused,
        "ERROR",
        &["server_budget: 2 of 2", "0 by this tenant", "1 tenants are waiting"],
    );
    // The batch skips to its Sync, and the session lives.
    let batch = [wire::parse("", "select 2"), wire::bind("", &[]), wire::execute(), wire::sync()];
    other.say(&batch.concat()).unwrap();
    says(&other.rows().unwrap_err(), "ERROR", &["server_budget: 2 of 2"]);
    one.query("commit").unwrap();
    assert_eq!(other.one("select 3").as_deref(), Ok("3"));
    two.query("commit").unwrap();
    world.assert_no_panic();
}

#[test]
fn a_pin_beyond_its_share_is_53400_with_the_figures() {
    let world = world("4");
    let mut pinned = [world.session(0), world.session(0)];
    for session in &mut pinned {
        session.query("create temp table t as select 1 as n").unwrap();
    }
    // What it has made cannot be kept for it: it is told so before it could rely on it.
    let mut third = world.session(0);
    third.query("create temp table t as select 1 as n").unwrap();
    let refused = third.query("select from t").unwrap_err();
    says(&refused, "FATAL", &["budget_share: 2 of 2"]);
    let mut fourth = world.session(0);
    assert_eq!(fourth.one("select 4").as_deref(), Ok("4"), "servers are shared on");
    // In session mode no server is dialled for who would not be given it.
    let login = world.tenants[0].login().with("options", "-c pgusher.pool_mode=session");
    let dials = || world.figure("pgusher_pool_dials_total{outcome=\"opened\"}");
    let before = dials();
    says(&world.login(&login).err().unwrap(), "FATAL", &["budget_share: 2 of 2"]);
    assert_eq!(dials().to_bits(), before.to_bits());
    drop(pinned);
    world::eventually(Duration::from_secs(5), "there is room for a pin", || {
        third = world.session(0);
        third.query("create temp table t as select 1 as n").unwrap();
        third.one("select n from t").ok().map(|n| assert_eq!(n, "1"))
    });
    world.assert_no_panic();
}
