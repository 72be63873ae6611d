//! However a text is cut, and whatever it holds.

use proptest::prelude::*;

use crate::session::lexer::{Facts, Lexer, body_hints};

/// Pieces that mean something to a lexer, so that random texts get deep into it.
pub(super) const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "$",
    "$$",
    "$a$",
    "$ab$",
    "$1",
    "E'",
    "e",
    "U&",
    "U&'",
    "u&\"",
    "\\",
    "\\'",
    "--",
    "-",
    "/*",
    "*/",
    "/",
    "*",
    "\n",
    "\r",
    " ",
    "\t",
    ";",
    "(",
    ")",
    ",",
    ".",
    ":",
    "::",
    "=",
    "1",
    "1e5",
    "_",
    "é",
    "\u{a0}",
    "a",
    "b",
    "SET",
    "set_config",
    "set_config('a.b', ",
    "true)",
    "LOCAL",
    "SESSION",
    "RESET",
    "ALL",
    "CREATE",
    "TEMP",
    "FUNCTION",
    "BEGIN",
    "ATOMIC",
    "CASE",
    "END",
    "AS",
    "DO",
    "EXECUTE",
    "PREPARE",
    "TRANSACTION",
    "DEALLOCATE",
    "EXPLAIN",
    "pg_advisory_lock",
    "pg_temp",
    "INTO",
    "WITH",
    "HOLD",
    "ROLLBACK",
    "TO",
    "SAVEPOINT",
    "ANALYZE",
    "x.y",
    "currval",
    "UPDATE",
    "DISCARD",
    "UESCAPE",
    "TIME",
    "ZONE",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        4 => Just(b" ".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        1 => "[a-z]{60,70}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Reads `text` in pieces; `cuts` gives their lengths, over and over.
fn read_cut(text: &[u8], cuts: &[usize], standard: bool) -> Facts {
    let mut lexer = Lexer::default();
    lexer.standard_conforming_strings(standard);
    let mut rest = text;
    for &cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(cut.min(rest.len()));
        lexer.feed(chunk);
        lexer.feed(b"");
        rest = after;
    }
    lexer.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_cut_gives_the_same_facts(
        text in text(),
        cuts in prop::collection::vec(1_usize..9, 1..6),
        standard in any::<bool>(),
    ) {
        let whole = read_cut(&text, &[usize::MAX], standard);
        prop_assert_eq!(&whole, &read_cut(&text, &[1], standard));
        prop_assert_eq!(&whole, &read_cut(&text, &cuts, standard));
        if let Some(target) = &whole.target {
            prop_assert!(target.start as usize + target.len as usize <= text.len());
        }
    }

    #[test]
    fn a_used_lexer_reads_like_a_new_one(first in text(), second in text()) {
        let mut lexer = Lexer::default();
        lexer.read(&first);
        let again = lexer.read(&second);
        prop_assert_eq!(again, Lexer::default().read(&second));
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let whole = read_cut(&bytes, &[usize::MAX], true);
        prop_assert_eq!(whole, read_cut(&bytes, &[7, 1, 3], true));
        body_hints(&bytes);
    }
}

/// Half a million random texts from one seed, printed; only that none panics.
#[test]
fn random_bytes_never_panic() {
    let seed = std::env::var("PGUSHER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| u64::from(now.subsec_nanos())) | 1
    });
    println!("PGUSHER_SEED={seed}");
    let mut state = seed;
    let mut next = || {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
    };
    let mut lexer = Lexer::default();
    let mut text = Vec::new();
    for _ in 0..100_000 {
        text.clear();
        for _ in 0..next() % 24 {
            let n = usize::try_from(next()).expect("64 bits");
            match n % 5 {
                0 => text.extend(u8::try_from(next() & 0xFF)),
                1 => text.push(b' '),
                _ => text.extend_from_slice(PIECES[n / 5 % PIECES.len()].as_bytes()),
            }
        }
        let half = text.len() / 2;
        lexer.feed(&text[..half]);
        lexer.feed(&text[half..]);
        lexer.finish();
    }
}
