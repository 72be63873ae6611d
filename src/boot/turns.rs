//! One at a time for each tenant: what is wanted while somebody is at it is done once, behind it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ident::TenantId;

/// Who is at work, and what is wanted of it next. Only the latest wish is kept: it has seen all that
/// the others had. As large as the number of tenants that somebody works on.
#[derive(Debug)]
pub(super) struct Turns<W>(Arc<Mutex<HashMap<TenantId, Option<W>>>>);

/// The right to work on a tenant. Given up when dropped.
#[derive(Debug)]
pub(super) struct Turn<W> {
    turns: Turns<W>,
    /// `None` when it is over.
    id: Option<TenantId>,
}

impl<W> Default for Turns<W> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<W> Turns<W> {
    /// The turn and what to do in it. `None`: somebody has it, and will do that before giving it up.
    pub(super) fn take(&self, id: &TenantId, wish: W) -> Option<(Turn<W>, W)> {
        let mut turns = self.lock();
        if let Some(next) = turns.get_mut(id) {
            *next = Some(wish);
            return None;
        }
        turns.insert(id.clone(), None);
        drop(turns);
        Some((self.turn(id), wish))
    }

    /// The turn, if nobody has it.
    pub(super) fn take_free(&self, id: &TenantId) -> Option<Turn<W>> {
        let mut turns = self.lock();
        if turns.contains_key(id) {
            return None;
        }
        turns.insert(id.clone(), None);
        drop(turns);
        Some(self.turn(id))
    }

    fn turn(&self, id: &TenantId) -> Turn<W> {
        Turn { turns: Self(Arc::clone(&self.0)), id: Some(id.clone()) }
    }

    /// The next wish; without one nobody has the turn any more.
    fn next(&self, id: &TenantId) -> Option<W> {
        let mut turns = self.lock();
        let wish = turns.get_mut(id).and_then(Option::take);
        if wish.is_none() {
            turns.remove(id);
            if turns.capacity() > 64 && turns.len() * 4 < turns.capacity() {
                turns.shrink_to_fit();
            }
        }
        wish
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Option<W>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Turn<W> {
    /// What was wanted meanwhile, instead of what is being tried.
    pub(super) fn wish(&self) -> Option<W> {
        self.turns.lock().get_mut(self.id.as_ref()?).and_then(Option::take)
    }

    /// What was wanted meanwhile, to be done in the same turn; without it the turn is over.
    pub(super) fn next(mut self) -> Option<(Self, W)> {
        let id = self.id.take()?;
        let wish = self.turns.next(&id)?;
        self.id = Some(id);
        Some((self, wish))
    }
}

impl<W> Drop for Turn<W> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.turns.lock().remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_works_and_the_latest_wish_of_the_others_is_next() {
        let turns = Turns::default();
        let (a, b) = (TenantId::parse("a").expect("valid"), TenantId::parse("b").expect("valid"));
        let (turn, first) = turns.take(&a, 1).expect("nobody is there");
        assert_eq!(first, 1);
        assert!(turns.take(&a, 2).is_none() && turns.take(&a, 3).is_none());
        let other = turns.take(&b, 9).expect("another tenant");
        let (turn, next) = turn.next().expect("wanted again");
        assert_eq!(next, 3);
        assert!(turn.next().is_none());
        let (turn, again) = turns.take(&a, 4).expect("it is over");
        assert_eq!(again, 4);
        drop((turn, other));
        assert!(turns.lock().is_empty());
    }
}
