//! What a tenant's row says is told to its server: its CONNECTION LIMIT, and whether it may log in.

use std::sync::Arc;
use std::time::Duration;

use super::Built;
use super::turns::Turn;
use crate::control::fleet::{apply_tenant, hold_cap};
use crate::fault::{Fault, SqlState};
use crate::ident::TenantId;
use crate::pool::Holder;
use crate::tenant::{Status, Tenant};

/// Between two tries; longer where nobody waits for it.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const PAUSE_MAX_UNUSED: Duration = Duration::from_secs(30);

/// The turn to tell one tenant's server.
pub(super) struct Applying {
    turn: Turn<Arc<Tenant>>,
    id: TenantId,
    /// `None`: its cap only, as it is known when it is told.
    row: Option<Arc<Tenant>>,
}

impl Applying {
    /// To tell what a row says. `None`: somebody has the turn, and will tell it.
    pub(super) fn of(built: &Built, tenant: &Arc<Tenant>) -> Option<Self> {
        let (turn, row) = built.applied.take(&tenant.id, Arc::clone(tenant))?;
        Some(Self { turn, id: tenant.id.clone(), row: Some(row) })
    }

    /// To have the cap held. `None`: somebody has the turn, and does that too.
    pub(super) fn cap(built: &Built, id: &TenantId) -> Option<Self> {
        Some(Self { turn: built.applied.take_free(id)?, id: id.clone(), row: None })
    }

    /// Tells it, in a task of its own: nobody waits for a server that does not answer. Again and again
    /// for as long as that fails and the tenant has a room or is suspended: until it is told, every
    /// process keeps to its part of the cap, which may be none, and a suspended tenant's logins are open
    /// past pgusher.
    pub(super) fn apply(self, built: &Arc<Built>) {
        let built = Arc::clone(built);
        tokio::spawn(async move {
            if let Some(failed) = self.tell(&built).await {
                failed.again(built).await;
            }
        });
    }

    async fn again(mut self, built: Arc<Built>) {
        let mut pause = PAUSE_MIN;
        loop {
            tokio::time::sleep(pause).await;
            let is_used = built.pools.room(&self.id).is_some();
            pause = (pause * 2).min(if is_used { PAUSE_MAX } else { PAUSE_MAX_UNUSED });
            self.row = self.turn.wish().or(self.row);
            // That it was resumed meanwhile is not always heard.
            if self.is_suspended()
                && let Ok(now) = built.registry.tenant(&self.id).await
            {
                let Some(now) = now else { return };
                self.row = Some(Arc::new(now));
            }
            match self.tell(&built).await {
                Some(failed) => self = failed,
                None => return,
            }
        }
    }

    fn is_suspended(&self) -> bool {
        self.row.as_ref().is_some_and(|tenant| tenant.status == Status::Suspended)
    }

    /// Until nobody wants more. Comes back where it failed and is to be tried again.
    async fn tell(mut self, built: &Built) -> Option<Self> {
        loop {
            let id = &self.id;
            match told(built, id, self.row.as_deref()).await {
                Ok(holder) => built.pools.set_holder(id, holder),
                Err(fault) => {
                    tracing::warn!(%id, %fault, cause = fault.cause(), "a tenant's server could not be told its limits yet");
                    built.pools.set_holder(id, Holder::Unknown);
                    if built.pools.room(id).is_some() || self.is_suspended() {
                        return Some(self);
                    }
                }
            }
            let (turn, row) = self.turn.next()?;
            self = Self { turn, row: Some(row), ..self };
        }
    }
}

async fn told(built: &Built, id: &TenantId, row: Option<&Tenant>) -> Result<Holder, Fault> {
    let (rules, servers) = (&built.rules, &built.servers);
    let is_held = if let Some(tenant) = row {
        apply_tenant(tenant, servers, Some(rules.of(tenant).server_max)).await?;
        // An adopted tenant's is nobody's to hold.
        !tenant.adopted && servers.contains_key(&*tenant.server)
    } else {
        let tenant = match built.directory.tenant(id).await {
            Ok(tenant) => tenant,
            // Nobody's cap.
            Err(fault) if fault.state() == SqlState::INVALID_CATALOG_NAME => {
                return Ok(Holder::Unknown);
            }
            Err(fault) => return Err(fault),
        };
        hold_cap(&tenant, servers, rules.of(&tenant).server_max).await?
    };
    Ok(if is_held { Holder::PostgreSql } else { Holder::Nobody })
}
