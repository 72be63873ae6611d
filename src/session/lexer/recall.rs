//! Texts that were read before.
//!
//! Applications send the same few texts over and over, and by the simple protocol with other
//! numbers in them. A text is recognised by comparing it whole, so a wrong answer is not possible,
//! only none; what a number is cannot matter where the text has no quote and no dollar: then it is
//! a constant, never part of a name or of code (`tests/recall.rs` sees to that).

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memchr3};

use super::{Facts, Lexer, Words};

/// What some texts said, by their spelling. One for each thread.
#[derive(Debug)]
pub struct Recall {
    buckets: Vec<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    known: [Option<Box<Known>>; WAYS],
    /// The text that was last not found: one that comes a second time is kept.
    missed: u64,
    next: usize,
}

/// A text and what it said.
#[derive(Debug)]
struct Known {
    /// Numbers that may be any are left out.
    text: Box<[u8]>,
    /// Where in `text` these stood, in order.
    numbers: Box<[usize]>,
    manner: Manner,
    facts: Facts,
}

/// What a text is read under.
#[derive(Debug)]
struct Manner {
    /// Kept alive here, so that the pointer tells it from any other.
    words: Option<Arc<Words>>,
    nonstandard: bool,
    shifting: bool,
}

impl Manner {
    fn is_of(&self, lexer: &Lexer) -> bool {
        let (words, nonstandard, shifting) = lexer.manner();
        let same = match (&self.words, words) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same && self.nonstandard == nonstandard && self.shifting == shifting
    }
}

const BUCKETS: usize = 64;
const WAYS: usize = 4;

/// Longer texts are read each time.
const TEXT_BYTES_MAX: usize = 4_096;

impl Default for Recall {
    fn default() -> Self {
        Self { buckets: std::iter::repeat_with(Bucket::default).take(BUCKETS).collect() }
    }
}

impl Recall {
    /// The facts of a text that is there as a whole, up to its zero: as [`Lexer::read`], of which
    /// it makes use when it has to.
    pub fn read(&mut self, lexer: &mut Lexer, text: &[u8]) -> Facts {
        let text = &text[..memchr(0, text).unwrap_or(text.len())];
        if text.len() > TEXT_BYTES_MAX {
            return lexer.read(text);
        }
        let any_number = memchr3(b'\'', b'"', b'$', text).is_none();
        let hash = if any_number { up_to_digit(text) } else { mix(text) };
        #[expect(clippy::cast_possible_truncation, reason = "the top bits")]
        let bucket = &mut self.buckets[(hash >> (u64::BITS - BUCKETS.ilog2())) as usize];
        for known in bucket.known.iter().flatten() {
            if known.is(text) && known.manner.is_of(lexer) {
                return known.facts.clone();
            }
        }
        let facts = lexer.read(text);
        if bucket.missed != hash {
            bucket.missed = hash;
        } else if facts.settings.is_empty() && facts.target.is_none() {
            let (words, nonstandard, shifting) = lexer.manner();
            let manner = Manner { words: words.cloned(), nonstandard, shifting };
            let known = Known::new(text, any_number, manner, facts.clone());
            bucket.known[bucket.next] = Some(Box::new(known));
            bucket.next = (bucket.next + 1) % WAYS;
        }
        facts
    }
}

impl Known {
    fn new(text: &[u8], any_number: bool, manner: Manner, facts: Facts) -> Self {
        let (mut kept, mut numbers) = (Vec::with_capacity(text.len()), Vec::new());
        let mut at = 0;
        while let Some(number) = next_number(text, at).filter(|_| any_number) {
            kept.extend_from_slice(&text[at..number.start]);
            numbers.push(kept.len());
            at = number.end;
        }
        kept.extend_from_slice(&text[at..]);
        Self { text: kept.into(), numbers: numbers.into(), manner, facts }
    }

    /// Whether `text` is this one, but for its numbers.
    fn is(&self, text: &[u8]) -> bool {
        let (mut rest, mut at) = (text, 0);
        for &number in &self.numbers {
            let Some(after) = rest.strip_prefix(&self.text[at..number]) else { return false };
            let digits = after.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            (rest, at) = (&after[digits..], number);
        }
        *rest == self.text[at..]
    }
}

/// The next run of digits from `at` on that is a whole constant.
fn next_number(text: &[u8], mut at: usize) -> Option<Range<usize>> {
    loop {
        let start = at + text.get(at..)?.iter().position(u8::is_ascii_digit)?;
        let digits = text[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let end = start + digits;
        let before = start.checked_sub(1).and_then(|before| text.get(before));
        if before.is_some_and(|b| stands_apart(*b))
            && text.get(end).is_none_or(|b| stands_apart(*b))
        {
            return Some(start..end);
        }
        at = end;
    }
}

/// What no name and no other kind of number has in it.
fn stands_apart(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b'(' | b')' | b';' | b'=' | b'<' | b'>')
}

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

fn step(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(ODD)
}

/// A number for the whole text. Who makes two texts share one makes them slower.
fn mix(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let hash = words.iter().fold(0, |hash, word| step(hash, u64::from_le_bytes(*word)));
    last(hash, rest)
}

/// The same for the text before its first digit.
fn up_to_digit(text: &[u8]) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (words, mut rest) = text.as_chunks::<8>();
    let mut hash = 0;
    for bytes in words {
        let word = u64::from_le_bytes(*bytes);
        // A byte from `0` on reaches the high bit with 0x50 added, one beyond `9` with 0x46.
        let low = word & !HIGH;
        let digits = (low + 0x5050_5050_5050_5050) & !(low + 0x4646_4646_4646_4646) & !word & HIGH;
        if digits != 0 {
            rest = bytes;
            break;
        }
        hash = step(hash, word);
    }
    let before = rest.iter().take_while(|b| !b.is_ascii_digit()).count();
    last(hash, &rest[..before])
}

fn last(hash: u64, rest: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    step(step(hash, u64::from_le_bytes(word)), rest.len() as u64)
}
