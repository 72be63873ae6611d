//! What the lexer promises, as tables of texts.

mod chunks;
mod hints;
mod lexical;
mod names;
mod recall;
mod world;

use super::{Facts, Hints, Lexer};

fn read(text: &str) -> Facts {
    let facts = Lexer::default().read(text.as_bytes());
    let by_byte = {
        let mut lexer = Lexer::default();
        text.as_bytes().chunks(1).for_each(|byte| lexer.feed(byte));
        lexer.finish()
    };
    assert_eq!(facts, by_byte, "byte by byte: {text}");
    facts
}

/// Every text of `table` has just these hints, whether it writes or not.
fn check(table: &[(&str, Hints)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(text, hints)| (text, hints, read(text).hints.without(Hints::WRITE | Hints::DDL)))
        .filter(|(_, hints, found)| *hints != found)
        .map(|(text, hints, found)| format!("{text}\n  wanted {hints:?}\n  found  {found:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_lexer_is_small() {
    assert!(size_of::<Lexer>() <= 256, "{}", size_of::<Lexer>());
}
