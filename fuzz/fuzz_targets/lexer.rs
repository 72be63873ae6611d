//! Any text, cut anywhere, is read without a panic and to the same facts.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;

/// The room alone: it needs nothing of the rest, and is built in seconds.
#[path = "../../src/session"]
mod session {
    pub mod lexer;
}

use session::lexer::{Hints, Lexer, Words, body_settings};

fn words() -> Arc<Words> {
    static WORDS: LazyLock<Arc<Words>> = LazyLock::new(|| {
        let mut words = Words::default();
        words.insert("f", Hints::ROUTINE);
        words.insert("hold", Hints::FOREIGN);
        Arc::new(words)
    });
    Arc::clone(&WORDS)
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, text)) = input.split_first() else { return };
    let mut lexer = Lexer::default();
    lexer.standard_conforming_strings(cut & 0x80 == 0);
    lexer.shifting_encoding(cut & 0x40 != 0);
    lexer.words((cut & 0x20 != 0).then(words));
    let whole = lexer.read(text);
    text.chunks(usize::from(cut & 0x1F) + 1).for_each(|chunk| lexer.feed(chunk));
    let cut = lexer.finish();
    assert_eq!(whole, cut);
    assert!(whole.hints.contains(whole.latent));
    if let Some(target) = &whole.target {
        assert!(target.start as usize + target.len as usize <= text.len());
    }
    body_settings(text);
});
