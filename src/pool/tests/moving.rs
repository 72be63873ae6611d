//! Crowds of clients that go from tenant to tenant, on a clock that only passes when all wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::bench::{Bench, simulate};
use super::fair::{Score, jain};
use super::fake::{tenant, way};
use crate::pool::{Limits, lock};
use crate::units::Span;

const TENANTS: usize = 300;
const CROWDS: usize = 60;
const CLIENTS: usize = 10;
const BUDGET: u32 = 27;
const STAY: Duration = Duration::from_secs(20);
const WORK: Duration = Duration::from_millis(100);
const DIAL: Duration = Duration::from_millis(60);
const CLOSE: Duration = Duration::from_millis(10);

/// A tenant's clients as one: since when none of them was served, while one waits.
#[derive(Default)]
struct Tenant {
    score: Score,
    open: std::sync::Mutex<(u32, Option<Instant>)>,
}

impl Tenant {
    fn asks(&self) {
        let mut open = lock(&self.open);
        open.0 += 1;
        open.1.get_or_insert_with(Instant::now);
    }

    fn is_served(&self) {
        let mut open = lock(&self.open);
        open.0 -= 1;
        let since = open.1.take().expect("it asked");
        let waited = u64::try_from(since.elapsed().as_millis()).expect("short");
        self.score.waited_ms_max.fetch_max(waited, Ordering::Relaxed);
        open.1 = (open.0 > 0).then(Instant::now);
    }
}

async fn visit(bench: &Bench, n: usize, of: &Tenant, until: Instant) {
    let limits = Limits { queue_timeout: Span::secs(60), ..Limits::default() };
    let member = bench.pools.enter(&tenant(n), &way(), &limits).expect("admitted");
    let room = member.room();
    while Instant::now() < until {
        of.asks();
        let lease = bench.lease(room).await;
        of.is_served();
        sleep(WORK).await;
        lease.finish();
        of.score.done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn load_that_moves_is_shared_and_nobody_waits_beyond_two_turns() {
    simulate(BUDGET, (DIAL, CLOSE), |bench| async move {
        let tenants: Arc<Vec<Tenant>> = Arc::new((0..TENANTS).map(|_| Tenant::default()).collect());
        let (visits, start) = (TENANTS / CROWDS, Instant::now());
        let part = |n: usize, of: usize| {
            STAY * u32::try_from(n).expect("few") / u32::try_from(of).expect("few")
        };
        let mut clients = tokio::task::JoinSet::new();
        for crowd in 0..CROWDS {
            for _ in 0..CLIENTS {
                let (bench, tenants) = (Arc::clone(&bench), Arc::clone(&tenants));
                clients.spawn(async move {
                    for n in 0..=visits {
                        let at = (crowd + (n + visits - 1) * CROWDS) % TENANTS;
                        let until = (part(crowd, CROWDS) + part(n, 1)).min(part(visits, 1));
                        visit(&bench, at, &tenants[at], start + until).await;
                    }
                    sleep_until(start + part(visits, 1)).await;
                });
            }
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client panics");
        }
        let done: Vec<u64> = tenants.iter().map(|t| t.score.done.load(Ordering::Relaxed)).collect();
        let mut waits: Vec<u64> =
            tenants.iter().map(|t| t.score.waited_ms_max.load(Ordering::Relaxed)).collect();
        waits.sort_unstable();
        let turn = bench.pools.budgets()[0].turn;
        println!(
            "jain {:.4}, {} to {}, waits {:?} half, {:?} at most, a turn {turn:?}, {} dials",
            jain(&done),
            done.iter().min().unwrap_or(&0),
            done.iter().max().unwrap_or(&0),
            waits[waits.len() / 2],
            waits.last(),
            bench.dials.load(Ordering::Relaxed)
        );
        // A turn costs its move, and begins when a transaction has ended.
        let whole = turn + DIAL + CLOSE;
        let fair = whole * u32::try_from(CROWDS).expect("few") / BUDGET + WORK;
        let worst = Duration::from_millis(waits.last().copied().unwrap_or(0));
        assert!(jain(&done) >= 0.98, "{done:?}");
        assert!(worst <= fair * 2, "one waited {worst:?}, a fair turn is {fair:?}");
    });
}
