//! Names that mean more than they say: what they stand for touches session state out of sight.

use std::collections::HashMap;

use super::Hints;
use super::word::NAME_BYTES_MAX;

/// Names of functions, and of relations that call them by triggers, views and defaults, each with
/// what a statement that spells it has to be taken for. Case does not count: of two names that
/// differ by it, both are meant.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Words {
    names: HashMap<Box<[u8]>, Hints>,
    /// First letter and length of those there are: most words of a text are passed over by them.
    shapes: [u64; 4],
}

/// Which bit of which word of [`Words::shapes`] stands for a name.
fn shape(name: &[u8]) -> (usize, u64) {
    let first = name.first().map_or(0, u8::to_ascii_lowercase);
    let bit = usize::from(first).wrapping_add(name.len().wrapping_mul(37)) % 256;
    (bit / 64, 1 << (bit % 64))
}

impl Words {
    /// A statement with `name` in it earns `hints`.
    pub fn insert(&mut self, name: &str, hints: Hints) {
        let (at, bit) = shape(name.as_bytes());
        self.shapes[at] |= bit;
        let entry = self.names.entry(name.to_ascii_lowercase().into_bytes().into()).or_default();
        *entry |= hints;
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// What a statement that spells `name` earns.
    pub fn of(&self, name: &str) -> Hints {
        self.hints(name.as_bytes())
    }

    /// What the word `text` earns.
    pub(super) fn hints(&self, text: &[u8]) -> Hints {
        let (at, bit) = shape(text);
        if self.shapes[at] & bit == 0 {
            return Hints::NONE;
        }
        let mut folded = [0; NAME_BYTES_MAX];
        let Some(folded) = folded.get_mut(..text.len()) else { return Hints::NONE };
        folded.copy_from_slice(text);
        folded.make_ascii_lowercase();
        self.names.get(&*folded).copied().unwrap_or_default()
    }
}
