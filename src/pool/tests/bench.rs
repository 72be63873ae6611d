//! A pool over a PostgreSQL that counts, on a clock that only passes when all wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::fake::{Fake, Postgres, fake};
use crate::pool::{
    Asker, Attempt, Class, Grant, Lease, PinSettings, PoolSettings, Pools, Room, Slot, lock,
};

pub(super) struct Bench {
    pub(super) pools: Pools<Fake>,
    postgres: Arc<Postgres>,
    budget: u32,
    pub(super) dials: AtomicU64,
    dial: Duration,
}

/// Runs `work` on a pool of `budget`, with what a dial takes and what a close takes.
pub(super) fn simulate<T, F: Future<Output = T>>(
    budget: u32,
    (dial, close): (Duration, Duration),
    work: impl FnOnce(Arc<Bench>) -> F,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pool = PoolSettings { server_budget: budget, ..PoolSettings::default() };
        let pools = Pools::new(pool, PinSettings::default()).expect("names are fine");
        let postgres = Postgres::slow();
        let bench = Arc::new(Bench {
            pools: pools.clone(),
            postgres: Arc::clone(&postgres),
            budget,
            dials: AtomicU64::new(0),
            dial,
        });
        let keeper = tokio::spawn(async move { pools.keep().await });
        let closer = tokio::spawn(async move {
            loop {
                sleep(close).await;
                drop(lock(&postgres.closing).drain(..).collect::<Vec<_>>());
            }
        });
        let done = work(bench).await;
        keeper.abort();
        closer.abort();
        done
    })
}

impl Bench {
    /// A server for a client of the tenant, however it comes by one.
    pub(super) async fn lease(&self, room: &Arc<Room<Fake>>) -> Lease<Fake> {
        match room.lease(Class::ONLY, &Asker::STRANGER).expect("admitted") {
            Attempt::Ready(lease) => lease,
            Attempt::Dial(slot) => self.dial(room, slot).await,
            Attempt::Wait(ticket) => match ticket.wait().await.expect("served in time") {
                Grant::Lease(lease) => lease,
                Grant::Dial(slot) => self.dial(room, slot).await,
            },
        }
    }

    async fn dial(&self, room: &Room<Fake>, slot: Slot<Fake>) -> Lease<Fake> {
        let cap = room.book().limits().server_max;
        let hold = self.postgres.connect(room.tenant().as_str(), cap, self.budget);
        self.dials.fetch_add(1, Ordering::Relaxed);
        sleep(self.dial).await;
        let class = slot.class();
        slot.opened(fake(class, hold))
    }
}
