//! More tenants than servers, one after the other: how often one finds its server again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bench::simulate;
use super::fake::{tenant, way};
use crate::pool::Limits;
use crate::units::Span;

const TENANTS: usize = 600;
const AT_ONCE: usize = 150;
const BUDGET: u32 = 90;
const DIAL: Duration = Duration::from_millis(8);
const CLOSE: Duration = Duration::from_millis(2);
const WORK: Duration = Duration::from_millis(1);
const WARM: Duration = Duration::from_secs(3);
const TIME: Duration = Duration::from_secs(10);

#[test]
fn tenants_in_turn_find_the_servers_that_need_not_move() {
    let (queries, dials) = simulate(BUDGET, (DIAL, CLOSE), |bench| async move {
        let limits = Limits { queue_timeout: Span::secs(60), ..Limits::default() };
        let enter = |n| bench.pools.enter(&tenant(n), &way(), &limits).expect("admitted");
        let members: Arc<Vec<_>> = Arc::new((0..TENANTS).map(enter).collect());
        let (next, queries) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let end = Instant::now() + WARM + TIME;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (bench, members) = (Arc::clone(&bench), Arc::clone(&members));
            let (next, queries) = (Arc::clone(&next), Arc::clone(&queries));
            clients.spawn(async move {
                while Instant::now() < end {
                    let n = next.fetch_add(1, Ordering::Relaxed) % TENANTS;
                    let lease = bench.lease(members[n].room()).await;
                    sleep(WORK).await;
                    lease.finish();
                    queries.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let count = || (queries.load(Ordering::Relaxed), bench.dials.load(Ordering::Relaxed));
        sleep(WARM).await;
        let before = count();
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client panics");
        }
        let after = count();
        (after.0 - before.0, after.1 - before.1)
    });
    println!("{queries} queries, {dials} dials");
    assert!(queries > 1_000, "only {queries} queries");
    // 90 servers, 16 of them on the move: the others' tenants find them, one in eight. With the one
    // idle for longest taken first, each is taken just before its tenant comes.
    assert!(dials * 10 < queries * 9, "{dials} dials for {queries} queries");
}
