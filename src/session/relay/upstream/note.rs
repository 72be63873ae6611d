//! What the statements of a lease do, as their texts have it.

use super::Upstream;
use crate::session::lexer::{Facts, Hints};

/// So many custom settings are known by name. A transaction that names more is asked about as one
/// whose settings have computed names.
pub(super) const SETTINGS_MAX: usize = 256;

impl Upstream {
    pub(super) fn note(&mut self, facts: &Facts) {
        self.hints |= facts.hints.without(facts.latent);
        self.latent |= facts.latent;
        if facts.runs {
            self.runs = true;
            self.hints |= self.always;
        }
        for name in &facts.settings {
            if self.settings.contains(name) {
                continue;
            }
            if self.settings.len() == SETTINGS_MAX {
                self.hints |= Hints::UNSURE | Hints::COMPUTED;
                return;
            }
            self.settings.push(name.clone());
        }
    }
}
