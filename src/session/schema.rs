//! What prepared statements of a tenant are read under: its schema as it stands, and the
//! session's `search_path`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use crate::ident::TenantId;
use crate::server::Settings;

/// The schemas of tenants with sessions.
#[derive(Debug, Default)]
pub(super) struct Schemas(Mutex<HashMap<TenantId, Weak<AtomicU64>>>);

/// One tenant's schema, as often as it was seen to change. Shared by its sessions.
#[derive(Debug, Clone)]
pub(super) struct Schema(Arc<AtomicU64>);

/// Entries without a session are swept when there are this many more than twice those with one.
const SWEEP_AT: usize = 1_024;

impl Schemas {
    /// The schema of a tenant.
    pub(super) fn of(&self, tenant: &TenantId) -> Schema {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = known.get(tenant).and_then(Weak::upgrade) {
            return Schema(schema);
        }
        if known.len() >= SWEEP_AT && known.len() == known.capacity() {
            known.retain(|_, schema| schema.strong_count() > 0);
        }
        // Numbers are never used twice, so that a schema that was forgotten does not come back.
        let schema = Arc::new(AtomicU64::new(fresh()));
        known.insert(tenant.clone(), Arc::downgrade(&schema));
        Schema(schema)
    }
}

fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Schema {
    /// A command changed it.
    pub(super) fn migrated(&self) {
        self.0.store(fresh(), Ordering::Release);
    }

    /// One number for the schema and for the settings that decide what a name means.
    pub(super) fn salt(&self, settings: &Settings) -> u64 {
        static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let version = self.0.load(Ordering::Acquire);
        let mut naming = settings.iter().filter(|(n, _)| matches!(*n, "search_path" | "role"));
        let first = naming.next();
        // Most sessions set neither: nothing to hash.
        if first.is_none() { version } else { HASH.hash_one((version, first, naming.next())) }
    }
}
