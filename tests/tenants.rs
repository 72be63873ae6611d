//! Many tenants on one PostgreSQL: nobody is refused, nobody passes a limit, everybody gets a fair
//! share, while the load moves from tenant to tenant.
//!
//! A small version by default; `make soak-tenants` is the full one: 1,000 tenants, 2,000 clients,
//! a budget of 90, ten minutes.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub, missing_docs)]
#![allow(clippy::cast_precision_loss, reason = "counts of transactions are small")]

mod cluster;
mod fleet;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::Cluster;
use fleet::client::Client;
use fleet::sampler::{Sampler, Seen};
use fleet::watch::Watch;
use fleet::{Fleet, Process};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use world::{report, tools};

/// How big it is, and for how long.
#[derive(Clone, Copy)]
struct Size {
    tenants: usize,
    /// Groups of clients that go from tenant to tenant together.
    crowds: usize,
    /// Clients of a crowd.
    clients: usize,
    budget: u64,
    cap: u64,
    /// How long a crowd stays with a tenant.
    stay: Duration,
    /// How often every tenant is visited.
    rounds: usize,
    /// How long few tenants have all the clients, and how many.
    packed: (Duration, usize),
    /// How long weights are measured.
    weighed: Duration,
    /// What a transaction takes.
    work: Duration,
}

const SMALL: Size = Size {
    tenants: 60,
    crowds: 20,
    clients: 4,
    budget: 9,
    cap: 3,
    stay: Duration::from_secs(3),
    rounds: 1,
    packed: (Duration::from_secs(3), 2),
    weighed: Duration::from_secs(6),
    work: Duration::from_millis(20),
};

const FULL: Size = Size {
    tenants: 1_000,
    crowds: 200,
    clients: 10,
    budget: 90,
    cap: 10,
    stay: Duration::from_secs(20),
    rounds: 4,
    packed: (Duration::from_secs(60), 5),
    weighed: Duration::from_secs(140),
    work: Duration::from_millis(100),
};

/// One tenant's figures.
#[derive(Default)]
struct Score {
    done: AtomicU64,
    /// Requests under way, and since when none of them was answered.
    open: Mutex<(u32, Option<Instant>)>,
    /// The longest the tenant waited for anything, in milliseconds.
    starved: AtomicU64,
}

impl Score {
    fn asks(&self) {
        let mut open = self.open.lock().unwrap();
        open.0 += 1;
        open.1.get_or_insert_with(Instant::now);
    }

    /// An answer came that took PostgreSQL `work`.
    fn is_answered(&self, work: Duration) {
        let mut open = self.open.lock().unwrap();
        open.0 -= 1;
        let since = open.1.take().expect("it was asked");
        let waited = since.elapsed().saturating_sub(work);
        self.starved.fetch_max(u64::try_from(waited.as_millis()).unwrap(), Ordering::Relaxed);
        open.1 = (open.0 > 0).then(Instant::now);
    }
}

struct Stage {
    size: Size,
    process: Process,
    tokens: Vec<String>,
    ids: Vec<String>,
    scores: Vec<Score>,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Stage {
    fn complain(&self, what: &str, why: &world::wire::Refusal) {
        *self.errors.lock().unwrap().entry(format!("{what}: {}", why.text())).or_default() += 1;
    }

    /// A client of one tenant, from its login to `until`.
    async fn visit(&self, tenant: usize, until: Instant) {
        let score = &self.scores[tenant];
        let work = format!("select pg_sleep({})", self.size.work.as_secs_f64());
        score.asks();
        let database = format!("tenant_{}", self.ids[tenant]);
        let client = Client::login(self.process.listen, &self.tokens[tenant], &database).await;
        score.is_answered(Duration::ZERO);
        let mut client = match client {
            Ok(client) => client,
            Err(why) => {
                self.complain("login", &why);
                return sleep_until(until).await;
            }
        };
        while Instant::now() < until {
            score.asks();
            let answer = client.ask(&work).await;
            score.is_answered(self.size.work);
            match answer {
                Ok(_) => drop(score.done.fetch_add(1, Ordering::Relaxed)),
                Err(why) => {
                    self.complain("query", &why);
                    return sleep_until(until).await;
                }
            }
        }
        let _ = client.say(&world::wire::message(b'X', b"")).await;
    }

    /// Every client, each with its plan: which tenant, until when.
    async fn run(self: &Arc<Self>, plan: impl Fn(usize, usize) -> Vec<(usize, Instant)>) {
        let mut clients = JoinSet::new();
        for crowd in 0..self.size.crowds {
            for client in 0..self.size.clients {
                let (stage, visits) = (Arc::clone(self), plan(crowd, client));
                clients.spawn(async move {
                    for (tenant, until) in visits {
                        stage.visit(tenant, until).await;
                    }
                });
            }
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    }

    fn take_done(&self) -> Vec<u64> {
        self.scores.iter().map(|score| score.done.swap(0, Ordering::Relaxed)).collect()
    }

    fn take_starved(&self) -> u64 {
        let of = |score: &Score| score.starved.swap(0, Ordering::Relaxed);
        self.scores.iter().map(of).max().unwrap_or(0)
    }

    fn assert_no_error(&self) {
        let errors = self.errors.lock().unwrap();
        assert!(errors.is_empty(), "clients were refused: {errors:#?}");
    }
}

/// Jain's index of fairness: 1 when all are equal, 1/n when one has everything.
fn jain(done: &[u64]) -> f64 {
    let sum: f64 = done.iter().map(|n| *n as f64).sum();
    let squares: f64 = done.iter().map(|n| (*n as f64) * (*n as f64)).sum();
    sum * sum / (done.len() as f64 * squares)
}

async fn set_the_stage(size: Size) -> (Fleet, Arc<Stage>) {
    let server = Cluster::start_with("-c max_connections=100 -c max_wal_size=256MB");
    let more = format!(
        "[pool]\nserver_budget = {}\n[limits]\nserver_max = {}\nqueue_timeout = '60s'",
        size.budget, size.cap
    );
    let fleet = Fleet::found(server, &more).await;
    let ids: Vec<String> = (0..size.tenants).map(|n| format!("t{n}")).collect();
    fleet.adopt(&ids, u32::try_from(size.cap).unwrap()).await;
    let process = fleet.serve("one");
    let stage = Stage {
        size,
        process,
        tokens: ids.iter().map(|id| fleet.token(id)).collect(),
        scores: ids.iter().map(|_| Score::default()).collect(),
        ids,
        errors: Mutex::default(),
    };
    (fleet, Arc::new(stage))
}

/// The load goes round: every tenant is visited for as long as any other.
async fn moving(stage: &Arc<Stage>) -> Vec<u64> {
    let size = stage.size;
    let visits = size.tenants / size.crowds * size.rounds;
    let start = Instant::now();
    stage
        .run(|crowd, _| {
            // Crowds move one after the other, not all at once: each begins somewhere in the stay
            // at its last tenant, and ends there.
            let part = |n: usize, of: usize| {
                size.stay * u32::try_from(n).unwrap() / u32::try_from(of).unwrap()
            };
            let late = part(crowd, size.crowds);
            let visit = |n: usize| {
                let tenant = (crowd + (n + visits - 1) * size.crowds) % size.tenants;
                (tenant, start + (late + part(n, 1)).min(part(visits, 1)))
            };
            (0..=visits).map(visit).collect()
        })
        .await;
    stage.take_done()
}

/// All clients at few tenants: their caps are what holds them.
async fn packed(stage: &Arc<Stage>) {
    let (time, few) = stage.size.packed;
    let until = Instant::now() + time;
    stage.run(|crowd, _| vec![(crowd % few, until)]).await;
    stage.take_done();
}

/// A third of the tenants with weight 1, 2 and 4 each, all of them busy.
async fn weighed(fleet: &Fleet, stage: &Arc<Stage>) -> [f64; 3] {
    let crowds = stage.size.crowds;
    let weight = |n: usize| 1 << (n % 3);
    let rows: Vec<String> =
        (0..crowds).map(|n| format!("('{}', false, {})", stage.ids[n], weight(n))).collect();
    let insert = "INSERT INTO pgusher.tenants (tenant_id, managed, weight) VALUES";
    fleet.registry(&format!("{insert} {}", rows.join(","))).await;
    let warm = Duration::from_secs(2).max(stage.size.weighed / 14);
    let until = Instant::now() + warm + stage.size.weighed;
    let counting = Arc::clone(stage);
    let counter = tokio::spawn(async move {
        sleep(warm).await;
        counting.take_done();
        sleep_until(until).await;
        counting.take_done()
    });
    stage.run(|crowd, _| vec![(crowd, until)]).await;
    let done = counter.await.unwrap();
    // By tenant, so that it does not matter how many of a weight there are.
    let mean = |remainder: usize| {
        let of: Vec<u64> = (remainder..crowds).step_by(3).map(|n| done[n]).collect();
        of.iter().sum::<u64>() as f64 / of.len() as f64
    };
    let means = [mean(0), mean(1), mean(2)];
    let unit = means.iter().sum::<f64>() / 7.0;
    [means[0] / unit, means[1] / unit / 2.0, means[2] / unit / 4.0]
}

fn judge(size: Size, seen: &Seen) {
    report(&format!(
        "{} samples ({:?} at most between two): at most {} connections of {}, {} of one tenant of {}",
        seen.samples,
        seen.gap,
        seen.total,
        size.budget,
        seen.highest(),
        size.cap
    ));
    assert!(seen.total <= size.budget, "the budget was passed: {}", seen.total);
    assert!(seen.highest() <= size.cap, "a cap was passed: {}", seen.highest());
    assert_eq!(seen.highest.len(), size.tenants, "every tenant was seen");
}

#[tokio::test]
async fn load_moves_over_many_tenants_and_nobody_is_refused_or_left_behind() {
    if world::bare::wanted() {
        return;
    }
    let full = tools::env_or("PGUSHER_TENANTS_FULL", 0) > 0;
    let size = if full { FULL } else { SMALL };
    let (fleet, stage) = set_the_stage(size).await;
    report(&format!("{} tenants are there", size.tenants));
    let sampler = Sampler::start(fleet.server.port);
    let watch = Watch::start(stage.process.listen, &fleet.operator());
    let done = moving(&stage).await;
    let (starved, turns) = (stage.take_starved(), watch.take());
    let index = jain(&done);
    let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
    let rounds = size.crowds as f64 / size.budget as f64;
    report(&format!(
        "moving: {} transactions, {least} to {most} a tenant, Jain {index:.4}; the longest wait of a \
         tenant {starved} ms; {rounds:.2} tenants a slot, a turn was {} ms, {} at most",
        done.iter().sum::<u64>(),
        turns.turn_mean_ms,
        turns.turn_most_ms
    ));
    packed(&stage).await;
    report(&format!("packed: the longest wait of a tenant {} ms", stage.take_starved()));
    watch.take();
    let shares = weighed(&fleet, &stage).await;
    report(&format!(
        "weights 1:2:4: {:.3}, {:.3}, {:.3} of their due; the longest wait of a tenant {} ms, a turn \
         was {} ms",
        shares[0],
        shares[1],
        shares[2],
        stage.take_starved(),
        watch.take().turn_mean_ms
    ));
    drop(watch);
    judge(size, &sampler.seen());
    stage.assert_no_error();
    stage.process.assert_no_panic();
    // Figures of time mean something only where the machine has time: in the full version.
    if full {
        assert!(index >= 0.98, "Jain's index {index}");
        for share in shares {
            assert!((share - 1.0).abs() <= 0.05, "shares by weight {shares:?}");
        }
        // A turn costs its dial, a tenth, and begins when a transaction has ended.
        let turn = turns.turn_most_ms as f64 * 1.1;
        let fair = rounds * turn + size.work.as_millis() as f64;
        assert!(starved as f64 <= 2.0 * fair, "one waited {starved} ms, a fair turn is {fair} ms");
    }
}
