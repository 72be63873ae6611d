//! What the statements of a tenant are read under: its schema as it stands, the session's
//! `search_path`, and what is known of its functions.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lexer::PARSED_BY;
use super::routines::Routines;
use super::welcomes::{GOOD_FOR, Welcome, Welcomes};
use crate::ident::TenantId;
use crate::pool::Class;
use crate::server::Settings;

/// The schemas of tenants with sessions, and of those who had one a moment ago: an app that opens a
/// connection for each request does not have its functions read for each.
///
/// What is kept of a tenant for a while is one piece of memory, of a size that nothing has that
/// stays: thousands of tenants that were here once leave no holes between what is kept of them.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    known: Mutex<HashMap<TenantId, Arc<Known>>>,
    /// Bytes of the settings in all welcomes, as of the last sweep and what came since.
    welcome_bytes: AtomicUsize,
}

/// Bytes of settings in all welcomes. With more of them newcomers have a server asked for each.
const WELCOME_BYTES_MAX: usize = 32 << 20;

/// One tenant's schema. Shared by its sessions.
#[derive(Debug, Clone)]
pub(super) struct Schema(Arc<Known>);

#[derive(Debug)]
struct Known {
    /// The way to where it was seen.
    mark: u64,
    /// A number for the schema as it was last seen to change.
    version: AtomicU64,
    /// How often its functions were seen to change, and one.
    changes: AtomicU64,
    /// The number of the last reading.
    number: AtomicU64,
    /// When its functions are read again whatever was seen, in milliseconds of this process: they
    /// may be changed past us.
    due: AtomicU64,
    reading: Mutex<Reading>,
    /// Held by the session that reads them.
    turn: tokio::sync::Mutex<()>,
    welcomes: Mutex<Welcomes>,
    /// When the last of them is out of date, in milliseconds of this process.
    welcome_until: AtomicU64,
}

/// What was last read of a tenant's functions.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Those that touch session state; `None` when none does.
    pub(super) routines: Option<Arc<Routines>>,
    /// The reading's own number.
    pub(super) number: u64,
    /// How often the functions had changed by then; 0: they were never read.
    changes: u64,
}

/// What a session's statements were last found to be read under, and what by.
#[derive(Debug, Clone, Default)]
pub(super) struct Salted {
    /// 0: nothing yet.
    version: u64,
    settings: Settings,
    salt: u64,
    /// The `search_path` names the temporary schema.
    temp: bool,
}

impl Salted {
    /// Whether what is made without naming a schema may be temporary.
    pub(super) fn makes_temp(&self) -> bool {
        self.temp
    }
}

/// Functions that are changed past pgusher are noticed within this.
const READ_EVERY: Duration = Duration::from_secs(60);

impl Reading {
    /// Whether the functions had changed so often when they were read, or more.
    pub(super) fn is_of(&self, changes: u64) -> bool {
        self.changes >= changes
    }
}

impl Schemas {
    /// The schema of a tenant whose database is where the way of that mark leads.
    pub(super) fn of(&self, tenant: &TenantId, mark: u64) -> Schema {
        self.at(tenant, mark, millis_now())
    }

    fn at(&self, tenant: &TenantId, mark: u64, now: u64) -> Schema {
        let mut known = self.known();
        if let Some(schema) = known.get(tenant)
            && is_good(schema, now)
            && schema.mark == mark
        {
            let schema = Schema(Arc::clone(schema));
            // Only the map has it, and this one.
            if Arc::strong_count(&schema.0) == 2 && now >= schema.0.due.load(Ordering::Relaxed) {
                schema.migrated();
                schema.functions_changed();
            }
            return schema;
        }
        // Numbers are never used twice, so that a schema that was forgotten does not come back.
        let schema = Arc::new(Known {
            mark,
            version: AtomicU64::new(fresh()),
            changes: AtomicU64::new(1),
            number: AtomicU64::new(0),
            due: AtomicU64::new(0),
            reading: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            welcomes: Mutex::default(),
            welcome_until: AtomicU64::new(0),
        });
        known.insert(tenant.clone(), Arc::clone(&schema));
        Schema(schema)
    }

    /// Forgets what is good for nobody any more.
    pub(super) fn sweep(&self) {
        self.sweep_at(millis_now());
    }

    fn sweep_at(&self, now: u64) {
        let mut known = self.known();
        let mut bytes = 0;
        known.retain(|_, schema| {
            let mut welcomes = schema.welcomes();
            welcomes.sweep(now);
            bytes += welcomes.bytes();
            drop(welcomes);
            is_good(schema, now)
        });
        self.welcome_bytes.store(bytes, Ordering::Relaxed);
        if known.capacity() > 4 * known.len() {
            known.shrink_to_fit();
        }
    }

    /// Remembers what a login of the tenant was told.
    pub(super) fn remember(&self, schema: &Schema, welcome: Welcome) {
        let bytes = welcome.bytes();
        if self.welcome_bytes.fetch_add(bytes, Ordering::Relaxed) > WELCOME_BYTES_MAX {
            self.welcome_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        schema.0.remember(welcome, millis_now());
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a session may start with it: others have it and read it again when it is due, or something
/// in it is good yet.
fn is_good(schema: &Arc<Known>, now: u64) -> bool {
    let good = |until: &AtomicU64| now < until.load(Ordering::Relaxed);
    Arc::strong_count(schema) > 1 || good(&schema.due) || good(&schema.welcome_until)
}

impl Known {
    fn remember(&self, welcome: Welcome, now: u64) {
        let until = now.saturating_add(as_millis(GOOD_FOR));
        self.welcomes().insert(welcome, until);
        self.welcome_until.store(until, Ordering::Relaxed);
    }

    fn welcomes(&self) -> MutexGuard<'_, Welcomes> {
        self.welcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Schema {
    /// What a login of `class` that asks for these settings is told, if one was lately.
    pub(super) fn welcome(&self, class: Class, asked: &Settings) -> Option<Welcome> {
        self.0.welcomes().find(class, asked, millis_now()).cloned()
    }

    /// A command changed it.
    pub(super) fn migrated(&self) {
        self.0.version.store(fresh(), Ordering::Release);
    }

    /// One number for the schema and for the settings that decide what a text means.
    pub(super) fn salt(&self, settings: &Settings, last: &mut Salted) -> u64 {
        let version = self.0.version.load(Ordering::Acquire);
        if version != last.version || !settings.is(&last.settings) {
            let salt = salt(version, settings);
            let path = settings.value("search_path").unwrap_or_default();
            let temp = path.to_ascii_lowercase().contains("pg_temp");
            *last = Salted { version, settings: settings.clone(), salt, temp };
        }
        last.salt
    }

    /// A command may have changed what its functions do.
    pub(super) fn functions_changed(&self) {
        self.0.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Brings a session's copy of the last reading up to date. Costs nothing while it is.
    pub(super) fn refresh(&self, own: &mut Reading) {
        if own.number != self.0.number.load(Ordering::Acquire) {
            *own = self.reading().clone();
        }
    }

    /// Whether the functions have changed since that reading, or were never read.
    pub(super) fn is_outdated(&self, reading: &Reading) -> bool {
        reading.changes != self.0.changes.load(Ordering::Acquire)
    }

    /// How often its functions have changed so far: taken before they are read.
    pub(super) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Waits until no other session reads the functions. Twenty that change them at once would all read
    /// them, each for itself; who has waited finds them read, or reads them for those behind.
    ///
    /// Cancel-safe: who goes away gives up its place, or its turn.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.turn.lock().await
    }

    /// Whether it is time to read the functions again. Says so to one session only.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let now = millis_at(now);
        let due = self.0.due.load(Ordering::Relaxed);
        let next = now.saturating_add(as_millis(READ_EVERY));
        let order = Ordering::Relaxed;
        now >= due && self.0.due.compare_exchange(due, next, order, order).is_ok()
    }

    /// The functions could not be read: they are still due.
    pub(super) fn was_not_read(&self) {
        self.0.due.store(0, Ordering::Relaxed);
    }

    /// Takes in what was read when the functions had changed so often.
    pub(super) fn was_read(&self, routines: Option<Arc<Routines>>, changes: u64) {
        let mut reading = self.reading();
        if reading.changes > changes {
            return;
        }
        reading.changes = changes;
        if reading.number == 0 || reading.routines != routines {
            reading.routines = routines;
        }
        reading.number += 1;
        self.0.number.store(reading.number, Ordering::Release);
        let next = millis_now().saturating_add(as_millis(READ_EVERY));
        self.0.due.store(next, Ordering::Relaxed);
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn salt(version: u64, settings: &Settings) -> u64 {
    static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let read_by = |name: &str| PARSED_BY.iter().any(|one| name.eq_ignore_ascii_case(one));
    let mut deciding = settings.iter().filter(|(name, _)| read_by(name)).peekable();
    // Many sessions set none of them: nothing to hash.
    if deciding.peek().is_none() {
        return version;
    }
    let mut hasher = HASH.build_hasher();
    version.hash(&mut hasher);
    deciding.for_each(|pair| pair.hash(&mut hasher));
    hasher.finish()
}

fn millis_now() -> u64 {
    millis_at(Instant::now())
}

fn millis_at(now: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    as_millis(now.saturating_duration_since(*START))
}

fn as_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
