//! What this process is at work on, by id.
//!
//! A row of the registry says which process holds it. Whether that process still works on it, only
//! the process knows: a registry that was away for a moment, an answer that was lost or a panic
//! leaves a row that is held, and by nobody's hand. Who is going to hold a row enters its id before
//! the row is written; a row this process holds whose id is not here was given up.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ids. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Underway(Arc<Mutex<HashSet<String>>>);

/// At work on one of them, until dropped.
#[derive(Debug)]
pub(super) struct Hand {
    underway: Underway,
    id: String,
}

impl Underway {
    /// Enters an id that nobody else has.
    pub(super) fn enter(&self, id: &str) -> Hand {
        self.lock().insert(id.to_owned());
        Hand { underway: self.clone(), id: id.to_owned() }
    }

    /// Which of these were given up. Ask after they were read: who holds one by then entered it
    /// before it could be read.
    pub(super) fn given_up(&self, mut held: Vec<String>) -> Vec<String> {
        let underway = self.lock();
        held.retain(|id| !underway.contains(id));
        held
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.underway.lock().remove(&self.id);
    }
}
