//! A tenant's sessions run on every data thread and share its servers all the same.
#![allow(clippy::unwrap_used, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::sync::Barrier;
use std::thread;

use world::{Plan, World};

const THREADS: &str = "3";
const SESSIONS: usize = 9;
const ROUNDS: usize = 40;

#[test]
fn one_server_serves_the_sessions_of_every_thread() {
    let plan = Plan::tenants(2).set("runtime.workers", THREADS).set("limits.server_max", "1");
    let world = World::start(plan);
    let together = Barrier::new(SESSIONS);
    thread::scope(|scope| {
        let session = |n: usize| {
            let (world, together) = (&world, &together);
            move || {
                let own = world.tenants[n % 2].database();
                let mut session = world.session(n % 2);
                together.wait();
                let pids: Vec<_> = (0..ROUNDS)
                    .map(|round| {
                        let sql = format!("SELECT current_database() || ' {n} {round}'");
                        assert_eq!(session.one(&sql).unwrap(), format!("{own} {n} {round}"));
                        session.one("SELECT pg_backend_pid()").unwrap()
                    })
                    .collect();
                assert!(pids.windows(2).all(|pair| pair[0] == pair[1]), "{pids:?}");
                pids[0].clone()
            }
        };
        let all: Vec<_> = (0..SESSIONS).map(|n| scope.spawn(session(n))).collect();
        let pids: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        // One server each, whatever thread its sessions are on.
        for (n, pid) in pids.iter().enumerate() {
            assert_eq!(*pid, pids[n % 2]);
        }
        assert_ne!(pids[0], pids[1]);
    });
    world.assert_no_panic();
}
