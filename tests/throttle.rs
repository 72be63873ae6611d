//! What an address's failed logins, and the keys it makes up, cost: whoever is there, and nobody else.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use world::served::Served;
use world::wire::{Conn, Login, Pipe, message};
use world::{Plan, World, bare, eventually, http, tools};

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

/// The registry answers about no key until this is let go.
fn silent_about_keys(world: &World) -> Conn {
    let mut registry = world.superuser(&world.registry_database());
    registry.one("begin").unwrap();
    registry.one("lock table pgusher.api_keys").unwrap();
    registry
}

/// A client that has named a key which is nobody's.
fn naming(served: &Served, n: usize) -> Conn {
    let mut conn = Conn::dial(served.listen);
    conn.say(&Login::new(&format!("key_none{n}"), "", "app").startup()).unwrap();
    conn.hear().unwrap();
    conn.say(&message(b'p', b"SCRAM-SHA-256\0\0\0\0\x0en,,n=,r=abcdef")).unwrap();
    conn
}

/// How many lookups of keys may be under way and wait, and how many more come.
const LOOKUPS: usize = 2 + 1_024;
const MORE: usize = 20;

#[test]
fn keys_that_one_network_makes_up_keep_no_other_s_key_waiting() {
    if bare::wanted() {
        return;
    }
    tools::allow_files(8_192);
    let world = World::start(Plan::default());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join(".s.PGSQL.6432");
    let listen = format!("[listen]\nhalf_open_max = 9_999\nunix_socket = '{}'", socket.display());
    let served = Served::beside(&world, &listen);
    let turned_away = || {
        let page = http::call(served.ops, "GET", "/metrics", &[], "").text;
        let count = "pgusher_tenant_lookups_total{result=\"busy\"} ";
        page.lines().find_map(|line| line.strip_prefix(count)?.parse::<usize>().ok())
    };
    let mut registry = silent_about_keys(&world);
    let flood: Vec<_> = (0..LOOKUPS + MORE).map(|n| naming(&served, n)).collect();
    let patience = Duration::from_secs(20);
    eventually(patience, "more than may wait", || turned_away().filter(|n| *n == MORE));
    // From this machine itself: another network.
    let tenant = &world.tenants[0];
    let login = Login::new(&tenant.key_user, &tenant.key_secret, &tenant.database());
    let other = std::thread::spawn(move || {
        let unix = std::os::unix::net::UnixStream::connect(socket).unwrap();
        unix.set_read_timeout(Some(patience)).unwrap();
        let mut conn = Conn::on(Pipe::Unix(unix));
        conn.say(&login.startup())?;
        conn.authenticate(&login.password)?;
        conn.one("select current_database()")
    });
    eventually(patience, "one makes room", || turned_away().filter(|n| *n == MORE + 1));
    registry.one("rollback").unwrap();
    assert_eq!(other.join().unwrap(), Ok(tenant.database()));
    drop(flood);
}

#[test]
fn a_network_s_half_open_sockets_push_out_its_own_however_long_another_takes_to_log_in() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join(".s.PGSQL.6432");
    let listen = format!("[listen]\nhalf_open_max = 16\nunix_socket = '{}'", socket.display());
    let served = Served::beside(&world, &listen);
    let tenant = &world.tenants[0];
    let login = Login::new(&tenant.key_user, &tenant.key_secret, &tenant.database());
    let startup = login.startup();
    let mut slow = Conn::on(Pipe::Unix(std::os::unix::net::UnixStream::connect(&socket).unwrap()));
    slow.say(&startup[..4]).unwrap();
    let mut flood: Vec<_> = (0..100).map(|_| Conn::dial(served.listen)).collect();
    for conn in &mut flood[..84] {
        assert!(conn.farewell().iter().all(|m| m.tag == b'E'));
    }
    slow.say(&startup[4..]).unwrap();
    slow.authenticate(&login.password).unwrap();
    assert_eq!(slow.one("select current_database()"), Ok(tenant.database()));
}

/// How many clients name a key and go, and how many are there at once.
const GONE: usize = 200;
const HERE: usize = 4;

#[test]
fn keys_named_by_clients_that_have_gone_are_looked_up_for_nobody() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    // The oldest goes when one more comes.
    let served = Served::beside(&world, &format!("[listen]\nhalf_open_max = {HERE}"));
    let asked = || {
        let page = http::call(served.ops, "GET", "/metrics", &[], "").text;
        let count = "pgusher_tenant_registry_query_seconds_count ";
        page.lines().find_map(|line| line.strip_prefix(count)?.parse::<usize>().ok()).unwrap()
    };
    let mut registry = silent_about_keys(&world);
    let before = asked();
    let mut here = VecDeque::new();
    for n in 0..GONE {
        here.push_back(naming(&served, n));
        if here.len() > HERE {
            let mut oldest = here.pop_front().unwrap();
            while oldest.hear().is_ok() {}
        }
    }
    drop(here);
    registry.one("rollback").unwrap();
    let tenant = &world.tenants[0];
    let login = Login::new(&tenant.key_user, &tenant.key_secret, &tenant.database());
    let mut session = Conn::login(served.listen, &login).unwrap();
    assert_eq!(session.one("select current_database()"), Ok(tenant.database()));
    let asked = asked() - before;
    assert!(asked < GONE / 10, "{asked} questions");
}
