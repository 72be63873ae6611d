//! Bytes to tokens, by PostgreSQL's `scan.l`, wherever the chunks are cut.

mod class;
mod quote;
mod rules;

use std::sync::Arc;

use memchr::{memchr, memchr2};

use super::reader::{Reader, Token};
use super::target::Span;
use super::word::{Word, clip};
use super::{Facts, Words};
use class::{DIGIT, LETTER, SPACE, WORD, is, run};

/// Reads one statement text at a time: [`Lexer::feed`] it, then [`Lexer::finish`].
///
/// Ordinary statements cost no allocation, and a literal no more than finding its end. A lexer
/// is meant to be kept and used again.
#[derive(Debug, Default)]
pub struct Lexer {
    state: State,
    /// Of the literal or identifier at hand.
    kind: Kind,
    /// What has passed since a closing quote.
    gap: Gap,
    /// Plain literals have backslash escapes: `standard_conforming_strings` is off.
    nonstandard: bool,
    /// In the text's encoding an ASCII byte may be part of another character.
    shifting: bool,
    /// How much of the dollar quote's tag has been seen again, after its `$`.
    tag_at: u8,
    /// How deep in comments.
    depth: u32,
    /// The bytes fed before this chunk.
    base: u32,
    /// Where the word at hand begins.
    start: u32,
    /// The word at hand; inside a literal, the word at hand there.
    word: Word,
    tag: Option<Box<Word>>,
    words: Option<Arc<Words>>,
    reader: Reader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Between,
    Word,
    Digits,
    Dash,
    Slash,
    /// `U&`.
    Ampersand,
    /// `$`, and nothing known of what follows.
    Dollar,
    DollarTag,
    DollarBody,
    /// A `$` in the body, which may begin the closing tag.
    DollarClose,
    Quote,
    QuoteEscape,
    /// A quote that doubles, or ends the literal, or ends a part of it.
    QuoteEnd,
    QuoteEndDash,
    QuoteEndLine,
    Identifier,
    IdentifierEnd,
    Line,
    Block,
    BlockStar,
    BlockSlash,
    /// A NUL ended the text.
    Done,
}

/// What a backslash is in a literal or an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// Itself.
    #[default]
    Plain,
    /// It takes the next byte with it, be it a quote.
    Escapes,
    /// It stands for a character with what follows, but leaves a quote alone (U&).
    Unicode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Gap {
    #[default]
    None,
    Spaces,
    /// With a line's end among them.
    Line,
}

fn saturate(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Lexer {
    /// Reads on. The chunks may be cut anywhere.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.state == State::Done {
            return;
        }
        let end = memchr(0, chunk);
        let text = &chunk[..end.unwrap_or(chunk.len())];
        if self.shifting && !text.is_ascii() {
            self.reader.doubt();
        }
        let mut at = 0;
        while at < text.len() {
            at = self.step(text, at);
        }
        self.base = self.base.saturating_add(saturate(text.len()));
        if end.is_some() {
            self.close();
            self.state = State::Done;
        }
    }

    /// The text is over: says what it was. The lexer is ready for the next text.
    pub fn finish(&mut self) -> Facts {
        self.close();
        self.state = State::Between;
        self.base = 0;
        self.word.clear();
        self.reader.finish()
    }

    /// Forgets the text.
    pub fn reset(&mut self) {
        self.state = State::Between;
        self.base = 0;
        self.word.clear();
        self.reader.reset();
    }

    /// The facts of a text that is there as a whole.
    pub fn read(&mut self, text: &[u8]) -> Facts {
        self.reset();
        self.feed(text);
        self.finish()
    }

    /// Takes `text` from `at` on; gives where to go on. Either that is further on, or the state
    /// is one that will get further.
    fn step(&mut self, text: &[u8], at: usize) -> usize {
        let byte = text[at];
        match self.state {
            State::Between => self.between(text, at),
            State::Word => self.in_word(text, at),
            State::Digits => {
                let digits = run(&text[at..], DIGIT);
                if at + digits < text.len() {
                    self.state = State::Between;
                }
                at + digits
            }
            State::Dash if byte == b'-' => self.go(State::Line, at + 1),
            State::Slash if byte == b'*' => {
                self.depth = 1;
                self.go(State::Block, at + 1)
            }
            State::Dash | State::Slash => self.unread(at),
            State::Ampersand => self.after_ampersand(byte, at),
            State::Dollar => self.after_dollar(byte, at),
            State::DollarTag => self.in_tag(text, at),
            State::DollarBody => self.in_dollar_body(text, at),
            State::DollarClose => self.in_dollar_close(byte, at),
            State::Quote => self.in_quote(text, at),
            State::QuoteEscape => {
                self.escape(byte);
                self.go(State::Quote, at + 1)
            }
            State::QuoteEnd => self.after_quote(byte, at),
            State::QuoteEndDash if byte == b'-' => self.go(State::QuoteEndLine, at + 1),
            State::QuoteEndDash => {
                self.end_literal();
                self.go(State::Dash, at)
            }
            State::QuoteEndLine => match memchr2(b'\n', b'\r', &text[at..]) {
                // The line's end itself is for the state after the quote.
                Some(n) => self.go(State::QuoteEnd, at + n),
                None => text.len(),
            },
            State::Identifier => self.in_identifier(text, at),
            State::IdentifierEnd if byte == b'"' => {
                self.word.push(b"\"");
                self.go(State::Identifier, at + 1)
            }
            State::IdentifierEnd => {
                self.end_identifier(saturate(at));
                self.go(State::Between, at)
            }
            State::Line => match memchr2(b'\n', b'\r', &text[at..]) {
                Some(n) => self.go(State::Between, at + n + 1),
                None => text.len(),
            },
            State::Block | State::BlockStar | State::BlockSlash => self.in_block(text, at),
            State::Done => text.len(),
        }
    }

    fn go(&mut self, state: State, at: usize) -> usize {
        self.state = state;
        at
    }

    fn position(&self, at: usize) -> u32 {
        self.base.saturating_add(saturate(at))
    }

    fn between(&mut self, text: &[u8], mut at: usize) -> usize {
        // Words and spaces are most of most texts: no change of state for these.
        let byte = loop {
            let Some(&byte) = text.get(at) else { return at };
            if is(byte, SPACE) {
                at += 1;
            } else if is(byte, LETTER) {
                self.start = self.position(at);
                at = self.in_word(text, at);
                if self.state != State::Between {
                    return at;
                }
            } else {
                break byte;
            }
        };
        if is(byte, DIGIT) {
            self.reader.other();
            return self.go(State::Digits, at + 1);
        }
        let next = match byte {
            b'\'' => {
                self.open_quote(self.plain());
                State::Quote
            }
            b'"' => {
                self.start = self.position(at);
                self.open_identifier(Kind::Plain);
                State::Identifier
            }
            b'$' => State::Dollar,
            b'-' => State::Dash,
            b'/' => State::Slash,
            _ => {
                let start = self.position(at);
                self.reader.symbol(byte, start);
                State::Between
            }
        };
        self.go(next, at + 1)
    }

    fn in_word(&mut self, text: &[u8], at: usize) -> usize {
        let end = at + run(&text[at..], WORD);
        if end == text.len() {
            self.word.push(&text[at..]);
            return self.go(State::Word, end);
        }
        if self.word.is_empty() && end - at > 1 {
            let span = Span { start: self.start, len: saturate(end - at) };
            self.tell(Token { text: clip(&text[at..end]), quoted: false, span });
            return self.go(State::Between, end);
        }
        self.word.push(&text[at..end]);
        if let Some(state) = self.prefixed(text[end]) {
            return self.go(state, end + 1);
        }
        self.end_word();
        self.go(State::Between, end)
    }

    /// What opens when the word at hand is a prefix of the literal that `byte` opens.
    fn prefixed(&mut self, byte: u8) -> Option<State> {
        // The whole word, not what would be left of one that is cut.
        let Some(&[letter]) = self.word.whole() else { return None };
        match (letter | 0x20, byte) {
            (b'e', b'\'') => self.open_quote(Kind::Escapes),
            (b'b' | b'x', b'\'') => self.open_quote(Kind::Plain),
            (b'n', b'\'') => self.open_quote(self.plain()),
            (b'u', b'&') => return Some(State::Ampersand),
            _ => return None,
        }
        Some(State::Quote)
    }

    fn end_word(&mut self) {
        let span = Span { start: self.start, len: self.word.len() };
        self.tell_kept(false, span);
    }

    /// The character held back was itself.
    fn unread(&mut self, at: usize) -> usize {
        let symbol = match self.state {
            State::Dash => b'-',
            State::Slash => b'/',
            State::Ampersand => b'&',
            _ => b'$',
        };
        let start = self.position(at).saturating_sub(1);
        self.reader.symbol(symbol, start);
        self.go(State::Between, at)
    }

    fn after_ampersand(&mut self, byte: u8, at: usize) -> usize {
        match byte {
            b'\'' => {
                self.open_quote(Kind::Unicode);
                if self.nonstandard {
                    // PostgreSQL refuses these then.
                    self.reader.doubt();
                }
                self.go(State::Quote, at + 1)
            }
            b'"' => {
                self.open_identifier(Kind::Unicode);
                self.go(State::Identifier, at + 1)
            }
            _ => {
                self.end_word();
                self.unread(at)
            }
        }
    }

    fn in_block(&mut self, text: &[u8], at: usize) -> usize {
        match (self.state, text[at]) {
            (State::BlockStar, b'/') => {
                self.depth = self.depth.saturating_sub(1);
                let next = if self.depth == 0 { State::Between } else { State::Block };
                self.go(next, at + 1)
            }
            (State::BlockSlash, b'*') => {
                self.depth = self.depth.saturating_add(1);
                self.go(State::Block, at + 1)
            }
            (_, b'*') => self.go(State::BlockStar, at + 1),
            (_, b'/') => self.go(State::BlockSlash, at + 1),
            _ => match memchr2(b'*', b'/', &text[at..]) {
                Some(n) => self.go(State::Block, at + n),
                None => self.go(State::Block, text.len()),
            },
        }
    }

    /// Settles what the end of the text leaves open.
    fn close(&mut self) {
        match self.state {
            State::Word => self.end_word(),
            State::Ampersand => {
                self.end_word();
                self.unread(0);
            }
            State::DollarTag => {
                self.reader.symbol(b'$', self.start.saturating_sub(1));
                self.end_word();
            }
            State::Dash | State::Slash | State::Dollar => {
                self.unread(0);
            }
            State::QuoteEnd | State::QuoteEndDash | State::QuoteEndLine => {
                self.end_literal();
                if self.state == State::QuoteEndDash {
                    let start = self.base.saturating_sub(1);
                    self.reader.symbol(b'-', start);
                }
            }
            State::IdentifierEnd => self.end_identifier(0),
            State::Quote
            | State::QuoteEscape
            | State::Identifier
            | State::DollarBody
            | State::DollarClose
            | State::Block
            | State::BlockStar
            | State::BlockSlash => {
                self.end_literal();
                self.reader.doubt();
            }
            State::Between | State::Digits | State::Line | State::Done => {}
        }
    }
}
