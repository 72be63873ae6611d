//! Who asks for a server, and where it had one last.

use std::sync::atomic::{AtomicU64, Ordering};

/// A session as its room knows it: by a number nobody else has, and by the place on the shelf
/// where its last server lies, so that it finds that one again at the cost of one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub(super) session: u64,
    pub(super) place: Option<u32>,
    /// Its last server is held for it.
    pub(super) is_held: bool,
    /// What lies there was another's last: it was introduced to it, and has not had it yet.
    pub(super) is_introduced: bool,
    /// It asks for what only its last server can tell.
    pub(super) returns: bool,
}

impl Asker {
    /// Nobody who comes again.
    pub const STRANGER: Self =
        Self { session: 0, place: None, is_held: false, is_introduced: false, returns: false };

    /// A new session.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { session: NEXT.fetch_add(1, Ordering::Relaxed), ..Self::STRANGER }
    }

    /// Whether its last server was put aside for it when it gave it back.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Says whether it asks for what only its last server can tell: then it may have that one,
    /// held for it, before those who wait in line.
    pub fn set_returns(&mut self, returns: bool) {
        self.returns = returns;
    }

    pub(super) fn is_stranger(&self) -> bool {
        self.session == 0
    }
}

impl Default for Asker {
    fn default() -> Self {
        Self::new()
    }
}
