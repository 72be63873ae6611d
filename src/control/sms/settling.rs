//! Tenants whose parked receipts are looked at again without being asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Notify;

use crate::ident::TenantId;

/// How long after a receipt was parked it is looked at: the product usually knows by then.
const SOON: Duration = Duration::from_secs(5);

/// How long after that once more, when no other was parked meanwhile.
const LATER: Duration = Duration::from_secs(60);

/// Tenants waited for at once; for the others the next webhook does it.
const TENANTS_MAX: usize = 256;

/// The tenants, and how to tell whoever waits for one that another receipt was parked.
#[derive(Default)]
pub(super) struct Settling(Mutex<HashMap<TenantId, Arc<Notify>>>);

impl Settling {
    /// Has a tenant looked at in a while: by one task, however many of its receipts are parked.
    /// Best effort: whatever comes in for the tenant does the same.
    pub(super) fn later<Look>(
        self: &Arc<Self>,
        tenant: &TenantId,
        look: impl Fn() -> Look + Send + 'static,
    ) where
        Look: Future<Output = ()> + Send,
    {
        let Some(parked) = self.begin(tenant) else { return };
        let (own, tenant) = (Arc::clone(self), tenant.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SOON).await;
                look().await;
                if tokio::time::timeout(LATER, parked.notified()).await.is_ok() {
                    continue;
                }
                look().await;
                if own.end(&tenant, &parked) {
                    return;
                }
            }
        });
    }

    /// `None` when somebody is at it already, who is told, or when there are too many.
    fn begin(&self, tenant: &TenantId) -> Option<Arc<Notify>> {
        let mut tenants = self.tenants();
        if let Some(parked) = tenants.get(tenant) {
            parked.notify_one();
            return None;
        }
        (tenants.len() < TENANTS_MAX)
            .then(|| Arc::clone(tenants.entry(tenant.clone()).or_default()))
    }

    /// Whether it is over: not when another was parked a moment ago.
    fn end(&self, tenant: &TenantId, parked: &Notify) -> bool {
        let mut tenants = self.tenants();
        if parked.notified().now_or_never().is_some() {
            return false;
        }
        tenants.remove(tenant);
        true
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Looks that are counted.
    fn park(settling: &Arc<Settling>, tenant: &TenantId) -> Arc<AtomicUsize> {
        let looks = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&looks);
        settling.later(tenant, move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        });
        looks
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn many_receipts_of_one_tenant_are_one_task_and_leave_room_for_others() {
        let settling = Arc::new(Settling::default());
        let (a, b) = (TenantId::parse("a").expect("id"), TenantId::parse("b").expect("id"));
        let looks = park(&settling, &a);
        let more: Vec<_> = (0..TENANTS_MAX).map(|_| park(&settling, &a)).collect();
        let other = park(&settling, &b);
        let seen = |looks: &AtomicUsize| looks.load(Ordering::Relaxed);
        pass(6).await;
        assert_eq!((seen(&looks), seen(&other)), (1, 1));
        // The first five seconds of what was parked behind the first, and a minute after that.
        pass(70).await;
        assert_eq!((seen(&looks), seen(&other)), (3, 2));
        assert!(more.iter().all(|looks| seen(looks) == 0));
        assert!(settling.tenants().is_empty());
        let again = park(&settling, &a);
        pass(6).await;
        assert_eq!((seen(&looks), seen(&again)), (3, 1));
    }
}
