//! What a text is read under: the session's settings, the tenant's names.

use std::sync::Arc;

use super::Lexer;
use crate::session::lexer::Words;
use crate::session::lexer::reader::Token;
use crate::session::lexer::target::Span;

impl Lexer {
    /// Says whether plain literals follow the standard, as the session's
    /// `standard_conforming_strings` has it at the start of the text. They do until told otherwise.
    pub fn standard_conforming_strings(&mut self, on: bool) {
        self.nonstandard = !on;
    }

    /// Says whether the text's encoding has characters with ASCII bytes in them, as SJIS, BIG5,
    /// GBK, UHC, JOHAB and GB18030 have. PostgreSQL converts such a text before it reads it: where
    /// one holds anything but ASCII, quotes and words are not where they seem to be.
    pub fn shifting_encoding(&mut self, on: bool) {
        self.shifting = on;
    }

    /// Says which names stand for more than they say.
    pub fn words(&mut self, words: Option<Arc<Words>>) {
        self.words = words;
    }

    /// What texts are read under: the names, whether plain literals have escapes, whether an ASCII
    /// byte may be part of another character.
    pub(in crate::session::lexer) fn manner(&self) -> (Option<&Arc<Words>>, bool, bool) {
        (self.words.as_ref(), self.nonstandard, self.shifting)
    }

    /// Hands a word to the reader.
    pub(super) fn tell(&mut self, token: Token<'_>) {
        if let Some(words) = &self.words {
            self.reader.mark(words.hints(token.text));
        }
        self.reader.word(token);
    }

    /// Hands the word at hand to the reader.
    pub(super) fn tell_kept(&mut self, quoted: bool, span: Span) {
        if let Some(words) = &self.words {
            self.reader.mark(words.hints(self.word.name()));
        }
        self.reader.word(Token { text: self.word.name(), quoted, span });
        self.word.clear();
    }
}
