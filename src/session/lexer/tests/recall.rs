//! What was read before says what it says when it is read.

use std::sync::Arc;

use proptest::prelude::*;

use super::chunks::PIECES;
use crate::session::lexer::{Hints, Lexer, Recall, Words};

/// `text` with other digits, and other numbers of them.
fn renumbered(text: &str, seed: u8) -> String {
    let mut other = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| at + n);
        other.push_str(&rest[..at]);
        other.push_str(["0", "7", "42", "1000000", "9"][usize::from(seed) % 5]);
        rest = &rest[end..];
    }
    other + rest
}

/// Pieces with numbers in them, some of them names.
fn pieces() -> impl Strategy<Value = &'static str> {
    let numbered =
        ["b1", "b42", "\"7\"", "\"a 7 b\"", "7", "(7)", "7,", "= 7", "SELECT", "SELECT "];
    prop_oneof![prop::sample::select(PIECES), prop::sample::select(numbered.to_vec())]
}

fn words() -> Arc<Words> {
    let mut words = Words::default();
    for name in ["1", "7", "b1", "b42", "a 7 b", "set_config"] {
        words.insert(name, Hints::ADVISORY);
    }
    Arc::new(words)
}

/// Reads `text`, often enough to have it kept, and the same with other numbers.
fn same_as_read(recall: &mut Recall, lexer: &mut Lexer, text: &str) -> Result<(), TestCaseError> {
    for seed in 0..7 {
        let text = if seed < 3 { text.to_owned() } else { renumbered(text, seed) };
        let recalled = recall.read(lexer, text.as_bytes());
        prop_assert_eq!(&recalled, &lexer.read(text.as_bytes()), "{}", text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_text_says_what_it_says(
        texts in prop::collection::vec(
            prop::collection::vec(pieces(), 0..12), 1..6),
        named in any::<bool>(),
        standard in any::<bool>(),
        shifting in any::<bool>(),
        spaced in any::<bool>(),
    ) {
        let (mut recall, mut lexer) = (Recall::default(), Lexer::default());
        lexer.standard_conforming_strings(standard);
        lexer.shifting_encoding(shifting);
        lexer.words(named.then(words));
        for pieces in &texts {
            let text = pieces.join(if spaced { " " } else { "" });
            same_as_read(&mut recall, &mut lexer, &text)?;
        }
    }
}

#[test]
fn what_a_text_is_read_under_counts() {
    let mut recall = Recall::default();
    let text = b"SELECT b1(7)";
    let mut plain = Lexer::default();
    let mut named = Lexer::default();
    named.words(Some(words()));
    for _ in 0..4 {
        assert!(recall.read(&mut plain, text).hints.is_empty());
        assert_eq!(recall.read(&mut named, text).hints, Hints::ADVISORY);
        // A name with another number in it is another name.
        assert!(recall.read(&mut named, b"SELECT b2(7)").hints.is_empty());
    }
    let text = "SELECT 'a\\', set_config('x.y', '1', false) --'".as_bytes();
    let mut escaping = Lexer::default();
    escaping.standard_conforming_strings(false);
    for _ in 0..4 {
        assert_eq!(recall.read(&mut plain, text), plain.read(text));
        assert_eq!(recall.read(&mut escaping, text), escaping.read(text));
    }
}

#[test]
fn more_texts_than_are_kept_are_read_all_the_same() {
    let (mut recall, mut lexer) = (Recall::default(), Lexer::default());
    for round in 0..3 {
        for n in 0..2_000_u32 {
            let text = format!("SELECT c{n} FROM t WHERE id = {round}{n}; SET x TO {n}");
            let recalled = recall.read(&mut lexer, text.as_bytes());
            assert_eq!(recalled, lexer.read(text.as_bytes()), "{text}");
        }
    }
}

#[test]
fn what_comes_behind_the_text_is_none_of_it() {
    let (mut recall, mut lexer) = (Recall::default(), Lexer::default());
    for types in [&b"\0\0\0"[..], b"\0\0\x01\0\0\0\x17", b"\0LISTEN a"] {
        let body = [b"SELECT 1", types].concat();
        for _ in 0..3 {
            assert_eq!(recall.read(&mut lexer, &body), lexer.read(b"SELECT 1"));
        }
    }
}
