//! Any text, cut anywhere, is read without a panic and to the same facts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgusher::session::lexer::{Lexer, body_hints};

fuzz_target!(|input: &[u8]| {
    let Some((&cut, text)) = input.split_first() else { return };
    let mut lexer = Lexer::default();
    lexer.standard_conforming_strings(cut & 0x80 == 0);
    let whole = lexer.read(text);
    text.chunks(usize::from(cut & 0x1F) + 1).for_each(|chunk| lexer.feed(chunk));
    let cut = lexer.finish();
    assert_eq!(whole, cut);
    if let Some(target) = &whole.target {
        assert!(target.start as usize + target.len as usize <= text.len());
    }
    body_hints(text);
});
