//! Valid conversations, mutated. The seed is printed; `PGUSHER_FUZZ_SEED=n` runs it again,
//! `PGUSHER_FUZZ_ROUNDS=n` for longer.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::io::Read;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use world::wire::{self, Conn, message, query, sized};
use world::{World, report, tools};

/// A stream must be answered and closed within this.
const PATIENCE: Duration = Duration::from_secs(20);

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.roll().to_le_bytes()[0]
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }
}

/// A whole valid conversation, as its packets.
fn conversation(world: &World, dice: &mut Dice) -> Vec<Vec<u8>> {
    let login = world.tenants[dice.below(2)].login();
    let version = [wire::V3_0, wire::V3_2, wire::V3_9999][dice.below(3)];
    let login = login.version(version).with("application_name", "fuzz");
    let mut packets = Vec::new();
    if dice.below(4) == 0 {
        packets.push(sized(&wire::GSS_REQUEST.to_be_bytes()));
    }
    packets.push(login.startup());
    packets.push(message(b'p', &[login.password.as_bytes(), b"\0"].concat()));
    let parts: [fn() -> Vec<Vec<u8>>; 6] = [
        || vec![query("select 1; select 'two', null")],
        || {
            let parse = wire::parse("s1", "select $1::text, generate_series(1, 20)");
            let describe = message(b'D', b"Ss1\0");
            vec![parse, describe, wire::bind("s1", &[b"x"]), wire::execute(), wire::sync()]
        },
        || {
            let copy = query("copy pg_temp.fuzz from stdin");
            let data = message(b'd', b"1\n2\n");
            vec![query("create temp table fuzz (a int)"), copy, data, message(b'c', b"")]
        },
        || vec![query("begin"), query("select 1/0"), query("rollback")],
        || {
            vec![
                wire::parse("", "select 1"),
                message(b'H', b""),
                message(b'C', b"Ss1\0"),
                wire::sync(),
            ]
        },
        || vec![query("listen fuzz"), query("notify fuzz, 'x'"), query("discard all")],
    ];
    for _ in 0..=dice.below(4) {
        packets.extend(parts[dice.below(parts.len())]());
    }
    packets.push(message(b'X', b""));
    packets
}

fn mutate(packets: &mut Vec<Vec<u8>>, dice: &mut Dice) {
    // Mostly past the login, sometimes in it.
    let at = |dice: &mut Dice, packets: &Vec<Vec<u8>>| match dice.below(3) {
        0 => dice.below(packets.len().min(2)),
        _ => dice.below(packets.len()),
    };
    let n = at(dice, packets);
    let length = packets[n].len();
    match dice.below(9) {
        0 => packets.swap(n, 0),
        1 => drop(packets.remove(n)),
        2 => packets.insert(n, packets[n].clone()),
        3 => packets[n].truncate(dice.below(length)),
        4 => {
            let place = dice.below(length);
            packets[n][place] ^= 1 << dice.below(8);
        }
        5 => {
            let place = dice.below(length);
            let noise: Vec<u8> = (0..dice.below(40)).map(|_| dice.byte()).collect();
            packets[n].splice(place..place, noise);
        }
        6 => {
            // The length field, where a tagged message has it.
            let lengths = [0, 1, 3, 4, 5, 0x7fff_ffff, 0xffff_ffff, 0x8000_0000, 65_536];
            let value: u32 = lengths[dice.below(lengths.len())];
            for (place, byte) in (1..5).zip(value.to_be_bytes()) {
                if let Some(slot) = packets[n].get_mut(place) {
                    *slot = byte;
                }
            }
        }
        7 => packets[n].extend((0..dice.below(2000)).map(|_| dice.byte())),
        _ => {
            let other = dice.below(packets.len());
            let tail = packets[other].clone();
            packets[n].extend(tail);
        }
    }
    if packets.is_empty() {
        packets.push(vec![0]);
    }
}

/// Sends a stream, in pieces; returns whether the server ended the connection in time.
fn ends(world: &World, stream: &[u8], dice: &mut Dice) -> bool {
    let mut conn = Conn::dial(world.listen);
    let mut rest = stream;
    while !rest.is_empty() {
        let piece = 1 + dice.below(rest.len());
        if conn.say(&rest[..piece]).is_err() {
            break;
        }
        rest = &rest[piece..];
    }
    let _ = conn.pipe.tcp().shutdown(Shutdown::Write);
    let deadline = Instant::now() + PATIENCE;
    conn.pipe.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sink = [0; 16_384];
    loop {
        match conn.pipe.read(&mut sink) {
            Ok(0) => return true,
            Ok(_) if Instant::now() < deadline => {}
            Ok(_) => return false,
            Err(e) => {
                let waiting = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                return !waiting.contains(&e.kind());
            }
        }
    }
}

#[test]
fn no_mutation_of_a_conversation_hangs_or_breaks_it() {
    let world = World::shared();
    let seed = tools::env_or("PGUSHER_FUZZ_SEED", 20_261_121);
    let rounds = tools::env_or("PGUSHER_FUZZ_ROUNDS", 600);
    report(&format!("fuzz: PGUSHER_FUZZ_SEED={seed}, {rounds} rounds"));
    world.session(0);
    let before = world.rss();
    for round in 0..rounds {
        let mut dice = Dice(seed.wrapping_add(round));
        let mut packets = conversation(world, &mut dice);
        for _ in 0..=dice.below(3) {
            mutate(&mut packets, &mut dice);
        }
        let stream = packets.concat();
        let ended = ends(world, &stream, &mut dice);
        let again = format!("PGUSHER_FUZZ_SEED={} PGUSHER_FUZZ_ROUNDS=1", seed + round);
        assert!(ended, "still open: {again}: {}", stream.escape_ascii());
        if round % 50 == 0 {
            world.assert_no_panic();
            let mut session = world.session(1);
            assert_eq!(session.one("select 1").as_deref(), Ok("1"), "{again}");
        }
    }
    world.assert_no_panic();
    let grown = world.rss().saturating_sub(before);
    assert!(grown < 48 << 20, "resident memory grew by {grown} bytes");
    assert_eq!(world.session(0).one("select 1").as_deref(), Ok("1"));
}
