//! What the statements of a lease do, as their texts have it.

use super::Upstream;
use crate::session::lexer::Facts;

impl Upstream {
    pub(super) fn note(&mut self, facts: &Facts) {
        self.hints |= facts.hints.without(facts.latent);
        self.latent |= facts.latent;
        if facts.runs {
            self.runs = true;
            self.hints |= self.always;
        }
        for name in &facts.settings {
            if !self.settings.contains(name) {
                self.settings.push(name.clone());
            }
        }
    }
}
