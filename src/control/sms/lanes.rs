//! Places for webhooks at work: so many in all, so many of one tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::IntakeSettings;
use crate::ident::TenantId;

/// The places.
pub(super) struct Lanes {
    all: Arc<Semaphore>,
    each: usize,
    tenants: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

/// A place held. Dropping it makes room.
pub(super) struct Place {
    _tenant: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Lanes nobody uses are cleared away when there are more than this many.
const TIDY_AT: usize = 1024;

impl Lanes {
    pub(super) fn new(settings: &IntakeSettings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.in_flight_max.max(1))),
            each: settings.tenant_in_flight_max.max(1),
            tenants: Mutex::default(),
        }
    }

    /// Waits for a place; the tenant's own first, so that who waits for it takes up no other's.
    /// `None` when the lanes are closed, which they never are.
    pub(super) async fn enter(&self, tenant: &TenantId) -> Option<Place> {
        let lane = self.lane(tenant);
        let tenant = lane.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _tenant: tenant, _all: all })
    }

    fn lane(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = tenants.get(tenant).and_then(Weak::upgrade) {
            return lane;
        }
        if tenants.len() >= TIDY_AT {
            tenants.retain(|_, lane| lane.strong_count() > 0);
        }
        let lane = Arc::new(Semaphore::new(self.each));
        tenants.insert(tenant.clone(), Arc::downgrade(&lane));
        lane
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).expect("id")
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_hangs_holds_up_no_other() {
        let settings =
            IntakeSettings { in_flight_max: 3, tenant_in_flight_max: 2, ..Default::default() };
        let lanes = Lanes::new(&settings);
        let (a, b) = (tenant("a"), tenant("b"));
        let soon = Duration::from_millis(1);
        let first = lanes.enter(&a).await;
        let second = lanes.enter(&a).await;
        assert!(tokio::time::timeout(soon, lanes.enter(&a)).await.is_err());
        let other = lanes.enter(&b).await;
        assert!(other.is_some());
        assert!(tokio::time::timeout(soon, lanes.enter(&b)).await.is_err(), "three in all");
        drop((first, second));
        assert!(tokio::time::timeout(soon, lanes.enter(&b)).await.is_ok());
    }
}
