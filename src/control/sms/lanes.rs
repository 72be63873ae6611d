//! Places for webhooks at work: so many in all, so many of one tenant, so many that take long.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::IntakeSettings;
use crate::ident::TenantId;

/// The places.
pub(super) struct Lanes {
    all: Arc<Semaphore>,
    /// What takes long stands aside here: tenants that hang hold no place the others wait for.
    aside: Arc<Semaphore>,
    each: usize,
    /// How long work stands in the way.
    soon: Duration,
    finish: Duration,
    tenants: Mutex<HashMap<TenantId, Weak<Semaphore>>>,
}

/// A place held. Dropping it makes room.
pub(super) struct Place {
    _tenant: OwnedSemaphorePermit,
    among: OwnedSemaphorePermit,
}

/// The part of the deadline after which work stands aside: who waited for its place meanwhile still
/// has the rest.
const SOON_PART: u32 = 4;

/// Lanes nobody uses are cleared away when there are more than this many.
const TIDY_AT: usize = 1024;

impl Lanes {
    pub(super) fn new(settings: &IntakeSettings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.in_flight_max.max(1))),
            aside: Arc::new(Semaphore::new(settings.in_flight_max.max(1))),
            soon: (settings.deadline.get() / SOON_PART).min(settings.finish_timeout.get()),
            finish: settings.finish_timeout.get(),
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
        Some(Place { _tenant: tenant, among: all })
    }

    /// Does work in a place. `None`: it was dropped unfinished, for it took too long, or long
    /// while as many others did.
    pub(super) async fn work<T>(
        &self,
        mut place: Place,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        if let Ok(done) = tokio::time::timeout(self.soon, &mut work).await {
            return Some(done);
        }
        place.among = Arc::clone(&self.aside).try_acquire_owned().ok()?;
        tokio::time::timeout(self.finish.saturating_sub(self.soon), work).await.ok()
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
    async fn tenants_that_hang_leave_their_places_to_others_within_the_deadline() {
        let settings = IntakeSettings { in_flight_max: 4, ..Default::default() };
        let (deadline, finish) = (settings.deadline.get(), settings.finish_timeout.get());
        let lanes = Arc::new(Lanes::new(&settings));
        let hang = |id: &str| {
            let (lanes, id) = (Arc::clone(&lanes), tenant(id));
            tokio::spawn(async move {
                let place = lanes.enter(&id).await.expect("a place");
                lanes.work(place, std::future::pending::<()>()).await
            })
        };
        let begun = tokio::time::Instant::now();
        let first: Vec<_> = ["a", "a", "b", "b"].map(hang).into();
        let more: Vec<_> = ["c", "d", "e", "f", "g"].map(hang).into();
        for _ in 0..2 {
            let place = tokio::time::timeout(deadline, lanes.enter(&tenant("well"))).await;
            let place = place.expect("within the deadline").expect("a place");
            assert_eq!(lanes.work(place, std::future::ready(1)).await, Some(1));
        }
        // As many as may take long do so to the end; what comes behind them is dropped.
        for task in more {
            assert_eq!(task.await.expect("ended"), None);
        }
        assert!(begun.elapsed() < deadline, "{:?}", begun.elapsed());
        for task in first {
            assert_eq!(task.await.expect("ended"), None);
        }
        assert_eq!(begun.elapsed().as_secs(), finish.as_secs());
        assert_eq!((lanes.all.available_permits(), lanes.aside.available_permits()), (4, 4));
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
