//! Ten thousand idle clients on one process: each is answered, and what one costs is printed.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs, clippy::cast_precision_loss)]

mod world;

use std::thread;
use std::time::Instant;

use world::wire::Conn;
use world::{Plan, World, bare, keys, report, tools};

/// How many threads log clients in and query them.
const THREADS: usize = 8;
/// What one idle client may cost, whatever the build. The figure itself is printed.
const BYTES_EACH: u64 = 48 * 1024;

fn clients() -> usize {
    let default = if bare::wanted() { 160 } else { 10_000 };
    usize::try_from(tools::env_or("PGUSHER_IDLE_CLIENTS", default)).unwrap()
}

/// Logs `count` clients in, spread over the first `tenants`.
fn crowd(world: &World, count: usize, tenants: usize) -> Vec<Conn> {
    thread::scope(|scope| {
        let parts: Vec<_> = (0..THREADS)
            .map(|part| {
                scope.spawn(move || {
                    let own = (part..count).step_by(THREADS);
                    own.map(|n| world.session(n % tenants)).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// Asks every client for its number.
fn all_answer(clients: &mut [Conn]) {
    let size = clients.len().div_ceil(THREADS);
    thread::scope(|scope| {
        for (part, own) in clients.chunks_mut(size).enumerate() {
            scope.spawn(move || {
                for (n, client) in own.iter_mut().enumerate() {
                    let expected = (part * size + n).to_string();
                    let answer = client.one(&format!("select {expected}"));
                    assert_eq!(answer.as_deref(), Ok(&*expected), "client {expected}");
                }
            });
        }
    });
}

fn stand(world: &World, tenants: usize) {
    let count = clients();
    // One session per tenant first: the pools' own cost is not the clients'.
    let mut first = crowd(world, tenants.max(THREADS), tenants);
    all_answer(&mut first);
    let before = world.rss();
    let started = Instant::now();
    let mut idle = crowd(world, count, tenants);
    let logged_in = started.elapsed();
    let fresh = world.rss().saturating_sub(before) / count as u64;
    let started = Instant::now();
    all_answer(&mut idle);
    let answered = started.elapsed();
    let used = world.rss().saturating_sub(before) / count as u64;
    report(&format!(
        "{count} idle clients over {tenants} tenants: {} bytes each after login, {} after a \
         query; login {:.0}/s, queries {:.0}/s",
        fresh,
        used,
        count as f64 / logged_in.as_secs_f64(),
        count as f64 / answered.as_secs_f64(),
    ));
    assert!(used < BYTES_EACH || bare::wanted(), "{used} bytes for an idle client");
    all_answer(&mut idle);
    world.assert_no_panic();
}

#[test]
fn ten_thousand_idle_clients_are_all_answered() {
    tools::allow_files(clients() as u64 + 2000);
    let many = if bare::wanted() { 10 } else { 100 };
    let world = World::start(
        Plan::tenants(many).set(keys::CLIENT_MAX, "20000").set(keys::QUEUE_TIMEOUT, "60s"),
    );
    stand(&world, 2);
    stand(&world, many);
}
