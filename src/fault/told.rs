//! An error with everything that led to it.

use std::error::Error as StdError;

/// An error's words and those of its causes, once each. For operators: the private causes are in
/// it.
pub fn told(error: &(dyn StdError + 'static)) -> String {
    told_by(error, ToString::to_string)
}

/// As [`told`], each of them in the words that `words` has for it.
pub(super) fn told_by(
    error: &(dyn StdError + 'static),
    words: impl Fn(&(dyn StdError + 'static)) -> String,
) -> String {
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = words(deeper);
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = deeper.source();
    }
    text
}
