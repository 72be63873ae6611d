//! Fairness, measured: clients as tasks, time that only passes when all of them wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bench::{Bench, simulate};
use super::fake::{Dice, tenant, way};
use crate::pool::Limits;
use crate::units::Span;

/// One tenant's load.
#[derive(Clone)]
struct Load {
    clients: usize,
    limits: Limits,
    transaction: Duration,
    think: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            clients: 2,
            limits: Limits { queue_timeout: Span::secs(60), ..Limits::default() },
            transaction: Duration::from_millis(20),
            think: Duration::from_millis(1),
        }
    }
}

#[derive(Default)]
pub(super) struct Score {
    pub(super) done: AtomicU64,
    pub(super) waited_ms_max: AtomicU64,
}

struct Outcome {
    done: Vec<u64>,
    waited_ms_max: Vec<u64>,
    dials: u64,
}

const DIAL: Duration = Duration::from_millis(8);
const CLOSE: Duration = Duration::from_millis(2);

impl Bench {
    async fn client(self: Arc<Self>, n: usize, load: Load, score: Arc<Score>, mut dice: Dice) {
        let member = self.pools.enter(&tenant(n), &way(), &load.limits).expect("admitted");
        let room = member.room();
        sleep(Duration::from_millis(dice.next() % 30)).await;
        loop {
            let asked = Instant::now();
            let lease = self.lease(room).await;
            let waited = u64::try_from(asked.elapsed().as_millis()).expect("short");
            score.waited_ms_max.fetch_max(waited, Ordering::Relaxed);
            let spread = load.transaction / 2;
            let extra = dice.next() % u64::try_from(spread.as_micros().max(1)).expect("short");
            sleep(load.transaction.saturating_sub(spread / 2) + Duration::from_micros(extra)).await;
            lease.finish();
            score.done.fetch_add(1, Ordering::Relaxed);
            sleep(load.think).await;
        }
    }
}

/// Runs the loads, one per tenant, and counts from `warm` to the end.
fn run(budget: u32, loads: Vec<Load>, warm: Duration, time: Duration) -> Outcome {
    run_with((DIAL, CLOSE), budget, loads, (warm, time))
}

/// The same, with what a dial takes and what a close takes.
fn run_with(
    moves: (Duration, Duration),
    budget: u32,
    loads: Vec<Load>,
    (warm, time): (Duration, Duration),
) -> Outcome {
    simulate(budget, moves, |bench| async move {
        let mut dice = Dice::from_clock();
        let scores: Vec<Arc<Score>> = loads.iter().map(|_| Arc::default()).collect();
        let mut clients = tokio::task::JoinSet::new();
        for (n, load) in loads.iter().enumerate() {
            for _ in 0..load.clients {
                let (bench, score) = (Arc::clone(&bench), Arc::clone(&scores[n]));
                clients.spawn(bench.client(n, load.clone(), score, Dice(dice.next())));
            }
        }
        tokio::select! {
            () = sleep(warm) => {}
            Some(ended) = clients.join_next() => panic!("a client ended: {ended:?}"),
        }
        let before: Vec<u64> = scores.iter().map(|s| s.done.load(Ordering::Relaxed)).collect();
        tokio::select! {
            () = sleep(time) => {}
            Some(ended) = clients.join_next() => panic!("a client ended: {ended:?}"),
        }
        let done =
            scores.iter().zip(before).map(|(s, b)| s.done.load(Ordering::Relaxed) - b).collect();
        let waited_ms_max =
            scores.iter().map(|s| s.waited_ms_max.load(Ordering::Relaxed)).collect();
        clients.shutdown().await;
        Outcome { done, waited_ms_max, dials: bench.dials.load(Ordering::Relaxed) }
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of transactions are small")]
pub(super) fn jain(done: &[u64]) -> f64 {
    let sum: f64 = done.iter().map(|n| *n as f64).sum();
    let squares: f64 = done.iter().map(|n| (*n as f64) * (*n as f64)).sum();
    sum * sum / (done.len() as f64 * squares)
}

#[test]
fn equal_tenants_get_equal_throughput_when_they_are_many_more_than_slots() {
    let out = run(9, vec![Load::default(); 100], Duration::from_secs(5), Duration::from_secs(60));
    let index = jain(&out.done);
    let turns = 65_000 * 9 / 200;
    println!("jain {index:.4}, dials {}, waited at most {:?} ms", out.dials, out.waited_ms_max);
    assert!(index >= 0.98, "Jain's index {index}");
    assert!(out.dials <= turns * 3 / 2, "{} dials for {turns} turns", out.dials);
    // A fair turn comes every 100 / 9 turns of about 200 ms, and the last transaction's excess.
    let worst = out.waited_ms_max.iter().max().copied().unwrap_or(0);
    assert!(worst <= 2 * 100 * 240 / 9, "one waited {worst} ms");
}

#[test]
fn weights_decide_the_shares() {
    for budget in [7, 10, 20] {
        let loads = [1, 2, 4]
            .into_iter()
            .map(|weight| Load {
                clients: 30,
                limits: Limits { weight, server_max: 20, ..Load::default().limits },
                ..Load::default()
            })
            .collect();
        let out = run(budget, loads, Duration::from_secs(5), Duration::from_secs(120));
        let sum: u64 = out.done.iter().sum();
        println!("budget {budget}: {:?}, dials {}", out.done, out.dials);
        for (done, weight) in out.done.iter().zip([1_u64, 2, 4]) {
            let fair = sum * weight / 7;
            assert!(done.abs_diff(fair) * 20 <= fair, "budget {budget}: {:?}", out.done);
        }
    }
}

#[test]
fn what_moving_costs_takes_nothing_from_the_lighter() {
    // Sixty tenants on 27 slots, of a server where a dial takes as long as a transaction.
    let loads: Vec<Load> = (0..60)
        .map(|n| Load {
            clients: 10,
            limits: Limits { weight: 1 << (n % 3), ..Load::default().limits },
            transaction: Duration::from_millis(100),
            think: Duration::ZERO,
        })
        .collect();
    let costs = (Duration::from_millis(80), Duration::from_millis(20));
    let out = run_with(costs, 27, loads, (Duration::from_secs(10), Duration::from_secs(140)));
    let of = |n: usize| out.done.iter().skip(n).step_by(3).sum::<u64>();
    let (sums, dials) = ([of(0), of(1), of(2)], out.dials);
    println!("{sums:?}, dials {dials}");
    let all: u64 = sums.iter().sum();
    for (done, weight) in sums.iter().zip([1_u64, 2, 4]) {
        let fair = all * weight / 7;
        assert!(done.abs_diff(fair) * 20 <= fair, "{sums:?}");
    }
}

#[test]
fn a_greedy_tenant_does_not_push_out_a_modest_one() {
    let greedy = Load {
        clients: 200,
        limits: Limits { server_max: 20, ..Load::default().limits },
        ..Load::default()
    };
    let modest = Load { clients: 3, ..Load::default() };
    let out = run(
        8,
        vec![greedy, modest.clone(), modest],
        Duration::from_secs(2),
        Duration::from_secs(30),
    );
    println!("{:?}, dials {}, waited {:?}", out.done, out.dials, out.waited_ms_max);
    // 8 slots for 3: the modest ones could use 2.7 each.
    for done in &out.done[1..] {
        assert!(*done * 100 >= out.done[0] * 70, "{:?}", out.done);
    }
}

#[test]
fn a_budget_with_room_for_all_moves_no_server() {
    let out = run(20, vec![Load::default(); 10], Duration::from_secs(2), Duration::from_secs(20));
    assert!(out.dials <= 20, "{} dials for 20 servers", out.dials);
}

#[test]
fn one_tenant_more_than_slots_moves_one_server_a_turn() {
    let load = Load { clients: 1, think: Duration::ZERO, ..Load::default() };
    let out = run(10, vec![load; 11], Duration::from_secs(5), Duration::from_secs(60));
    println!("{:?}, dials {}", out.done, out.dials);
    assert!(jain(&out.done) >= 0.98, "{:?}", out.done);
    assert!(out.dials <= 65 * 10, "{} dials in 65 s", out.dials);
}

#[test]
fn short_turns_give_the_lighter_no_more_than_their_due() {
    // A turn is two transactions: what the last one takes beyond it is not forgiven.
    let loads: Vec<Load> = (0..200)
        .map(|n| Load {
            clients: 10,
            limits: Limits { weight: 1 << (n % 3), server_max: 10, ..Load::default().limits },
            transaction: Duration::from_millis(100),
            think: Duration::ZERO,
        })
        .collect();
    let costs = (Duration::from_millis(20), Duration::from_millis(5));
    let out = run_with(costs, 90, loads, (Duration::from_secs(10), Duration::from_secs(140)));
    // 67 tenants of weight 1, 67 of weight 2, 66 of weight 4.
    let mean = |n: usize, of: u64| out.done.iter().skip(n).step_by(3).sum::<u64>() * 1_000 / of;
    let means = [mean(0, 67), mean(1, 67) / 2, mean(2, 66) / 4];
    println!("{means:?}, dials {}", out.dials);
    let fair = (means[0] + 2 * means[1] + 4 * means[2]) / 7;
    for mean in means {
        assert!(mean.abs_diff(fair) * 50 <= fair, "{means:?}");
    }
}
