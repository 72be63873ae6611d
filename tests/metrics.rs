//! What is counted, under names that say where and in which unit.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use std::thread::sleep;
use std::time::Duration;

use world::wire::{Conn, query};
use world::{Plan, World, bare, eventually, tools};

/// What a gauge may count instead of seconds and bytes: things, by their name, and 0 or 1.
const COUNTED: [&str; 16] = [
    "build_info",
    "clients",
    "connections",
    "live",
    "missed",
    "open",
    "pins",
    "ready",
    "revocations",
    "server_max",
    "servers",
    "tenants",
    "tenants_broken",
    "up",
    "waiting",
    "waiting_clients_by_limit",
];

/// Units that are not Prometheus' base units.
const UNUSUAL: [&str; 10] = [
    "milliseconds",
    "millis",
    "ms",
    "microseconds",
    "us",
    "minutes",
    "hours",
    "days",
    "kib",
    "mib",
];

#[test]
fn a_metric_is_named_after_its_room_and_its_unit() {
    if bare::wanted() {
        return;
    }
    let rooms: Vec<String> = std::fs::read_dir(tools::root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let figures = World::busy().figures();
    assert!(figures.len() > 40, "{:?}", figures.keys());
    let mut wrong = Vec::new();
    for (name, family) in &figures {
        // What every program has goes by the name every program gives it.
        if name.starts_with("process_") {
            continue;
        }
        let what = name.strip_prefix("pgusher_").unwrap_or_default();
        let Some((room, what)) = what.split_once('_') else {
            wrong.push(format!("{name}: pgusher_<room>_<what>_<unit>"));
            continue;
        };
        if !rooms.iter().any(|known| known == room) {
            wrong.push(format!("{name}: `{room}` is no room"));
        }
        let base = what.ends_with("_seconds") || what.ends_with("_bytes");
        let fits = match &*family.kind {
            _ if what.split('_').any(|word| UNUSUAL.contains(&word)) => false,
            "counter" => what.ends_with("_total"),
            "histogram" => base,
            _ => {
                base || COUNTED
                    .iter()
                    .any(|noun| what == *noun || what.ends_with(&format!("_{noun}")))
            }
        };
        if !fits {
            wrong.push(format!("{name}: a {} in no unit that is known here", family.kind));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Transactions counted, timed, and how long they took; leases timed.
fn counts(world: &World) -> (f64, f64, f64, f64) {
    let of = |name: &str| world.figure(&format!("pgusher_session_{name}"));
    let timed = of("transaction_seconds_count");
    let sum = of("transaction_seconds_sum");
    (of("transactions_total"), timed, sum, of("lease_seconds_count"))
}

/// What `work` added: leases, and seconds in `expected` transactions, each of which was timed.
fn added(world: &World, expected: f64, work: impl FnOnce()) -> (f64, f64) {
    let before = counts(world);
    work();
    // A client has its answer before its transaction is counted.
    let after = eventually(Duration::from_secs(10), "each transaction is timed", || {
        let now = counts(world);
        (now.0 - before.0 >= expected && now.1 - before.1 >= expected).then_some(now)
    });
    assert_eq!((after.0 - before.0, after.1 - before.1), (expected, expected), "one each");
    // The last lease ends behind the transaction.
    sleep(Duration::from_millis(50));
    (counts(world).3 - before.3, after.2 - before.2)
}

/// A transaction of 0.3 seconds, half of which the client thinks, behind a second of nothing.
fn rest_and_work(conn: &mut Conn) {
    sleep(Duration::from_secs(1));
    conn.query("begin").unwrap();
    conn.query("select pg_sleep(0.15)").unwrap();
    sleep(Duration::from_millis(150));
    conn.query("commit").unwrap();
}

#[test]
fn a_transaction_is_timed_whatever_keeps_its_server() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let is_one = |seconds: f64| assert!((0.3..1.0).contains(&seconds), "{seconds} seconds");
    let mut conn = world.session(0);
    let (leases, seconds) = added(&world, 1.0, || rest_and_work(&mut conn));
    assert!((leases - 1.0).abs() < 0.1, "{leases} leases");
    is_one(seconds);
    // Several in one write, and one that is refused.
    added(&world, 4.0, || {
        conn.say(&[query("select 1"), query("select 2"), query("select 1/0")].concat()).unwrap();
        for _ in 0..3 {
            drop(conn.rows());
        }
        conn.query("select 3").unwrap();
    });
    // The catalog is asked what it left: that is the lease's time and not the transaction's.
    added(&world, 1.0, || drop(conn.query("set work_mem to '5MB'").unwrap()));
    added(&world, 1.0, || drop(conn.query("create temp table kept()").unwrap()));
    let (leases, seconds) = added(&world, 1.0, || rest_and_work(&mut conn));
    assert!(leases.abs() < 0.1, "{leases} leases of a pinned session");
    is_one(seconds);
    drop(conn);
    let login = world.tenants[1].login().with("options", "-c pgusher.pool_mode=session");
    let mut conn = world.login(&login).unwrap();
    let (leases, seconds) = added(&world, 1.0, || rest_and_work(&mut conn));
    assert!(leases.abs() < 0.1, "{leases} leases in session mode");
    is_one(seconds);
    added(&world, 2.0, || {
        conn.say(&[query("select 1"), query("select 2")].concat()).unwrap();
        drop((conn.rows(), conn.rows()));
    });
}

#[test]
fn what_may_happen_is_there_before_it_happens() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let figures = world.figures();
    let value = |series: &str| {
        let mut all = figures.values().flat_map(|family| &family.series);
        all.find(|(name, _)| name == series).map(|(_, value)| *value)
    };
    for series in [
        r#"pgusher_auth_jwks_fetches_total{result="failed"}"#,
        r#"pgusher_control_registrations_total{outcome="failed"}"#,
        r#"pgusher_control_sms_webhooks_total{answer="later",provider="telnyx"}"#,
        r#"pgusher_control_stripe_events_total{outcome="forged"}"#,
        r#"pgusher_pool_refusals_total{limit="queue_max"}"#,
        r#"pgusher_pool_waiting_clients_by_limit{limit="server_budget"}"#,
    ] {
        assert_eq!(value(series), Some(0.0), "{series}");
    }
    // Nothing was asked of the registry yet, perhaps: that is no failure.
    assert_eq!(value("pgusher_tenant_registry_up"), Some(1.0));
    assert_eq!(value("pgusher_boot_ready"), Some(1.0));
    let rss = f64::from(u32::try_from(world.rss() >> 10).unwrap()) * 1024.0;
    let told = value("process_resident_memory_bytes").unwrap();
    assert!((rss / 2.0..rss * 2.0).contains(&told), "{told} and {rss}");
    assert!(value("process_cpu_seconds_total").unwrap() > 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = now.as_secs_f64() - value("process_start_time_seconds").unwrap();
    assert!((0.0..600.0).contains(&age), "started {age} seconds ago");
}
