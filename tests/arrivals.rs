//! Who leaves before being let in leaves the line as well.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::Duration;

use world::wire::{Conn, message, query};
use world::{Plan, World, bare, eventually, keys};

#[test]
fn a_client_that_leaves_while_it_is_let_in_stands_in_no_line() {
    if bare::wanted() {
        return;
    }
    let plan = Plan::default().set("limits.server_max", "1").set(keys::QUEUE_TIMEOUT, "10m");
    let world = World::start(plan);
    let waiting = |count: f64, what| {
        let waits = "pgusher_pool_waiting_clients_by_limit{limit=\"server_max\"}";
        eventually(Duration::from_secs(20), what, || {
            (world.figure(waits) - count).abs().lt(&0.5).then_some(())
        });
    };
    let mut holder = world.session(0);
    holder.query("begin").unwrap();
    // In session mode a server is part of being let in.
    let plain = world.tenants[0].login().with("options", "-c pgusher.pool_mode=session");
    let tls = plain.clone().over(&world.tls.client(&[]));
    let arrives = |over_tls: bool| {
        let login = if over_tls { &tls } else { &plain };
        let mut conn = match &login.tls {
            Some(tls) => Conn::dial_tls(world.listen, tls).unwrap(),
            None => Conn::dial(world.listen),
        };
        conn.say(&login.startup()).unwrap();
        conn.hear().unwrap();
        conn.say(&message(b'p', format!("{}\0", login.password).as_bytes())).unwrap();
        conn
    };
    for over_tls in [false, true] {
        let gone = arrives(over_tls);
        waiting(1.0, "it waits");
        let mut stays = arrives(over_tls);
        waiting(2.0, "so does the other");
        drop(gone);
        waiting(1.0, "the first has left the line");
        // What comes early is heard later.
        stays.say(&query("select 'early'")).unwrap();
        holder.query("commit").unwrap();
        stays.authenticate("").unwrap();
        assert_eq!(stays.rows().unwrap()[0][0].as_deref(), Some("early"));
        drop(stays);
        holder.query("begin").unwrap();
    }
    world.assert_no_panic();
}

#[test]
fn who_finds_every_server_held_in_session_mode_waits_for_one() {
    let plan = Plan::default()
        .set("limits.server_max", "1")
        .set("pins.budget_share", "1.0")
        .set(keys::QUEUE_TIMEOUT, "10m");
    let world = World::start(plan);
    let login = world.tenants[0].login().with("options", "-c pgusher.pool_mode=session");
    let holder = world.login(&login).unwrap();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| world.login(&login).map(|mut s| s.one("select 'next'")));
        let waits = "pgusher_pool_waiting_clients_by_limit{limit=\"server_max\"}";
        eventually(Duration::from_secs(20), "it waits", || {
            (next.is_finished() || world.figure(waits) > 0.5).then_some(())
        });
        drop(holder);
        assert_eq!(next.join().unwrap().unwrap().unwrap(), "next");
    });
}
