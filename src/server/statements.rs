//! What one server connection has prepared.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Described, StatementId};

/// A moment, later than every one before: statements are told by it to be older or younger than
/// what a client asked for.
pub fn moment() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// When a statement was used and made, and what it has been described as since.
#[derive(Debug)]
struct Known {
    used: u64,
    made: u64,
    described: Option<Described>,
}

/// What one server connection has prepared, oldest use first to go.
#[derive(Debug, Default)]
pub struct ServerStatements {
    known: HashMap<StatementId, Known>,
    tick: u64,
    /// Whether the unnamed statement is the present client's.
    unnamed: bool,
    /// Statements to be closed when something else is sent.
    doomed: HashSet<StatementId>,
}

impl ServerStatements {
    /// Whether it is prepared; counts as a use.
    pub fn touch(&mut self, id: StatementId) -> bool {
        self.tick += 1;
        let tick = self.tick;
        self.known.get_mut(&id).map(|known| known.used = tick).is_some()
    }

    /// It is being prepared. Returns the statement that has to be closed to stay within `max`.
    pub fn insert(&mut self, id: StatementId, max: usize) -> Option<StatementId> {
        self.tick += 1;
        let known = Known { used: self.tick, made: moment(), described: None };
        self.known.insert(id, known);
        self.doomed.remove(&id);
        if self.known.len() <= max.max(1) {
            return None;
        }
        let oldest = self.known.iter().min_by_key(|(_, known)| known.used).map(|(id, _)| *id)?;
        self.known.remove(&oldest);
        Some(oldest)
    }

    /// Forgets it if it was made before that [`moment`]: it is made anew when it is next used.
    pub fn forget_older(&mut self, id: StatementId, moment: u64) {
        if self.known.get(&id).is_some_and(|known| known.made < moment) {
            self.known.remove(&id);
        }
    }

    /// What is there under its name was made just now.
    pub fn is_made_anew(&mut self, id: StatementId) {
        if let Some(known) = self.known.get_mut(&id) {
            (known.made, known.described) = (moment(), None);
        }
    }

    /// It is described so, as was asked at that [`moment`]. That holds for as long as it is there:
    /// PostgreSQL refuses it when it changes.
    pub fn describe(&mut self, id: StatementId, asked: u64, described: Described) {
        if let Some(known) = self.known.get_mut(&id).filter(|known| known.made < asked) {
            known.described = Some(described);
        }
    }

    /// What it has been described as here, if it has been.
    pub fn described(&self, id: StatementId) -> Option<Described> {
        self.known.get(&id)?.described
    }

    /// It has to be closed with the next messages that are sent, be it there or not.
    pub fn forget_later(&mut self, id: StatementId) {
        self.known.remove(&id);
        self.doomed.insert(id);
    }

    /// It was to be closed, and was not. What was made since stays.
    pub fn was_not_closed(&mut self, id: StatementId) {
        if !self.known.contains_key(&id) {
            self.doomed.insert(id);
        }
    }

    /// It is not known any more what is there: each has to be closed.
    pub fn doubt(&mut self) {
        self.doomed.extend(self.known.drain().map(|(id, _)| id));
    }

    /// Whether some have to be closed.
    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Whether there is none on the server, not even one that has to be closed.
    pub fn is_clear(&self) -> bool {
        self.known.is_empty() && self.doomed.is_empty()
    }

    /// Those that have to be closed: whoever takes them does that.
    pub fn take_doomed(&mut self) -> HashSet<StatementId> {
        std::mem::take(&mut self.doomed)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = StatementId> + '_ {
        self.known.keys().copied()
    }

    /// It is gone, or was never made.
    pub fn remove(&mut self, id: StatementId) {
        self.known.remove(&id);
    }

    /// All are gone.
    pub fn clear(&mut self) {
        self.known.clear();
        self.doomed.clear();
    }

    /// All but these are gone.
    pub fn clear_but(&mut self, made: &HashSet<StatementId>) {
        self.known.retain(|id, _| made.contains(id));
        self.doomed.clear();
    }

    /// The present client has parsed its unnamed statement here.
    pub fn unnamed_is_here(&mut self) {
        self.unnamed = true;
    }

    /// Another client comes: the unnamed statement is not its own.
    pub fn unnamed_is_gone(&mut self) {
        self.unnamed = false;
    }

    /// Whether the unnamed statement is the present client's.
    pub fn has_unnamed(&self) -> bool {
        self.unnamed
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Prepared;

    #[test]
    fn the_least_used_statement_makes_room() {
        let ids: Vec<_> = (0..3u8).map(|n| Prepared::new(&[n], 0, 0).id).collect();
        let mut statements = ServerStatements::default();
        assert_eq!(statements.insert(ids[0], 2), None);
        assert_eq!(statements.insert(ids[1], 2), None);
        assert!(statements.touch(ids[0]));
        assert_eq!(statements.insert(ids[2], 2), Some(ids[1]));
        assert!(!statements.touch(ids[1]));
    }

    #[test]
    fn what_is_in_doubt_is_there_until_it_is_closed_or_made_anew() {
        let ids: Vec<_> = (0..3u8).map(|n| Prepared::new(&[n], 0, 0).id).collect();
        let mut statements = ServerStatements::default();
        for id in &ids {
            assert_eq!(statements.insert(*id, 9), None);
        }
        statements.doubt();
        assert!(statements.is_empty() && !statements.is_clear() && !statements.touch(ids[0]));
        assert_eq!(statements.insert(ids[0], 9), None);
        assert_eq!(statements.take_doomed(), HashSet::from([ids[1], ids[2]]));
        for id in &ids[..2] {
            statements.was_not_closed(*id);
        }
        assert_eq!(statements.take_doomed(), HashSet::from([ids[1]]));
        assert!(statements.touch(ids[0]) && !statements.is_clear());
        statements.remove(ids[0]);
        assert!(statements.is_clear());
    }
}
