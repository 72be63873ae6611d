//! No tenant is ever seen above its cap, under pgbench in every protocol and both pool modes.
//!
//! 64 clients over 8 tenants with a cap of 5 each. A short version by default;
//! `PGUSHER_SOAK_SECONDS=300` (`make soak`) is the full one.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use world::{Plan, World, bare, keys, report, tools};

const TENANTS: usize = 8;
const CLIENTS: usize = 8;
const CAP: u64 = 5;

/// What one sampler saw.
struct Seen {
    samples: u64,
    highest: BTreeMap<String, u64>,
}

/// Looks every 10 ms until told to stop.
fn sample(world: &World, stop: &AtomicBool) -> Seen {
    let mut superuser = world.superuser("postgres");
    let mut seen = Seen { samples: 0, highest: BTreeMap::new() };
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for (database, count) in world::server_connections(&mut superuser) {
            let highest = seen.highest.entry(database).or_default();
            *highest = count.max(*highest);
        }
        seen.samples += 1;
        next += Duration::from_millis(10);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    seen
}

fn pgbench(world: &World, tenant: usize, args: &[&str]) -> Command {
    let tenant = &world.tenants[tenant];
    let login = tenant.login();
    let mut command = Command::new(tools::program("pgbench"));
    command
        .env("PGHOST", "localhost")
        .env("PGPORT", world.listen.port().to_string())
        .env("PGUSER", login.user)
        .env("PGPASSWORD", login.password)
        .env("PGDATABASE", tenant.database())
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &world.tls.ca)
        .args(args)
        .stdin(Stdio::null());
    command
}

/// One pgbench per tenant, all at once; their complaints.
fn storm(world: &World, args: &[&str], options: &str) -> Result<f64, String> {
    let children: Vec<_> = (0..TENANTS)
        .map(|tenant| {
            let mut command = pgbench(world, tenant, args);
            if !options.is_empty() {
                command.env("PGOPTIONS", options);
            }
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut rate = 0.0;
    let mut complaints = String::new();
    for (tenant, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        let clean = out.contains("number of failed transactions: 0 (");
        if !output.status.success() || !clean || err.contains("abort") || err.contains("error") {
            complaints += &format!("tenant {tenant}: {}\n{out}{err}\n", output.status);
        }
        let figure = out.lines().find_map(|l| l.strip_prefix("tps = "));
        let figure = figure.and_then(|l| l.split(' ').next()?.parse::<f64>().ok());
        rate += figure.unwrap_or_default();
    }
    if complaints.is_empty() { Ok(rate) } else { Err(complaints) }
}

#[test]
fn no_tenant_is_ever_seen_above_its_cap() {
    let plan = Plan::tenants(TENANTS)
        .set(keys::SERVER_MAX, &CAP.to_string())
        .set(keys::QUEUE_TIMEOUT, "30s");
    let world = Arc::new(World::start(plan));
    let seconds = tools::env_or("PGUSHER_SOAK_SECONDS", 24);
    let stop = Arc::new(AtomicBool::new(false));
    let sampler = {
        let (world, stop) = (world.clone(), stop.clone());
        thread::spawn(move || sample(&world, &stop))
    };
    storm_filled(&world);
    let each = (seconds / 12).max(1).to_string();
    let mut complaints = String::new();
    for protocol in ["simple", "extended", "prepared"] {
        for script in ["tpcb-like", "select-only"] {
            let mut args = vec!["-n", "-M", protocol, "-b", script, "-c", "8", "-T", &each];
            // A thread for each client: pgbench prepares by a call that blocks its thread, and in
            // one thread the clients that hold the five servers could not go on meanwhile.
            args.extend(["-j", "8"]);
            match storm(&world, &args, "") {
                Ok(rate) => report(&format!("transaction {protocol} {script}: {rate:.0} tps")),
                Err(why) => complaints += &format!("transaction {protocol} {script}\n{why}"),
            }
            // Eight clients cannot all hold one of five servers: in session mode they take turns
            // by the session, each on a thread of its own because connecting waits.
            let mut args = vec!["-n", "-C", "-M", protocol, "-b", script, "-c", "8", "-T", &each];
            args.extend(["-j", "8"]);
            match storm(&world, &args, "-c pgusher.pool_mode=session") {
                Ok(rate) => report(&format!("session {protocol} {script}: {rate:.0} tps")),
                Err(why) => complaints += &format!("session {protocol} {script}\n{why}"),
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let seen = sampler.join().unwrap();
    assert!(complaints.is_empty(), "{complaints}");
    report(&format!("{} samples, highest per tenant {:?}", seen.samples, seen.highest.values()));
    assert_eq!(seen.highest.len(), TENANTS, "every tenant was seen: {:?}", seen.highest);
    let above: Vec<_> = seen.highest.iter().filter(|(_, n)| **n > CAP).collect();
    assert!(above.is_empty() || bare::wanted(), "above the cap of {CAP}: {above:?}");
    let enough = seconds * 50;
    assert!(seen.samples > enough, "only {} samples in {seconds} s", seen.samples);
    assert_eq!(CLIENTS, 8, "the figure in the arguments above");
    world.assert_no_panic();
}

fn storm_filled(world: &World) {
    let children: Vec<_> = (0..TENANTS)
        .map(|tenant| {
            let mut command = pgbench(world, tenant, &["-i", "-q", "-s", "1"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_lowered_limit_is_kept_without_a_reconnect() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let mut sessions: Vec<_> = (0..6).map(|_| world.session(0)).collect();
    for session in &mut sessions {
        session.query("begin").unwrap();
        session.query("select 1").unwrap();
    }
    let mut superuser = world.superuser("postgres");
    let database = world.tenants[0].database();
    let mut held = || {
        let all = world::server_connections(&mut superuser);
        all.into_iter().find(|(name, _)| *name == database).map_or(0, |(_, n)| n)
    };
    assert!(held() >= 6, "six transactions hold six servers");
    world.cli(&["tenant", "limits", &world.tenants[0].id, "--server-max", "2"]);
    for session in &mut sessions {
        session.query("commit").unwrap();
    }
    world::eventually(Duration::from_secs(20), "the excess is closed as leases end", || {
        (held() <= 2).then_some(())
    });
    for session in &mut sessions {
        assert_eq!(session.one("select 1").as_deref(), Ok("1"));
        assert!(held() <= 2);
    }
}
