//! Trials that end while their tenants are at work: nobody writes the registry then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Built;
use super::changes::look_from;
use crate::ident::TenantId;
use crate::tenant::Permits;

/// How often the clock is compared with the tenants that are active here.
const STEP: Duration = Duration::from_millis(500);

/// Looks at a tenant again when time alone has changed what it may do, for ever.
pub(super) async fn watch(built: Arc<Built>) {
    let mut known: HashMap<TenantId, Permits> = HashMap::new();
    let mut step = tokio::time::interval(STEP);
    step.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        step.tick().await;
        let mut seen = HashMap::with_capacity(known.len());
        for room in built.pools.rooms() {
            let before = known.get(&room.tenant).copied();
            // What is not remembered is read again, once for all who ask.
            let Ok(tenant) = built.directory.tenant(&room.tenant).await else {
                seen.extend(before.map(|before| (room.tenant.clone(), before)));
                continue;
            };
            let permits = tenant.permits(SystemTime::now());
            // Who has come since may have come just before the end.
            if before.unwrap_or(Permits::Allow) != permits
                && let Err(fault) = look_from(&built, &room.tenant, Some(tenant)).await
            {
                fault.log();
                built.missed.notify_one();
            }
            seen.insert(room.tenant.clone(), permits);
        }
        known = seen;
    }
}
