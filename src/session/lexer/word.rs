//! A name that may come in pieces.

use std::fmt;

/// `NAMEDATALEN - 1`: PostgreSQL cuts longer names.
pub const NAME_BYTES_MAX: usize = 63;

/// The first bytes of a word, and how long it is in all.
#[derive(Clone)]
pub(super) struct Word {
    // One byte more than a name may have, to cut between two characters.
    bytes: [u8; NAME_BYTES_MAX + 1],
    len: u32,
}

impl Default for Word {
    fn default() -> Self {
        Self { bytes: [0; NAME_BYTES_MAX + 1], len: 0 }
    }
}

impl Word {
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        let have = self.kept();
        let take = piece.len().min(self.bytes.len() - have);
        self.bytes[have..have + take].copy_from_slice(&piece[..take]);
        self.len = self.len.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All its bytes, kept or not.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The whole word, unless it is too long to be kept.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        let kept = self.kept();
        (self.len as usize <= self.bytes.len()).then(|| &self.bytes[..kept])
    }

    /// The word as PostgreSQL would cut it.
    pub(super) fn name(&self) -> &[u8] {
        clip(&self.bytes[..self.kept()])
    }

    fn kept(&self) -> usize {
        (self.len as usize).min(self.bytes.len())
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name().escape_ascii().to_string())
    }
}

/// `word` cut to 63 bytes, between two UTF-8 characters.
pub(super) fn clip(word: &[u8]) -> &[u8] {
    let mut end = NAME_BYTES_MAX;
    if word.len() <= end {
        return word;
    }
    while end > 0 && word[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    &word[..end]
}
