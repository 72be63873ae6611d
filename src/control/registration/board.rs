//! Where the registrations under way in this process say how far they are, for whoever watches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Progress, Step};

/// The registrations under way here; as many as may be under way at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Mutex<HashMap<String, watch::Sender<Progress>>>>);

/// One registration's place on the board, until dropped.
#[derive(Debug)]
pub(super) struct Posted {
    board: Board,
    id: String,
}

impl Board {
    /// Puts a registration on the board.
    pub(super) fn post(&self, id: &str, was_warm: bool) -> Posted {
        let progress = Progress { reached: Step::Claimed, was_warm, failure: None };
        self.all().insert(id.to_owned(), watch::Sender::new(progress));
        Posted { board: self.clone(), id: id.to_owned() }
    }

    /// Watches one, if it is under way here.
    pub(super) fn watch(&self, id: &str) -> Option<watch::Receiver<Progress>> {
        self.all().get(id).map(watch::Sender::subscribe)
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Sender<Progress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Posted {
    /// Says how far it is.
    pub(super) fn reached(&self, step: Step, was_warm: bool) {
        if let Some(sender) = self.board.all().get(&self.id) {
            sender.send_replace(Progress { reached: step, was_warm, failure: None });
        }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        // Those who watch see the end of it, and ask the registry how it ended.
        self.board.all().remove(&self.id);
    }
}
