//! The prepared statements of one client, by the names it gave them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::server::{Prepared, StatementId};

type Named = HashMap<Box<[u8]>, Arc<Prepared>>;

/// What a client has prepared. Empty for most clients, and then two words.
#[derive(Debug, Default)]
pub(super) struct ClientStatements {
    named: Option<Box<Named>>,
    unnamed: Option<Box<[u8]>>,
}

impl ClientStatements {
    /// The statement of that name.
    pub(super) fn named(&self, name: &[u8]) -> Option<&Arc<Prepared>> {
        self.named.as_ref()?.get(name)
    }

    /// How many named ones there are.
    pub(super) fn len(&self) -> usize {
        self.named.as_ref().map_or(0, |map| map.len())
    }

    /// Whether the client has a statement of that id.
    pub(super) fn has(&self, id: StatementId) -> bool {
        self.named.as_ref().is_some_and(|map| map.values().any(|p| p.id == id))
    }

    /// Takes a named statement in.
    pub(super) fn insert(&mut self, name: &[u8], prepared: Arc<Prepared>) {
        self.named.get_or_insert_default().insert(name.into(), prepared);
    }

    /// Forgets a named statement.
    pub(super) fn remove(&mut self, name: &[u8]) {
        if let Some(map) = &mut self.named {
            map.remove(name);
            if map.is_empty() {
                self.named = None;
            }
        }
    }

    /// Forgets every named statement.
    pub(super) fn clear(&mut self) {
        self.named = None;
    }

    /// The client's names for the statement the server knows by `server_name`.
    pub(super) fn name_of(&self, server_name: &[u8]) -> Option<&[u8]> {
        let map = self.named.as_ref()?;
        let found = map.iter().find(|(_, p)| p.id.server_name() == server_name)?;
        Some(found.0)
    }

    /// Remembers the body of the last unnamed Parse, so that it can be bound in a later
    /// transaction on another server. Allocates only when it changes.
    pub(super) fn remember_unnamed(&mut self, body: &[u8]) {
        if self.unnamed.as_deref() != Some(body) {
            self.unnamed = Some(body.into());
        }
    }

    /// Forgets the unnamed statement.
    pub(super) fn forget_unnamed(&mut self) {
        self.unnamed = None;
    }

    /// The body of the last unnamed Parse.
    pub(super) fn unnamed(&self) -> Option<&[u8]> {
        self.unnamed.as_deref()
    }
}
