//! The server connections of this process by PostgreSQL's id for them.
//!
//! A notification names the backend that sent it. Whoever shares servers was told another id at
//! login, and knows itself and others by that one: here it is looked up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{CancelGate, Endpoint};

/// All of a process, for its one dialler. Locked when a server is dialled or closed, and for a
/// notification.
#[derive(Debug, Default)]
pub(super) struct Backends(Mutex<HashMap<i32, Vec<Arc<CancelGate>>>>);

impl Backends {
    /// Enters a connection that has told its id.
    pub(super) fn enter(self: &Arc<Self>, gate: &Arc<CancelGate>) -> Backend {
        if let Some(key) = gate.key() {
            self.lock().entry(key.pid).or_default().push(Arc::clone(gate));
        }
        Backend { all: Arc::clone(self), gate: Arc::clone(gate) }
    }

    /// The id that backend `pid` of the PostgreSQL at `endpoint` goes by: the one of the client it
    /// served last. Its own, where it is none of ours.
    fn alias(&self, endpoint: &Endpoint, pid: i32) -> i32 {
        let all = self.lock();
        let mut same = all.get(&pid).into_iter().flatten().filter(|gate| {
            let other = gate.endpoint();
            other.port == endpoint.port && other.host == endpoint.host
        });
        same.next().and_then(|gate| gate.alias()).unwrap_or(pid)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Vec<Arc<CancelGate>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among them; left when dropped.
#[derive(Debug)]
pub(super) struct Backend {
    all: Arc<Backends>,
    gate: Arc<CancelGate>,
}

impl Backend {
    /// The id that another backend of the same PostgreSQL goes by.
    pub(super) fn alias_of(&self, pid: i32) -> i32 {
        self.all.alias(self.gate.endpoint(), pid)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let Some(key) = self.gate.key() else { return };
        let mut all = self.all.lock();
        if let Some(gates) = all.get_mut(&key.pid) {
            gates.retain(|gate| !Arc::ptr_eq(gate, &self.gate));
            if gates.is_empty() {
                all.remove(&key.pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_goes_by_the_id_of_whom_it_served_last() {
        let all = Arc::new(Backends::default());
        let (a, b, elsewhere) =
            (CancelGate::of("h", 7), CancelGate::of("h", 8), CancelGate::of("other", 7));
        let (place, listener) = (all.enter(&a), all.enter(&b));
        let _other = all.enter(&elsewhere);
        elsewhere.go_by(1_000);
        assert_eq!(listener.alias_of(7), 7);
        a.go_by(100);
        assert_eq!(listener.alias_of(7), 100);
        a.go_by(101);
        assert_eq!((listener.alias_of(7), listener.alias_of(9)), (101, 9));
        drop(place);
        assert_eq!(listener.alias_of(7), 7);
        assert_eq!(all.lock().len(), 2);
    }
}
