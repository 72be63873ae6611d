//! One tenant's turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::course::{Course, Rollout};
use crate::control::provision::{PRODUCT, Provisioner};
use crate::control::registration::KEY_VERSION;
use crate::control::schema::{History, MigrationSet, SchemaError, Upgrade, apply};
use crate::fault::{Fault, told};
use crate::ident::{Role, TenantId};
use crate::tenant::{self, DialError, Status, Tenant};

/// How long a tenant is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    lock_timeout: Duration,
    until: Instant,
}

impl Patience {
    pub(super) fn of(course: &Course) -> Self {
        Self { lock_timeout: course.lock_timeout, until: Instant::now() + course.timeout }
    }

    fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// How often what may pass is tried, with a pause between that grows.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);

/// The history of a product whose tables another system made: its login owns them.
pub(super) const TAKEN_OVER: History = History { schema: "public", run_as: None };

/// How a tenant's turn ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It has the new version.
    Up,
    /// It is no tenant any more: somebody dropped it.
    Gone,
}

/// Why a tenant was left as it was.
pub(super) struct Left {
    pub(super) reason: String,
    /// See [`SchemaError::may_be_its_owners`].
    pub(super) by_owner: bool,
}

impl From<String> for Left {
    fn from(reason: String) -> Self {
        Self { reason, by_owner: false }
    }
}

/// The longest reason told: PostgreSQL's words may be a trigger's of the tenant's.
const REASON_CHARS_MAX: usize = 1 << 10;

impl From<SchemaError> for Left {
    fn from(error: SchemaError) -> Self {
        let by_owner = error.may_be_its_owners();
        let reason = told(&error).chars().take(REASON_CHARS_MAX).collect();
        Self { reason, by_owner }
    }
}

impl Rollout {
    /// Brings one tenant up. Why not, in a sentence.
    pub(super) async fn bring_up(&self, id: &TenantId, patience: Patience) -> Result<Ended, Left> {
        let Some(mut tenant) = self.read(id).await? else { return Ok(Ended::Gone) };
        let server = self.servers.get(&*tenant.server).filter(|_| !tenant.adopted);
        if server.is_none() && !tenant.adopted {
            return Err(format!("its server, \"{}\", is not configured", tenant.server).into());
        }
        let server = server.map(Arc::clone);
        let mut pause = PAUSE;
        for attempt in 1.. {
            let turn = Box::pin(self.turn(&tenant, server.as_deref(), patience));
            let error = match tokio::time::timeout(patience.left(), turn).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error,
                Err(_) => return Err("it took longer than it may".to_owned().into()),
            };
            let hopeless = !error.may_pass() || attempt >= TRIES || patience.left() < pause;
            if !hopeless {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            // One that was dropped meanwhile has no failure, and nothing is put back for it.
            tenant = match self.read(id).await? {
                Some(tenant) => tenant,
                None => return Ok(Ended::Gone),
            };
            if hopeless {
                return Err(error.into());
            }
        }
        self.goal.reached(&self.registry, id).await.map_err(|fault| told(&fault))?;
        Ok(Ended::Up)
    }

    async fn read(&self, id: &TenantId) -> Result<Option<Tenant>, String> {
        self.registry.tenant(id).await.map_err(|fault| told(&fault))
    }

    async fn turn(
        &self,
        tenant: &Tenant,
        server: Option<&Provisioner>,
        patience: Patience,
    ) -> Result<(), SchemaError> {
        let mut inside = enter(tenant, server, patience).await?;
        let failed = |cause| SchemaError::Sql { name: "the session".to_owned(), cause };
        // Without us its statement would go on; the server ends it by itself.
        let sql = format!("SET statement_timeout = {}", patience.left().as_millis().max(1));
        inside.batch_execute(&sql).await.map_err(failed)?;
        let lock_timeout = Some(patience.lock_timeout);
        let Some(server) = server else {
            let own = MigrationSet::own();
            let corner = History { schema: "pgusher", run_as: None };
            let sets = [(&self.product, TAKEN_OVER), (&own, corner)];
            let upgrade = Upgrade { sets: &sets, lock_timeout, afterwards: "" };
            return apply(&mut inside, upgrade).await.map(drop);
        };
        let sets = [(&self.product, PRODUCT)];
        apply(&mut inside, Upgrade { sets: &sets, lock_timeout, afterwards: "" }).await?;
        drop(inside);
        server.upgrade_own(&tenant.id, patience.lock_timeout).await.map(drop)
    }
}

/// A session as the tenant's owner. A suspended tenant's logins are shut: this one is opened for
/// as long as the dial takes. One that changed its own password gets the derived one back.
async fn enter(
    tenant: &Tenant,
    server: Option<&Provisioner>,
    patience: Patience,
) -> Result<tokio_postgres::Client, SchemaError> {
    let url = tenant.url(Role::Owner);
    let timeout = patience.left().min(DIAL_MAX);
    let first = tenant::connect(&url, timeout).await;
    let Some(server) = server else { return Ok(first?) };
    let refused = match &first {
        Err(DialError::Postgres(cause)) => cause.code().cloned(),
        _ => None,
    };
    let shut = tenant.status == Status::Suspended
        && refused == Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    let changed = refused == Some(SqlState::INVALID_PASSWORD);
    let failed = |fault: Fault| SchemaError::Login(told(&fault));
    if !shut && !changed {
        let inside = first?;
        if tenant.status == Status::Suspended {
            // Who opened them before did not come to shut them.
            server.allow_logins(&tenant.id, false).await.map_err(failed)?;
        }
        return Ok(inside);
    }
    if changed {
        server.restore_logins(&tenant.id, KEY_VERSION).await.map_err(failed)?;
    }
    if tenant.status == Status::Suspended {
        server.allow_logins(&tenant.id, true).await.map_err(failed)?;
    }
    let second = tenant::connect(&url, timeout).await;
    if tenant.status == Status::Suspended {
        server.allow_logins(&tenant.id, false).await.map_err(failed)?;
    }
    Ok(second?)
}

/// A dial at most.
const DIAL_MAX: Duration = Duration::from_secs(30);
