//! A stranger on the socket: malformed, oversized, truncated, slow and out of order.
//!
//! Whatever is sent, pgusher closes that connection (with a FATAL where the protocol allows one),
//! serves everybody else, keeps its memory, and writes each fault into its log once.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::net::Shutdown;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use world::wire::{self, Conn, Login, Refusal, message, query, sized};
use world::{Plan, World, bare, code, eventually, keys};

/// The login deadline of this world, in seconds.
const DEADLINE: u64 = 3;
/// Its half-open limit.
const HALF_OPEN: usize = 32;
/// What all attacks together may add to the highest resident memory.
const MEMORY: u64 = 64 << 20;

fn plan() -> Plan {
    Plan::tenants(2)
        .set(keys::LOGIN_TIMEOUT, &format!("{DEADLINE}s"))
        .set(keys::HALF_OPEN_MAX, &HALF_OPEN.to_string())
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::start(plan()))
}

/// After an attack: others are served, nothing panicked.
fn assert_alive(world: &World, attack: &str) {
    let mut session = world.login(&world.tenants[0].login());
    let one = session.as_mut().map(|s| s.one("select 1"));
    assert!(matches!(&one, Ok(Ok(v)) if v == "1"), "after {attack}: {one:?}");
    world.assert_no_panic();
}

/// Sends, says no more, and reads to the end.
fn attack(world: &World, bytes: &[u8]) -> (Vec<u8>, Option<Refusal>) {
    let mut conn = Conn::dial(world.listen);
    // The other side may close while we still speak: that is what is asked of it.
    let _ = conn.say(bytes);
    let _ = conn.pipe.tcp().shutdown(Shutdown::Write);
    let heard = conn.farewell();
    let tags = heard.iter().map(|m| m.tag).collect();
    (tags, heard.iter().find(|m| m.tag == b'E').map(|m| Refusal::parse(&m.body)))
}

fn long(length: u32, rest: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), rest].concat()
}

#[test]
fn a_malformed_first_packet_closes_the_connection() {
    let world = world();
    let before = world.rss_peak();
    let v3 = wire::V3_0.to_be_bytes();
    let user = b"user\0x\0database\0y\0";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("one byte", vec![0]),
        ("half a header", vec![0, 0, 0]),
        ("length 0", long(0, &v3)),
        ("length 3", long(3, &v3)),
        ("length 4", long(4, b"")),
        ("length 7", long(7, &v3)),
        ("length 2 GiB", long(0x7fff_ffff, &[&v3[..], user].concat())),
        ("length 4 GiB", long(0xffff_ffff, &[&v3[..], user].concat())),
        ("length 10001", long(10_001, &[&v3[..], &[b'x'; 10_000]].concat())),
        ("longer than sent", long(200, &[&v3[..], user].concat())),
        ("no terminator", sized(&[&v3[..], b"user\0x"].concat())),
        ("a name without value", sized(&[&v3[..], b"user\0x\0lonely\0"].concat())),
        ("bytes after the end", sized(&[&v3[..], user, b"\0stray"].concat())),
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xff; 4096]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("a query first", query("select 1")),
        ("a password first", message(b'p', b"secret\0")),
        ("an SSL request too long", sized(&[&wire::SSL_REQUEST.to_be_bytes()[..], b"x"].concat())),
        ("a cancel without a key", sized(&wire::CANCEL_REQUEST.to_be_bytes())),
        ("a cancel with 3 bytes of key", wire::cancel(1, b"abc")),
        ("a cancel with 257 bytes of key", wire::cancel(1, &[7; 257])),
        ("a cancel of nobody", wire::cancel(4711, b"abcd")),
        ("a long cancel of nobody", wire::cancel(4711, &[9; 256])),
        ("TLS garbage", [&[0x16, 3, 1, 0xff, 0xff][..], &[0xaa; 2000]].concat()),
        ("a TLS record of nothing", vec![0x16, 3, 1, 0, 0]),
    ];
    for (name, bytes) in cases {
        let (tags, refusal) = attack(world, &bytes);
        let logged_in = tags.contains(&b'Z') || tags.contains(&b'K');
        assert!(!logged_in, "{name}: {tags:?}");
        if let Some(refusal) = refusal {
            let known = ["08P01", "0A000", "28000", "28P01"].contains(&&*refusal.code);
            assert!(known && refusal.severity == "FATAL", "{name}: {refusal:?}");
        }
        if name.contains("cancel") {
            assert!(tags.is_empty(), "{name} was answered: {tags:?}");
        }
    }
    assert_alive(world, "malformed first packets");
    assert_bounded(world, before);
}

fn assert_bounded(world: &World, before: u64) {
    let grown = world.rss_peak().saturating_sub(before);
    assert!(grown < MEMORY, "resident memory grew by {grown} bytes");
}

#[test]
fn a_startup_packet_is_answered_with_the_reason() {
    let world = world();
    let tenant = &world.tenants[0];
    let fatal = |bytes: &[u8]| {
        let (tags, refusal) = attack(world, bytes);
        let refusal = refusal.unwrap_or_else(|| panic!("no FATAL but {tags:?}"));
        assert_eq!(refusal.severity, "FATAL");
        refusal.code
    };
    for version in [0x0004_0000, 0x7fff_0000] {
        let packet = wire::startup(version, &[("user", "x"), ("database", "y")]);
        assert_eq!(fatal(&packet), "0A000", "version {version:#x}");
    }
    for version in [0x0000_0000, 0x0001_0000, 0x0002_0000] {
        // Older than ErrorResponse as we know it: no form is promised.
        let packet = wire::startup(version, &[("user", "x"), ("database", "y")]);
        assert!(!attack(world, &packet).0.contains(&b'Z'), "version {version:#x}");
    }
    let stray = [&wire::V3_0.to_be_bytes()[..], b"user\0x\0\0stray"].concat();
    assert_eq!(fatal(&sized(&stray)), "08P01");
    if !bare::wanted() {
        let replication = tenant.login().with("replication", "true").startup();
        assert!(["0A000", "28000", "22023", "08P01"].contains(&&*fatal(&replication)));
        let unknown = tenant.login().with("no_such_setting", "1");
        assert_eq!(code(world.login(&unknown)), "22023");
    }
}

#[test]
fn a_malformed_password_is_refused_without_a_trace() {
    if bare::wanted() {
        return; // Trusted: nobody asks for a password.
    }
    let world = world();
    let before = world.rss_peak();
    let startup = world.tenants[0].login().startup();
    let huge = "x".repeat(70_000);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("empty", message(b'p', b"\0")),
        ("no terminator", message(b'p', b"token")),
        ("a NUL inside", message(b'p', b"to\0ken\0")),
        ("length 0", [b"p".as_slice(), &long(0, b"")].concat()),
        ("length 3", [b"p".as_slice(), &long(3, b"abcdef")].concat()),
        ("length 2 GiB", [b"p".as_slice(), &long(0x7fff_ffff, &[b'x'; 5000])].concat()),
        ("length 4 GiB", [b"p".as_slice(), &long(0xffff_ffff, &[b'x'; 5000])].concat()),
        ("70 kB", message(b'p', &[huge.as_bytes(), b"\0"].concat())),
        ("a query instead", query("select 1")),
        ("a sync instead", wire::sync()),
        ("a terminate instead", message(b'X', b"")),
        ("not UTF-8", message(b'p', &[0xff, 0xfe, 0xfd, 0])),
        ("another startup", startup.clone()),
        ("dots", message(b'p', b"...\0")),
        ("a SASL answer", message(b'p', b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=abcdef\0")),
    ];
    for (name, bytes) in cases {
        let (tags, refusal) = attack(world, &[&startup[..], &bytes].concat());
        assert!(!tags.contains(&b'Z'), "{name}: {tags:?}");
        if let Some(refusal) = refusal {
            let known = ["28P01", "28000", "08P01"].contains(&&*refusal.code);
            assert!(known && refusal.severity == "FATAL", "{name}: {refusal:?}");
        }
    }
    assert_alive(world, "malformed passwords");
    assert_bounded(world, before);
}

#[test]
fn a_malformed_scram_exchange_is_refused() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[0];
    let login = Login::new(&tenant.key_user, "", &tenant.database());
    let first = |data: &[u8], length: u32| {
        message(b'p', &[b"SCRAM-SHA-256\0", &length.to_be_bytes()[..], data].concat())
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no mechanism", message(b'p', b"")),
        ("an unknown mechanism", message(b'p', b"PLAIN\0\0\0\0\x01x")),
        ("no data", first(b"", u32::MAX)),
        ("a length beyond", first(b"n,,n=,r=abc", 0x7fff_ffff)),
        ("a length of -2", first(b"n,,n=,r=abc", 0xffff_fffe)),
        ("an empty nonce", first(b"n,,n=,r=", 8)),
        ("binding without TLS", first(b"p=tls-server-end-point,,n=,r=abcdefgh", 37)),
        ("an unknown extension", first(b"n,,m=x,n=,r=abcdefgh", 20)),
        ("an authzid", first(b"n,a=other,n=,r=abcdefgh", 23)),
        ("not UTF-8", first(b"n,,n=\xff,r=\xfe\xfd", 12)),
        ("a flood", first(&[b'r'; 9000], 9000)),
        ("a final too early", message(b'p', b"c=biws,r=abc,p=AAAA")),
    ];
    for (name, bytes) in cases {
        let (tags, refusal) = attack(world, &[&login.startup()[..], &bytes].concat());
        assert!(!tags.contains(&b'Z'), "{name}: {tags:?}");
        if let Some(refusal) = refusal {
            let known = ["28P01", "28000", "08P01"].contains(&&*refusal.code);
            assert!(known && refusal.severity == "FATAL", "{name}: {refusal:?}");
        }
    }
    assert_alive(world, "malformed SCRAM");
}

#[test]
fn garbage_after_login_ends_that_session_only() {
    let world = world();
    let before = world.rss_peak();
    let mut bystander = world.session(1);
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("tag 0".into(), vec![0, 0, 0, 0, 4]),
        ("tag 255".into(), vec![255, 0, 0, 0, 4]),
        ("a backend's tag".into(), message(b'Z', b"I")),
        ("a late password".into(), message(b'p', b"x\0")),
        ("another startup".into(), world.tenants[0].login().startup()),
        ("an SSL request".into(), sized(&wire::SSL_REQUEST.to_be_bytes())),
        ("half a header".into(), vec![b'Q', 0, 0]),
        ("half a query".into(), [b"Q".as_slice(), &long(100, b"select 1")].concat()),
        ("a bind of 65535".into(), message(b'B', b"\0\0\0\0\xff\xff")),
        ("a parse of nothing".into(), message(b'P', b"")),
        ("a parse without types".into(), message(b'P', b"\0select 1\0\xff\xff")),
        ("a describe of z".into(), message(b'D', b"z\0")),
        ("a sync with a body".into(), message(b'S', &[b'x'; 64])),
        ("a function call of nothing".into(), message(b'F', b"")),
        ("a large sync".into(), [b"S".as_slice(), &long(0x3fff_ffff, &[0; 64])].concat()),
        ("a large terminate".into(), [b"X".as_slice(), &long(0x3fff_ffff, &[0; 64])].concat()),
        ("a query of 2 GiB".into(), [b"Q".as_slice(), &long(0x7fff_ffff, &[b' '; 9999])].concat()),
        ("copy data of 2 GiB".into(), [b"d".as_slice(), &long(0x7fff_ffff, &[0; 9999])].concat()),
    ];
    for tag in *b"QPBDECSHXdcfF" {
        for length in [0, 1, 2, 3, u32::MAX] {
            let bytes = [&[tag][..], &long(length, b"abcdefgh")].concat();
            cases.push((format!("{} of length {length}", tag as char), bytes));
        }
    }
    for (name, bytes) in cases {
        let mut conn = world.session(0);
        let _ = conn.say(&bytes);
        let _ = conn.pipe.tcp().shutdown(Shutdown::Write);
        for heard in conn.farewell() {
            assert!(heard.tag != b'E' || !is_ours(&heard.body), "{name}: {heard:?}");
        }
        assert_eq!(bystander.one("select 7").as_deref(), Ok("7"), "after {name}");
    }
    assert_alive(world, "garbage after login");
    assert_bounded(world, before);
}

/// Whether an error admits a bug of pgusher.
fn is_ours(body: &[u8]) -> bool {
    Refusal::parse(body).code == "XX000"
}

#[test]
fn out_of_place_copy_messages_are_ignored_as_postgresql_does() {
    let mut conn = world().session(0);
    let stray = [message(b'd', b"1\n"), message(b'c', b""), message(b'f', b"no\0")].concat();
    conn.say(&stray).unwrap();
    assert_eq!(conn.one("select 1").as_deref(), Ok("1"));
    // An error inside an extended batch skips to Sync, stray copy data included.
    let batch = [wire::parse("", "selekt"), message(b'd', b"x"), wire::bind("", &[]), wire::sync()];
    conn.say(&batch.concat()).unwrap();
    assert_eq!(code(conn.rows()), "42601");
    assert_eq!(conn.one("select 2").as_deref(), Ok("2"));
}

#[test]
fn what_postgresql_would_refuse_by_itself_comes_to_no_server() {
    if bare::wanted() {
        return; // There is nobody between.
    }
    let world = &World::start(Plan::tenants(1).set(keys::SERVER_MAX, "1"));
    let mut next = world.session(0);
    let small = vec![b'x'; 12_000];
    for bytes in [
        message(b'p', b""),
        message(b'H', b"x"),
        message(b'S', &small),
        message(b'c', &small),
        message(b'f', &small),
    ] {
        let mut conn = world.session(0);
        let _ = conn.say(&[query("select 1"), bytes.clone()].concat());
        let refused = conn.verdict().map(|refusal| (refusal.severity, refusal.code));
        assert_eq!(refused, Some(("FATAL".into(), "08P01".into())), "{}", bytes[0] as char);
        // The next one gets the only server there is.
        assert_eq!(next.one("select 7").as_deref(), Ok("7"), "after {}", bytes[0] as char);
    }
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let mut conn = world().session(0);
    conn.say(&[query("select 'before the end'"), message(b'X', b"")].concat()).unwrap();
    conn.pipe.tcp().shutdown(Shutdown::Write).unwrap();
    let heard = conn.farewell();
    assert!(heard.iter().any(|m| m.tag == b'D'), "{heard:?}");
}

#[test]
fn the_silent_and_the_slow_are_cut_at_the_login_deadline() {
    if bare::wanted() {
        return; // PostgreSQL's own authentication_timeout is a minute.
    }
    let world = world();
    let startup = world.tenants[0].login().startup();
    let started = Instant::now();
    let silent = Conn::dial(world.listen);
    let mut partial = Conn::dial(world.listen);
    partial.say(&startup[..9]).unwrap();
    let mut asked = Conn::dial(world.listen);
    asked.say(&startup).unwrap();
    let mut tls = Conn::dial(world.listen);
    tls.say(&sized(&wire::SSL_REQUEST.to_be_bytes())).unwrap();
    assert_eq!(tls.byte().unwrap(), b'S');
    let mut slow = Conn::dial(world.listen);
    let dripping = startup.clone();
    let drip = std::thread::spawn(move || {
        // A byte at a time: each resets no deadline.
        for byte in dripping.iter().cycle() {
            std::thread::sleep(Duration::from_millis(50));
            if slow.say(&[*byte]).is_err() {
                break;
            }
        }
    });
    for mut conn in [silent, partial, asked, tls] {
        conn.farewell();
    }
    drip.join().unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(DEADLINE - 1), "too early: {took:?}");
    assert!(took < Duration::from_secs(DEADLINE * 3), "too late: {took:?}");
    assert_alive(world, "slow logins");
}

#[test]
fn at_the_half_open_limit_the_oldest_goes_and_a_valid_login_gets_in() {
    if bare::wanted() {
        return;
    }
    let world = &World::start(plan());
    let startup = world.tenants[0].login().startup();
    let mut idlers: Vec<Conn> = Vec::new();
    for _ in 0..HALF_OPEN * 3 {
        let mut conn = Conn::dial(world.listen);
        let _ = conn.say(&startup[..4]);
        idlers.push(conn);
        // Whatever is half open, a token is heard.
        if idlers.len().is_multiple_of(16) {
            assert_alive(world, "half-open sockets");
        }
    }
    let oldest = &mut idlers[0];
    assert!(oldest.farewell().iter().all(|m| m.tag == b'E'));
}

#[test]
fn a_fault_is_logged_once() {
    if bare::wanted() {
        return;
    }
    let world = &World::start(Plan::default());
    let login = Login::new("whoever", "not.a.token", &world.tenants[0].database());
    let count = || world.log().lines().filter(|l| l.contains("28P01")).count();
    let before = count();
    assert_eq!(code(world.login(&login)), "28P01");
    eventually(Duration::from_secs(10), "the refusal is in the log", || {
        (count() > before).then_some(())
    });
    assert_alive(world, "a refused login");
    assert_eq!(count() - before, 1, "one refusal is one line:\n{}", world.log());
    for secret in ["not.a.token", &world.tenants[0].token, &world.tenants[0].key_secret] {
        assert!(!world.log().contains(secret), "a secret is in the log");
    }
}
