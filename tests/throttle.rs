//! What an address's failed logins cost: whoever fails there, and nobody else.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use world::served::Served;
use world::wire::{Conn, Login};
use world::{World, bare, eventually, http};

/// What the failures below wait for their answers.
const PENALTY: Duration = Duration::from_secs(30);

/// How many fail at once.
const FAILURES: usize = 30;

#[test]
fn behind_an_address_that_failed_often_a_valid_token_or_key_gets_in_at_once() {
    if bare::wanted() {
        return;
    }
    let world = World::shared();
    let throttle = format!(
        "[auth.throttle]\nburst = 0\ndelay_step = '{wait}s'\ndelay_max = '{wait}s'\n\
         delayed_max = {FAILURES}\n",
        wait = PENALTY.as_secs()
    );
    let served = Served::beside(world, &throttle);
    let tenant = &world.tenants[0];
    let key = Login::new(&tenant.key_user, &tenant.key_secret, &tenant.database());
    let wrong_key = Login::new(&tenant.key_user, "wrong", &tenant.database());
    let wrong = Login::new("anyone", "wrong", &tenant.database());
    let listen = served.listen;
    let delayed = || {
        let page = http::call(served.ops, "GET", "/metrics", &[], "").text;
        let count = "pgusher_auth_penalties_total{what=\"delayed\"} ";
        page.lines().find_map(|line| line.strip_prefix(count)?.parse::<usize>().ok())
    };
    // While there are seats for answers that wait, and when none is left.
    for failures in [FAILURES / 2, FAILURES] {
        for n in delayed().unwrap_or(0)..failures {
            let login = if n % 2 == 0 { wrong.clone() } else { wrong_key.clone() };
            // They end with the process that lets them wait.
            std::thread::spawn(move || drop(Conn::login(listen, &login)));
        }
        eventually(PENALTY / 2, "all of them wait", || delayed().filter(|n| *n >= failures));
        for (what, login) in [("token", tenant.login()), ("key", key.clone())] {
            let begun = Instant::now();
            let session = Conn::login(listen, &login);
            let mut session = session.unwrap_or_else(|e| panic!("{what}: {e:?}"));
            assert_eq!(session.one("select 1").as_deref(), Ok("1"), "{what}");
            assert!(begun.elapsed() < PENALTY / 3, "{what}: in after {:?}", begun.elapsed());
        }
    }
    // Whoever fails now is dropped without an answer.
    let refused = Conn::login(listen, &wrong).err().expect("refused");
    assert_ne!(refused.code, "28P01", "{refused:?}");
}
