//! Literals, quoted identifiers, dollar quotes.

use memchr::{memchr, memchr2};

use super::class::{DIGIT, LETTER, SPACE, is, run};
use super::{Gap, Kind, Lexer, State};
use crate::session::lexer::reader::Interest;
use crate::session::lexer::target::Span;

impl Lexer {
    /// The kind of a literal without a prefix.
    pub(super) fn plain(&self) -> Kind {
        if self.nonstandard { Kind::Escapes } else { Kind::Plain }
    }

    pub(super) fn open_quote(&mut self, kind: Kind) {
        self.kind = kind;
        self.word.clear();
        self.reader.literal();
    }

    pub(super) fn in_quote(&mut self, text: &[u8], at: usize) -> usize {
        let rest = &text[at..];
        let found = if self.kind == Kind::Escapes {
            memchr2(b'\'', b'\\', rest)
        } else {
            memchr(b'\'', rest)
        };
        self.literal(&rest[..found.unwrap_or(rest.len())]);
        let Some(n) = found else { return text.len() };
        self.gap = Gap::None;
        let next = if rest[n] == b'\'' { State::QuoteEnd } else { State::QuoteEscape };
        self.go(next, at + n + 1)
    }

    pub(super) fn literal(&mut self, text: &[u8]) {
        if self.reader.interest() == Interest::Nothing {
            return;
        }
        if self.kind == Kind::Unicode && memchr(b'\\', text).is_some() {
            self.reader.literal_doubt();
        }
        self.reader.literal_text(text, &mut self.word);
    }

    pub(super) fn escape(&mut self, byte: u8) {
        match byte {
            b'b' | b'f' | b'n' | b'r' | b't' => self.literal(b" "),
            b'0'..=b'7' | b'x' | b'u' | b'U' => {
                self.reader.literal_doubt();
                self.literal(b" ");
            }
            _ => self.literal(&[byte]),
        }
    }

    pub(super) fn after_quote(&mut self, byte: u8, at: usize) -> usize {
        match byte {
            b'\'' if self.gap == Gap::None => {
                self.literal(b"'");
                self.go(State::Quote, at + 1)
            }
            // A literal goes on after a line's end, in the manner it began.
            b'\'' if self.gap == Gap::Line => self.go(State::Quote, at + 1),
            b'\n' | b'\r' => {
                self.gap = Gap::Line;
                at + 1
            }
            _ if is(byte, SPACE) => {
                if self.gap == Gap::None {
                    self.gap = Gap::Spaces;
                }
                at + 1
            }
            b'-' => self.go(State::QuoteEndDash, at + 1),
            _ => {
                self.end_literal();
                self.go(State::Between, at)
            }
        }
    }

    pub(super) fn end_literal(&mut self) {
        self.reader.literal_end(&mut self.word);
        self.word.clear();
    }

    pub(super) fn open_identifier(&mut self, kind: Kind) {
        self.kind = kind;
        self.word.clear();
    }

    pub(super) fn in_identifier(&mut self, text: &[u8], at: usize) -> usize {
        let rest = &text[at..];
        let found = memchr(b'"', rest);
        let part = &rest[..found.unwrap_or(rest.len())];
        if self.kind == Kind::Unicode && memchr(b'\\', part).is_some() {
            self.reader.miss_identifier();
        }
        self.word.push(part);
        match found {
            Some(n) => self.go(State::IdentifierEnd, at + n + 1),
            None => text.len(),
        }
    }

    /// `at` is where the byte after the closing quote stands, in this chunk.
    pub(super) fn end_identifier(&mut self, at: u32) {
        let end = self.base.saturating_add(at);
        let span = Span { start: self.start, len: end.saturating_sub(self.start) };
        self.tell_kept(true, span);
    }

    pub(super) fn after_dollar(&mut self, byte: u8, at: usize) -> usize {
        if is(byte, DIGIT) {
            self.reader.other();
            return self.go(State::Digits, at + 1);
        }
        if is(byte, LETTER) {
            self.start = self.position(at);
            self.word.clear();
            return self.go(State::DollarTag, at);
        }
        if byte == b'$' {
            self.word.clear();
            return self.open_dollar(at + 1);
        }
        self.unread(at)
    }

    pub(super) fn in_tag(&mut self, text: &[u8], at: usize) -> usize {
        let end = at + run(&text[at..], LETTER | DIGIT);
        self.word.push(&text[at..end]);
        if end == text.len() {
            return end;
        }
        if text[end] == b'$' {
            return self.open_dollar(end + 1);
        }
        // No tag, then: a `$` and a word.
        let start = self.start.saturating_sub(1);
        self.reader.symbol(b'$', start);
        self.go(State::Word, end)
    }

    /// The word at hand is the tag.
    pub(super) fn open_dollar(&mut self, at: usize) -> usize {
        if self.word.whole().is_none() {
            // Longer than anybody's, and than what is kept: the rest stays unread.
            self.reader.doubt();
            return self.go(State::Done, at);
        }
        match &mut self.tag {
            Some(tag) => tag.as_mut().clone_from(&self.word),
            None if self.word.is_empty() => {}
            None => self.tag = Some(Box::new(self.word.clone())),
        }
        self.kind = Kind::Plain;
        self.word.clear();
        self.reader.literal();
        self.go(State::DollarBody, at)
    }

    pub(super) fn in_dollar_body(&mut self, text: &[u8], at: usize) -> usize {
        let rest = &text[at..];
        let found = memchr(b'$', rest);
        self.literal(&rest[..found.unwrap_or(rest.len())]);
        self.tag_at = 0;
        match found {
            Some(n) => self.go(State::DollarClose, at + n + 1),
            None => text.len(),
        }
    }

    pub(super) fn in_dollar_close(&mut self, byte: u8, at: usize) -> usize {
        let seen = usize::from(self.tag_at);
        let tag = self.tag.as_ref().and_then(|tag| tag.whole()).unwrap_or_default();
        match tag.get(seen) {
            None if byte == b'$' => {
                self.end_literal();
                return self.go(State::Between, at + 1);
            }
            Some(&expected) if byte == expected => {
                self.tag_at += 1;
                return at + 1;
            }
            _ => {}
        }
        // Not the closing tag: it was text. What was seen of the tag equals the tag.
        if self.reader.interest() != Interest::Nothing {
            let seen_again: Vec<u8> = [b"$", &tag[..seen]].concat();
            self.literal(&seen_again);
        }
        self.go(State::DollarBody, at)
    }
}
