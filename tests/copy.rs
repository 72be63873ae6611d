//! What is large streams through: resident memory does not follow the size.
//!
//! `PGUSHER_COPY_MIB` (default 512, `make soak` 2048) is each direction's size of COPY,
//! `PGUSHER_MESSAGE_MIB` (default 256, `make soak` 1000) that of one single message.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs, clippy::cast_precision_loss)]

mod world;

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use world::wire::{self, Conn, message, query};
use world::{World, bare, eventually, report, tools};

/// The bound on the growth of resident memory.
const GROWTH: u64 = 8 << 20;

/// One measurement at a time: they are of the same process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The highest resident memory while `work` runs, above what it was before.
fn growth(world: &World, work: impl FnOnce()) -> u64 {
    let (before, highest, stop) = (world.rss(), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                highest.fetch_max(world.rss(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        work();
        stop.store(true, Ordering::Relaxed);
    });
    highest.load(Ordering::Relaxed).saturating_sub(before)
}

/// A session that has already carried some of everything, so that only growth is measured.
fn warm(world: &World, tls: bool) -> Conn {
    let mut login = world.tenants[0].login();
    if tls {
        login = login.over(&world.tls.client(&[]));
    }
    let mut conn = world.login(&login).unwrap();
    copy_out(&mut conn, 8 << 20);
    copy_in(&mut conn, 8 << 20);
    conn
}

/// COPY TO STDOUT of about `size` bytes; returns how many came.
fn copy_out(conn: &mut Conn, size: u64) -> u64 {
    let sql = format!(
        "copy (select repeat('x', 8190) from generate_series(1, {})) to stdout",
        size / 8191
    );
    conn.say(&query(&sql)).unwrap();
    let mut total = 0;
    loop {
        let (tag, length) = conn.head().unwrap();
        match tag {
            b'd' => total += skim(conn, length),
            b'E' => panic!("{:?}", rest(conn, length)),
            b'Z' => {
                rest(conn, length);
                return total;
            }
            _ => drop(rest(conn, length)),
        }
    }
}

/// COPY FROM STDIN of about `size` bytes, parsed by PostgreSQL and kept by nobody.
fn copy_in(conn: &mut Conn, size: u64) -> u64 {
    conn.query("create temp table if not exists sink (line text)").unwrap();
    conn.say(&query("copy sink from stdin where false")).unwrap();
    assert_eq!(conn.hear().unwrap().tag, b'G');
    let row = [vec![b'y'; 8191], vec![b'\n']].concat();
    let block = message(b'd', &row).repeat(16);
    let blocks = size / (8192 * 16);
    for _ in 0..blocks {
        conn.say(&block).unwrap();
    }
    conn.say(&message(b'c', b"")).unwrap();
    conn.rows().unwrap();
    blocks * 8192 * 16
}

fn rest(conn: &mut Conn, length: usize) -> Vec<u8> {
    let mut body = vec![0; length];
    conn.pipe.read_exact(&mut body).unwrap();
    body
}

/// Reads a body without keeping it.
fn skim(conn: &mut Conn, length: usize) -> u64 {
    let mut sink = vec![0; 65_536];
    let mut left = length;
    while left > 0 {
        let most = left.min(sink.len());
        let read = conn.pipe.read(&mut sink[..most]).unwrap();
        assert!(read > 0, "closed in the middle of a message");
        left -= read;
    }
    length as u64
}

fn told(what: &str, bytes: u64, started: Instant, grown: u64) {
    let rate = bytes as f64 / started.elapsed().as_secs_f64() / f64::from(1 << 20);
    report(&format!("{what}: {} MiB, {rate:.0} MiB/s, memory +{} KiB", bytes >> 20, grown >> 10));
    assert!(grown < GROWTH || bare::wanted(), "{what}: resident memory grew by {grown} bytes");
}

#[test]
fn a_large_copy_out_and_in_streams_in_constant_memory() {
    let _alone = alone();
    let world = World::shared();
    let size = tools::env_or("PGUSHER_COPY_MIB", 512) << 20;
    for tls in [false, true] {
        let over = if tls { "TLS" } else { "TCP" };
        let mut conn = warm(world, tls);
        let started = Instant::now();
        let grown = growth(world, || assert!(copy_out(&mut conn, size) > size / 100 * 99));
        told(&format!("COPY out over {over}"), size, started, grown);
        let started = Instant::now();
        let grown = growth(world, || assert!(copy_in(&mut conn, size) > size / 100 * 99));
        told(&format!("COPY in over {over}"), size, started, grown);
    }
    world.assert_no_panic();
}

#[test]
fn one_large_message_streams_in_constant_memory() {
    let _alone = alone();
    let world = World::shared();
    let size = (tools::env_or("PGUSHER_MESSAGE_MIB", 256) << 20).min(1_000_000_000);
    let length = usize::try_from(size).unwrap();
    let mut conn = warm(world, false);
    let started = Instant::now();
    let grown = growth(world, || {
        conn.say(&query(&format!("select repeat('z', {size})"))).unwrap();
        let mut row = 0;
        loop {
            let (tag, length) = conn.head().unwrap();
            match tag {
                b'D' => row = skim(&mut conn, length),
                b'E' => panic!("{}", rest(&mut conn, length).escape_ascii()),
                b'Z' => break drop(rest(&mut conn, length)),
                _ => drop(rest(&mut conn, length)),
            }
        }
        assert_eq!(row, size + 6);
    });
    told("one DataRow", size, started, grown);
    let started = Instant::now();
    let grown = growth(world, || {
        let value = vec![b'b'; length];
        let bind = wire::bind("", &[&value]);
        drop(value);
        conn.say(&wire::parse("", "select length($1::text)")).unwrap();
        conn.say(&bind).unwrap();
        conn.say(&[wire::execute(), wire::sync()].concat()).unwrap();
        drop(bind);
        assert_eq!(conn.rows().unwrap()[0][0].as_deref(), Some(&*size.to_string()));
    });
    told("one Bind", size, started, grown);
    world.assert_no_panic();
}

#[test]
fn a_client_that_does_not_read_holds_its_server_and_nothing_else() {
    let _alone = alone();
    let world = World::shared();
    let mut lazy = world.session(0);
    let grown = growth(world, || {
        lazy.say(&query("select repeat('x', 10000) from generate_series(1, 200000)")).unwrap();
        let mut other = world.session(0);
        for _ in 0..200 {
            assert_eq!(other.one("select 1").as_deref(), Ok("1"));
        }
    });
    assert!(grown < GROWTH * 4 || bare::wanted(), "{grown} bytes for one that does not read");
    drop(lazy);
    assert_eq!(world.session(0).one("select 1").as_deref(), Ok("1"));
}

#[test]
fn a_client_that_does_not_read_many_answers_is_not_read_for_either() {
    const ASKED: usize = 3_000;
    let _alone = alone();
    let world = World::shared();
    drop(warm(world, false));
    let mut lazy = world.session(0);
    lazy.query("begin").unwrap();
    // What pgusher puts before each EXECUTE is answered, too, and nobody is told: what came before
    // that has to be moved.
    let sql = "select pg_sleep(.001), repeat('x', 12000)";
    lazy.say(&[wire::parse("s1", sql), wire::sync()].concat()).unwrap();
    lazy.hear_all().unwrap();
    let mut other = world.superuser(&world.tenants[0].database());
    let waits = "select count(*) from pg_stat_activity where pid <> pg_backend_pid() \
                 and datname = current_database() and query ilike '%execute%' \
                 and (wait_event = 'ClientWrite' or state = 'idle in transaction')";
    let grown = growth(world, || {
        lazy.say(&query("execute s1").repeat(ASKED)).unwrap();
        let mut times = 0;
        eventually(Duration::from_secs(60), "its server waits for it", || {
            times = if other.one(waits).as_deref() == Ok("1") { times + 1 } else { 0 };
            (times == 20).then_some(())
        });
    });
    assert!(grown < GROWTH || bare::wanted(), "{grown} bytes for one that does not read");
    for _ in 0..ASKED {
        assert_eq!(lazy.rows().unwrap()[0][1].as_ref().map(String::len), Some(12_000));
    }
    lazy.query("commit").unwrap();
}

/// It keeps its server, which is asked for more as soon as the client takes what TLS held back.
#[test]
fn a_pinned_client_that_reads_by_fits_and_starts_over_tls_is_sent_everything() {
    const ROWS: usize = 12_000;
    let _alone = alone();
    let world = World::shared();
    let mut conn = world.login(&world.tenants[0].login().over(&world.tls.client(&[]))).unwrap();
    conn.query("create temp table pin (n int)").unwrap();
    conn.say(&query(&format!("select repeat('x', 8000) from generate_series(1, {ROWS})"))).unwrap();
    let mut rows = 0;
    loop {
        let (tag, length) = conn.head().unwrap();
        drop(rest(&mut conn, length));
        match tag {
            b'D' => rows += 1,
            b'Z' => break,
            _ => {}
        }
        if rows % 60 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(rows, ROWS);
}
