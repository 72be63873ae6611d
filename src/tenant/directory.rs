//! Who lives where: the cache every session asks.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::cache::{Bounds, Found, Remembered};
use super::turns::Turns;
use super::{DirectorySettings, KeyRow, Registry, Tenant, TenantMetrics};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;
use crate::net;

/// The registry, remembered. Asks once however many wait for the answer, remembers "no such
/// tenant" for a moment, is bounded, and serves the tenants it knows while the registry is away.
pub struct Directory {
    tenants: Remembered<TenantId, Tenant>,
    keys: Remembered<String, KeyRow>,
    strangers: Arc<Turns>,
    metrics: TenantMetrics,
}

/// The longest key id worth a question.
const KEY_ID_BYTES_MAX: usize = 64;

fn is_key_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= KEY_ID_BYTES_MAX
}

/// So many keys are asked for at once. Anybody may name one that is nobody's: tenants, and what is
/// proven, have the other connections of the registry.
const KEY_QUESTIONS_MAX: usize = 2;

/// So many strangers wait for the key they named to be asked for.
const STRANGERS_WAITING_MAX: usize = 1_024;

/// Told to who names a key while so many others of its network do.
fn busy() -> Fault {
    Fault::new(Blame::Client, SqlState::CANNOT_CONNECT_NOW, "too many API keys are looked up")
        .hint("Try again.")
}

impl Directory {
    /// A directory over `registry`, whose questions are asked on the runtime of `control`.
    pub fn new(
        settings: &DirectorySettings,
        registry: &Registry,
        control: &Handle,
        metrics: TenantMetrics,
    ) -> Self {
        let bounds = Bounds {
            entries_max: settings.entries_max,
            fresh: settings.fresh.get(),
            negative: settings.negative.get(),
        };
        let (source, timed) = (registry.clone(), metrics.clone());
        let tenants = Remembered::new(
            bounds,
            control.clone(),
            Box::new(move |id: TenantId| {
                let (source, timed) = (source.clone(), timed.clone());
                async move { timed.query(source.tenant(&id)).await }.boxed()
            }),
        );
        let (source, timed) = (registry.clone(), metrics.clone());
        let turns = Arc::new(Semaphore::new(KEY_QUESTIONS_MAX));
        let keys = Remembered::new(
            bounds,
            control.clone(),
            Box::new(move |id: String| {
                let (source, timed) = (source.clone(), timed.clone());
                let turns = Arc::clone(&turns);
                async move {
                    let _turn = turns.acquire_owned().await.map_err(|_| busy())?;
                    timed.query(source.api_key(&id)).await
                }
                .boxed()
            }),
        );
        let strangers = Turns::new(KEY_QUESTIONS_MAX, STRANGERS_WAITING_MAX);
        Self { tenants, keys, strangers, metrics }
    }

    /// The tenant. Ask only with an id a proven token named: the answer tells who exists.
    ///
    /// # Errors
    /// 3D000 when the registry knows no such tenant; 57P03 when it cannot be asked and the tenant
    /// was not seen before.
    pub async fn tenant(&self, id: &TenantId) -> Result<Arc<Tenant>, Fault> {
        self.settled(self.tenants.find(id).await)?.ok_or_else(|| {
            Fault::new(Blame::Client, SqlState::INVALID_CATALOG_NAME, "no such tenant")
                .detail(format!("The registry has no tenant \"{id}\"."))
        })
    }

    /// The tenant, if it is known and fresh. Never waits.
    pub fn cached(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.tenants.cached(id)
    }

    /// The API key that was proven, or `None` when there is none of that id any more.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be asked and the key was not seen before.
    pub async fn api_key(&self, id: &str) -> Result<Option<Arc<KeyRow>>, Fault> {
        if !is_key_id(id) {
            return Ok(None);
        }
        self.settled(self.keys.find(&id.to_owned()).await)
    }

    /// As [`Directory::api_key`], for a stranger at this address (`None`: on this machine) who has
    /// named it: networks are served in turn, so that one that names thousands keeps nobody out. A
    /// key that is remembered needs no turn, however old: nobody makes those up.
    ///
    /// # Errors
    /// And 57P03 when too many of its network wait.
    pub async fn named_key(
        &self,
        id: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<Arc<KeyRow>>, Fault> {
        if !is_key_id(id) {
            return Ok(None);
        }
        let id = id.to_owned();
        if self.keys.knows(&id) {
            return self.settled(self.keys.find(&id).await);
        }
        let Ok(turn) = self.strangers.take(from.map(net::network)).await else {
            self.metrics.lookups.with_label_values(&["busy"]).inc();
            return Err(busy());
        };
        self.settled(self.keys.find_with(&id, turn).await)
    }

    /// Drops a tenant: its row changed.
    pub fn forget(&self, id: &TenantId) {
        self.tenants.forget(id);
    }

    /// Drops a key: its row changed.
    pub fn forget_key(&self, id: &str) {
        self.keys.forget(&id.to_owned());
    }

    /// Changes may have been missed: everything is read again when it is next asked for.
    pub fn forget_all(&self) {
        self.tenants.age_all();
        self.keys.age_all();
    }

    fn settled<V>(&self, found: Found<V>) -> Result<Option<Arc<V>>, Fault> {
        let (result, answer) = match found {
            Found::Hit(value) => ("hit", Ok(value)),
            Found::Loaded(Some(value)) => ("load", Ok(Some(value))),
            Found::Loaded(None) => ("unknown", Ok(None)),
            Found::Stale(value) => ("stale", Ok(Some(value))),
            Found::Away => ("failed", Err(registry_away())),
        };
        self.metrics.lookups.with_label_values(&[result]).inc();
        answer
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory")
    }
}

impl TenantMetrics {
    /// Times one question to the registry.
    async fn query<T>(&self, question: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let timer = self.query.start_timer();
        let answer = question.await;
        timer.observe_duration();
        self.up.set(i64::from(answer.is_ok()));
        answer
    }
}

fn registry_away() -> Fault {
    Fault::new(
        Blame::Control,
        SqlState::CANNOT_CONNECT_NOW,
        "the tenant registry cannot be reached",
    )
    .hint("Tenants seen before are still served; try again in a moment.")
}
