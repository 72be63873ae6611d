//! Suspended tenants' logins, shut though nobody heard when they were suspended: no process ran then,
//! or none listened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Built;
use super::changes::look;
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::Tenant;

/// Between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Tenants asked about at once.
const PAGE: u32 = 500;

/// Whenever changes were missed, looks at every suspended tenant with an open login, until the registry
/// and every server could be asked. For ever.
pub(super) async fn keep(built: Arc<Built>, missed: Arc<Notify>) {
    loop {
        missed.notified().await;
        let mut pause = PAUSE_MIN;
        while let Err(fault) = shut_all(&built).await {
            tracing::warn!(%fault, cause = fault.cause(), "whether suspended tenants' logins are shut is not known yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// The first failure is told when every other server was asked.
async fn shut_all(built: &Arc<Built>) -> Result<(), Fault> {
    let (mut after, mut away, mut failed) = (String::new(), BTreeSet::new(), None);
    loop {
        let page = built.registry.suspended(&after, PAGE).await?;
        for (name, tenants) in by_server(page.tenants) {
            let Some(server) = built.servers.get(&name) else { continue };
            if away.contains(&name) {
                continue;
            }
            match server.with_open_logins(&tenants).await {
                Ok(open) => {
                    for id in open {
                        look(built, &id).await?;
                    }
                }
                Err(fault) => {
                    away.insert(name);
                    failed = failed.or(Some(fault));
                }
            }
        }
        let Some(next) = page.next else { break };
        after = next;
    }
    failed.map_or(Ok(()), Err)
}

/// An adopted tenant's logins are nobody's to shut.
fn by_server(tenants: Vec<Tenant>) -> BTreeMap<Arc<str>, Vec<TenantId>> {
    let mut servers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for tenant in tenants.into_iter().filter(|tenant| !tenant.adopted) {
        servers.entry(tenant.server).or_default().push(tenant.id);
    }
    servers
}
