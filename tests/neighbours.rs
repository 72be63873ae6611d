//! What one tenant does is not felt by another, while the server has room for both.
//!
//! A short version by default, that tells its figures and judges none; `make soak-tenants` is the
//! full one.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub, missing_docs)]
#![allow(clippy::cast_precision_loss, reason = "figures of milliseconds")]

mod cluster;
mod fleet;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use fleet::client::Client;
use fleet::{Fleet, Process};
use tokio::task::JoinSet;
use world::{bare, report, tools};

const NOISE: usize = 500;

struct Street {
    process: Process,
    tokens: Vec<String>,
    ids: Vec<String>,
}

impl Street {
    async fn login(&self, tenant: usize) -> Client {
        let database = format!("tenant_{}", self.ids[tenant]);
        let client = Client::login(self.process.listen, &self.tokens[tenant], &database).await;
        client.unwrap_or_else(|e| panic!("{e:?}"))
    }
}

async fn street(tenants: usize) -> (Fleet, Arc<Street>) {
    let more = "[pool]\nserver_budget = 60\n[limits]\nserver_max = 10\nqueue_timeout = '60s'";
    let fleet = Fleet::found(Cluster::start(), more).await;
    let ids: Vec<String> = (0..tenants).map(|n| format!("n{n}")).collect();
    fleet.adopt(&ids, 10).await;
    let process = fleet.serve("one");
    let tokens = ids.iter().map(|id| fleet.token(id)).collect();
    (fleet, Arc::new(Street { process, tokens, ids }))
}

/// The 99th percentile of what eight clients of a quiet tenant wait for short queries.
async fn quiet(street: &Arc<Street>, time: Duration) -> Duration {
    let mut clients = JoinSet::new();
    let until = Instant::now() + time;
    for _ in 0..8 {
        let street = Arc::clone(street);
        clients.spawn(async move {
            let mut client = street.login(1).await;
            let mut times = Vec::new();
            while Instant::now() < until {
                let asked = Instant::now();
                client.ask("select 1").await.unwrap_or_else(|e| panic!("{e:?}"));
                times.push(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            times
        });
    }
    let mut times = Vec::new();
    while let Some(ended) = clients.join_next().await {
        times.extend(ended.unwrap());
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// 500 clients of slow queries on ten servers, on a thread of their own: it is pgusher and PostgreSQL
/// they may disturb, not those who measure.
struct Noise {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

/// All of them are logged in when this returns.
async fn make_noise(street: &Arc<Street>) -> Noise {
    let (stop, here) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients = {
        let (street, stop, here) = (Arc::clone(street), Arc::clone(&stop), Arc::clone(&here));
        async move {
            let mut clients = JoinSet::new();
            for _ in 0..NOISE {
                let (street, stop, here) =
                    (Arc::clone(&street), Arc::clone(&stop), Arc::clone(&here));
                clients.spawn(async move {
                    let mut client = street.login(0).await;
                    here.fetch_add(1, Ordering::Relaxed);
                    while !stop.load(Ordering::Relaxed) {
                        let slow = client.ask("select pg_sleep(0.1)").await;
                        slow.unwrap_or_else(|e| panic!("{e:?}"));
                    }
                });
            }
            while let Some(ended) = clients.join_next().await {
                ended.unwrap();
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = std::thread::spawn(move || runtime.block_on(clients));
    while here.load(Ordering::Relaxed) < NOISE {
        assert!(!thread.is_finished(), "a slow client failed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Noise { stop, thread }
}

impl Noise {
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn is_full() -> bool {
    tools::env_or("PGUSHER_TENANTS_FULL", 0) > 0
}

#[tokio::test]
async fn five_hundred_slow_clients_of_one_tenant_are_not_felt_by_another() {
    if bare::wanted() {
        return;
    }
    let (rounds, time) = if is_full() { (15, 4) } else { (1, 1) };
    let (_fleet, street) = street(2).await;
    quiet(&street, Duration::from_secs(1)).await;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(quiet(&street, Duration::from_secs(time)).await);
        let noise = make_noise(&street).await;
        beside.push(quiet(&street, Duration::from_secs(time)).await);
        noise.end();
    }
    let (alone, beside) = (median(alone), median(beside));
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    report(&format!("p99 alone {alone:?}, beside {NOISE} slow clients {beside:?}: {ratio:.3}"));
    assert!(ratio < 1.2 || !is_full(), "p99 grew to {ratio:.3} of what it was");
    street.process.assert_no_panic();
}

#[tokio::test]
async fn a_storm_of_one_tenants_logins_does_not_delay_anothers_first() {
    if bare::wanted() {
        return;
    }
    let firsts = if is_full() { 40 } else { 5 };
    let (_fleet, street) = street(2 * firsts + 1).await;
    let first = async |tenant: usize| {
        let began = Instant::now();
        let mut client = street.login(tenant).await;
        client.ask("select 1").await.unwrap_or_else(|e| panic!("{e:?}"));
        began.elapsed()
    };
    let (mut calm, mut storm) = (Vec::new(), Vec::new());
    for n in 0..firsts {
        calm.push(first(1 + 2 * n).await);
        let mut logins = JoinSet::new();
        for _ in 0..NOISE / 5 {
            let street = Arc::clone(&street);
            logins.spawn(async move {
                street.login(0).await.ask("select pg_sleep(0.02)").await.map(drop)
            });
        }
        // They have come, and wait for the tenant's ten servers.
        tokio::time::sleep(Duration::from_millis(5)).await;
        storm.push(first(2 + 2 * n).await);
        let waiting = logins.len();
        while let Some(ended) = logins.join_next().await {
            ended.unwrap().unwrap_or_else(|e| panic!("{e:?}"));
        }
        assert!(waiting > 0);
    }
    let (calm, storm) = (median(calm), median(storm));
    report(&format!("a first connection: {calm:?} in the calm, {storm:?} in the storm"));
    // A hundred logins cost a test build's processor something; standing in their line costs more.
    assert!(storm < Duration::from_secs(2), "a first connection took {storm:?}");
    street.process.assert_no_panic();
}
