//! The dotted settings that quoted code names: `SET app.user`, `set_config('app.user', …)`.

use super::setting::{NAME_BYTES_MAX, NAMES_MAX};

/// Follows the words and symbols of a body. What is quoted and has a dot in it may be a setting's
/// name; of one that is not, PostgreSQL will just say that it has no value.
#[derive(Debug, Default)]
pub(super) struct Dotted {
    /// The name at hand.
    name: Vec<u8>,
    /// It goes on with the next word.
    dot: bool,
    /// The next word may begin one.
    lead: bool,
    found: Vec<String>,
    /// There are more, or longer ones, than are kept.
    over: bool,
}

impl Dotted {
    /// A word; `after_set` when it stands behind SET or RESET.
    pub(super) fn word(&mut self, text: &[u8], after_set: bool) {
        if self.dot {
            self.dot = false;
            self.name.push(b'.');
        } else {
            self.end();
            if !self.lead && !after_set {
                return;
            }
        }
        self.lead = false;
        if self.name.len() + text.len() > NAME_BYTES_MAX {
            self.name.clear();
            self.over = true;
            return;
        }
        self.name.extend_from_slice(text);
    }

    /// Any other byte.
    pub(super) fn symbol(&mut self, symbol: u8, after_set: bool) {
        match symbol {
            b'.' if !self.name.is_empty() => self.dot = true,
            // Quoted part by part.
            b'"' => self.lead |= after_set,
            _ => {
                self.end();
                self.lead = symbol == b'\'';
            }
        }
    }

    fn end(&mut self) {
        if self.name.contains(&b'.')
            && let Ok(name) = std::str::from_utf8(&self.name)
        {
            let name = name.to_ascii_lowercase();
            if !self.found.contains(&name) {
                if self.found.len() < NAMES_MAX {
                    self.found.push(name);
                } else {
                    self.over = true;
                }
            }
        }
        self.name.clear();
        self.dot = false;
    }

    /// The names, and whether these are all.
    pub(super) fn take(&mut self) -> (Vec<String>, bool) {
        self.end();
        let all = !self.over;
        let found = std::mem::take(&mut self.found);
        *self = Self::default();
        (found, all)
    }
}
