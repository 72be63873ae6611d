//! A PostgreSQL that counts: every connection from its dial to its end of file.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::ident::{ServerKey, TenantId};
use crate::pool::{Class, Conn, Slot, Way, lock};

/// The server. It holds closing connections until told to let go, if `is_slow`.
#[derive(Default)]
pub(super) struct Postgres {
    total: AtomicU32,
    pub(super) most: AtomicU32,
    tenants: Mutex<HashMap<String, u32>>,
    pub(super) closing: Mutex<Vec<(Hold, Slot<Fake>)>>,
    is_slow: bool,
}

/// One connection as the server counts it.
pub(super) struct Hold(Arc<Postgres>, String);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.total.fetch_sub(1, Ordering::SeqCst);
        *lock(&self.0.tenants).get_mut(&self.1).expect("counted in") -= 1;
    }
}

impl Postgres {
    /// One whose connections end only when the test says so.
    pub(super) fn slow() -> Arc<Self> {
        Arc::new(Self { is_slow: true, ..Self::default() })
    }

    /// A connection is made: panics beyond `cap` of the tenant or `budget` of all.
    pub(super) fn connect(self: &Arc<Self>, tenant: &str, cap: u32, budget: u32) -> Hold {
        let total = self.total.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(total, Ordering::SeqCst);
        assert!(total <= budget, "{total} connections on a budget of {budget}");
        let mut tenants = lock(&self.tenants);
        let count = tenants.entry(tenant.to_owned()).or_default();
        *count += 1;
        assert!(*count <= cap, "{count} connections of {tenant}, cap {cap}");
        drop(tenants);
        Hold(Arc::clone(self), tenant.to_owned())
    }

    pub(super) fn count(&self, tenant: &str) -> u32 {
        lock(&self.tenants).get(tenant).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> u32 {
        self.total.load(Ordering::SeqCst)
    }
}

/// A connection.
pub(super) struct Fake {
    pub(super) id: u32,
    pub(super) class: Class,
    pub(super) is_alive: bool,
    hold: Option<Hold>,
}

impl Conn for Fake {
    fn class(&self) -> Class {
        self.class
    }

    fn is_alive(&mut self) -> bool {
        self.is_alive
    }

    fn close(mut self, slot: Slot<Self>) {
        let hold = self.hold.take().expect("open");
        let postgres = Arc::clone(&hold.0);
        if postgres.is_slow {
            lock(&postgres.closing).push((hold, slot));
        } else {
            drop(hold);
            drop(slot);
        }
    }
}

pub(super) fn fake(class: Class, hold: Hold) -> Fake {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    Fake { id, class, is_alive: true, hold: Some(hold) }
}

pub(super) fn tenant(n: usize) -> TenantId {
    TenantId::parse(&format!("t{n}")).expect("valid")
}

pub(super) fn server() -> ServerKey {
    ServerKey::new("pg:5432")
}

pub(super) fn way() -> Way {
    Way { server: server(), mark: 1, read: 1 }
}

/// splitmix64: a seed says the whole history.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn from_clock() -> Self {
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| u64::try_from(d.as_nanos() & u128::from(u64::MAX)).unwrap_or(1));
        let seed = std::env::var("PGUSHER_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(seed);
        println!("PGUSHER_SEED={seed}");
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n - 1`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).expect("fits")
    }

    pub(super) fn u32_below(&mut self, n: u32) -> u32 {
        u32::try_from(self.below(n as usize)).expect("fits")
    }
}
