//! An error with everything that led to it.

use std::error::Error as StdError;
use std::fmt::Write as _;

/// An error's words and those of its causes, once each. For operators: the private causes are in
/// it.
pub fn told(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            // A String takes whatever is written to it.
            _ = write!(text, ": {words}");
        }
        cause = deeper.source();
    }
    text
}
