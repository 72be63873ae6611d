//! Many threads at once against a server that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::fake::{Dice, Fake, Postgres, fake, tenant, way};
use crate::pool::{
    Asker, Attempt, Class, FullOf, Grant, Limits, Pin, PinSettings, PoolSettings, Pools, Room,
    Slot, lock,
};

const BUDGET: u32 = 12;
const CAP: u32 = 5;

fn dial(postgres: &Arc<Postgres>, room: &Room<Fake>, slot: Slot<Fake>) -> crate::pool::Lease<Fake> {
    let hold = postgres.connect(room.tenant().as_str(), CAP, BUDGET);
    let class = slot.class();
    slot.opened(fake(class, hold))
}

async fn client(
    pools: Pools<Fake>,
    postgres: Arc<Postgres>,
    n: usize,
    mut dice: Dice,
    served: Arc<AtomicU64>,
) {
    let limits = Limits { server_max: CAP, ..Limits::default() };
    for _ in 0..400 {
        let member = pools.enter(&tenant(n), &way(), &limits).expect("admitted");
        let room = member.room();
        let class = Class::new(dice.below(2));
        let mut attempt = room.lease(class, &Asker::STRANGER).expect("the line is long enough");
        let mut lease = loop {
            let slot = match attempt {
                Attempt::Ready(lease) => break Some(lease),
                Attempt::Dial(slot) => slot,
                Attempt::Wait(ticket) => {
                    if dice.below(10) == 0 {
                        // Given up at a random moment of the wait.
                        let pause = Duration::from_micros(dice.next() % 300);
                        match tokio::time::timeout(pause, ticket.wait()).await {
                            Err(_) => break None,
                            Ok(grant) => match grant.expect("served in time") {
                                Grant::Lease(lease) => break Some(lease),
                                Grant::Dial(slot) => slot,
                            },
                        }
                    } else {
                        match ticket.wait().await.expect("served in time") {
                            Grant::Lease(lease) => break Some(lease),
                            Grant::Dial(slot) => slot,
                        }
                    }
                }
            };
            match dice.below(12) {
                0 => attempt = Attempt::Wait(slot.refused_full(FullOf::Server)),
                1 => {
                    drop(slot);
                    break None;
                }
                _ => break Some(dial(&postgres, room, slot)),
            }
        };
        if let Some(held) = lease.as_mut() {
            if dice.below(8) == 0 {
                drop(held.pin(Pin::TempTable));
            }
            if dice.below(2) == 0 {
                tokio::task::yield_now().await;
            }
        }
        if let Some(held) = lease {
            served.fetch_add(1, Ordering::Relaxed);
            if dice.below(20) == 0 {
                drop(held);
            } else {
                held.finish();
            }
        }
    }
}

#[test]
fn many_threads_never_pass_a_limit_and_everybody_is_served() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pool = PoolSettings { server_budget: BUDGET, ..PoolSettings::default() };
        let pools: Pools<Fake> = Pools::new(pool, PinSettings::default()).expect("fine");
        let postgres = Postgres::slow();
        let keeper = tokio::spawn({
            let pools = pools.clone();
            async move { pools.keep().await }
        });
        let closer = tokio::spawn({
            let postgres = Arc::clone(&postgres);
            async move {
                loop {
                    let ended: Vec<_> = lock(&postgres.closing).drain(..).collect();
                    for (hold, slot) in ended {
                        drop(hold);
                        drop(slot);
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut dice = Dice::from_clock();
        let served = Arc::new(AtomicU64::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for n in 0..64 {
            let (pools, postgres) = (pools.clone(), Arc::clone(&postgres));
            clients.spawn(client(pools, postgres, n % 5, Dice(dice.next()), Arc::clone(&served)));
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client panics");
        }
        println!(
            "served {}, at most {}",
            served.load(Ordering::Relaxed),
            postgres.most.load(Ordering::SeqCst)
        );
        for figures in pools.rooms() {
            assert_eq!(
                (figures.waiting, figures.leased, figures.pinned, figures.clients),
                (0, 0, 0, 0)
            );
            pools.suspend(&figures.tenant);
        }
        while postgres.total() > 0 {
            tokio::task::yield_now().await;
        }
        while pools.budgets().iter().any(|b| b.used > 0) {
            tokio::task::yield_now().await;
        }
        closer.abort();
        keeper.abort();
    });
}
