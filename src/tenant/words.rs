//! Words that tenants have in common, kept once.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Words kept. Plans, servers and versions are few; what is not a word of that kind is kept by
/// itself.
const WORDS_MAX: usize = 4_096;

/// The same text; the very same memory as for others that have it, most likely.
pub(super) fn word(text: &str) -> Arc<str> {
    static WORDS: LazyLock<Mutex<HashSet<Arc<str>>>> = LazyLock::new(Mutex::default);
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(text) {
        return Arc::clone(known);
    }
    let new = Arc::<str>::from(text);
    if words.len() >= WORDS_MAX {
        // Those that nobody has any more.
        words.retain(|word| Arc::strong_count(word) > 1);
    }
    if words.len() < WORDS_MAX {
        words.insert(Arc::clone(&new));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_are_one() {
        let one = word("starter, as no other test has it");
        assert!(Arc::ptr_eq(&one, &word("starter, as no other test has it")));
        assert_eq!(&*one, "starter, as no other test has it");
        assert_ne!(one, word("business, as no other test has it"));
    }
}
