//! Admins' passwords: argon2id, bounded and off the async threads; bcrypt accepted from before.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Refused, failed, verifier};
use crate::fault::Fault;
use crate::units::{Secret, Span};

/// `[passwords]`: what a hash costs and how many are computed at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordSettings {
    /// Memory of one argon2id hash in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Hashes computed at once; 0: one for each core.
    pub concurrent_max: usize,
    /// Requests that may wait for their turn.
    pub waiting_max: usize,
    /// How long one may wait.
    pub wait_max: Span,
}

impl PasswordSettings {
    /// What is wrong with it: the key, and why.
    pub fn problems(&self) -> Option<(&'static str, String)> {
        let wrong = self.params().err()?;
        let key = match wrong {
            argon2::Error::MemoryTooLittle | argon2::Error::MemoryTooMuch => "passwords.memory_kib",
            argon2::Error::TimeTooSmall => "passwords.passes",
            _ => "passwords",
        };
        Some((key, wrong.to_string()))
    }

    fn params(&self) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.passes, 1, None)
    }
}

impl Default for PasswordSettings {
    fn default() -> Self {
        // RFC 9106's second choice scaled to OWASP's: 19 MiB, two passes.
        Self {
            memory_kib: 19_456,
            passes: 2,
            concurrent_max: 0,
            waiting_max: 1000,
            wait_max: Span::secs(10),
        }
    }
}

/// Hashes and verifies.
#[derive(Clone)]
pub struct Passwords {
    argon: Argon2<'static>,
    turns: Arc<Semaphore>,
    /// Bounds those waiting as well as those at work.
    places: Arc<Semaphore>,
    wait_max: Span,
    /// What an unknown e-mail's password is compared with, so that it costs the same.
    dummy: Arc<str>,
}

/// A processor for one hash or comparison.
#[derive(Debug)]
pub(super) struct Turn {
    _place: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
}

/// How a password compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Right.
    Right,
    /// Right, and the hash should be written anew.
    Outdated,
    /// Wrong.
    Wrong,
}

impl Passwords {
    /// As the settings have it.
    ///
    /// # Errors
    /// When argon2 refuses the parameters.
    pub fn new(settings: &PasswordSettings) -> Result<Self, String> {
        let params = settings.params().map_err(|e| format!("passwords: {e}"))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let turns = if settings.concurrent_max == 0 { cores } else { settings.concurrent_max };
        let dummy = hashed(&argon, "nobody's").map_err(|e| format!("passwords: {e}"))?;
        Ok(Self {
            argon,
            turns: Arc::new(Semaphore::new(turns)),
            places: Arc::new(Semaphore::new(turns.saturating_add(settings.waiting_max))),
            wait_max: settings.wait_max,
            dummy: dummy.into(),
        })
    }

    /// The argon2id hash of a password, in PHC form.
    ///
    /// # Errors
    /// [`Refused::Busy`] when too many wait.
    pub async fn hash(&self, password: Secret) -> Result<Secret, Refused> {
        self.hash_in(self.turn().await?, password).await
    }

    /// The same in a turn that was waited for before: it is refused no more.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) async fn hash_in(&self, turn: Turn, password: Secret) -> Result<Secret, Refused> {
        let argon = self.argon.clone();
        let hash = off_thread(turn, move || hashed(&argon, password.expose())).await?;
        Ok(hash.map_err(failed::internal)?.into())
    }

    /// Compares a password with a hash; `None` costs what a comparison costs and is wrong.
    ///
    /// # Errors
    /// [`Refused::Busy`] when too many wait.
    pub async fn verify(&self, password: Secret, hash: Option<Secret>) -> Result<Match, Refused> {
        let (argon, dummy) = (self.argon.clone(), Arc::clone(&self.dummy));
        off_thread(self.turn().await?, move || {
            let hash = hash.filter(|hash| is_affordable(&argon, hash.expose()));
            let compared =
                compared(&argon, password.expose(), hash.as_ref().map_or(&dummy, Secret::expose));
            if hash.is_some() { compared } else { Match::Wrong }
        })
        .await
    }

    /// Waits until there is a processor for one more.
    ///
    /// # Errors
    /// [`Refused::Busy`] when too many wait, or it takes too long.
    pub(super) async fn turn(&self) -> Result<Turn, Refused> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refused::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(self.wait_max.get(), turn).await;
        let turn = turn.map_err(|_| Refused::Busy)?.map_err(failed::internal)?;
        Ok(Turn { _place: place, _turn: turn })
    }
}

async fn off_thread<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own, for its priority; it costs a thousandth of the hash. The permits go
    // with the work: a caller who leaves does not free its thread.
    let work = move || {
        let _held = turn;
        yield_to_sessions();
        let _ = tell.send(work());
    };
    let thread = std::thread::Builder::new().name("pgusher-hash".to_owned());
    thread.spawn(work).map_err(failed::internal)?;
    Ok(told.await.map_err(failed::internal)?)
}

/// How much this thread gives way: about a tenth of what another thread gets, if both want it all.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lets sessions have the processor first: a burst of registrations or logins takes what they
/// leave.
#[cfg(target_os = "linux")]
fn yield_to_sessions() {
    // Linux takes a thread for a process here. Giving way is always allowed.
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Elsewhere a priority is the whole process's.
#[cfg(not(target_os = "linux"))]
fn yield_to_sessions() {}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

fn hashed(argon: &Argon2<'_>, password: &str) -> Result<String, Fault> {
    let salt = verifier::random::<16>()?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| failed::internal(e.to_string()))?;
    let hash = argon.hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|e| failed::internal(e.to_string()))?.to_string())
}

/// The most expensive bcrypt that is computed: about a second.
const BCRYPT_COST_MAX: u32 = 14;

/// The most memory an Argon2 hash takes, in KiB.
const ARGON_MEMORY_MAX: u32 = 128 << 10;

/// Memory in KiB times passes: about a second.
const ARGON_WORK_MAX: u64 = 512 << 10;

/// Whether a hash costs no more to compare with than any library's defaults do, or our own
/// parameters. A tenant may write what it likes where its hashes are.
fn is_affordable(argon: &Argon2<'_>, hash: &str) -> bool {
    if hash.starts_with("$2") {
        let parts = hash.parse::<bcrypt::HashParts>();
        return parts.is_ok_and(|parts| parts.get_cost() <= BCRYPT_COST_MAX);
    }
    let Ok(params) = PasswordHash::new(hash).and_then(|hash| Params::try_from(&hash)) else {
        return false;
    };
    let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
    let ours = argon.params();
    let affordable = params.m_cost() <= ARGON_MEMORY_MAX.max(ours.m_cost())
        && work(&params) <= ARGON_WORK_MAX.max(work(ours));
    if !affordable {
        tracing::warn!("a password hash in a tenant's database costs too much to compare with");
    }
    affordable
}

fn compared(argon: &Argon2<'_>, password: &str, hash: &str) -> Match {
    if hash.starts_with("$2") {
        // bcrypt reads 72 bytes; what was hashed that way is compared that way.
        return match bcrypt::verify(password, hash) {
            Ok(true) => Match::Outdated,
            Ok(false) | Err(_) => Match::Wrong,
        };
    }
    let Ok(parsed) = PasswordHash::new(hash) else {
        return Match::Wrong;
    };
    if argon.verify_password(password.as_bytes(), &parsed).is_err() {
        return Match::Wrong;
    }
    let same = Params::try_from(&parsed).is_ok_and(|params| {
        let ours = argon.params();
        (params.m_cost(), params.t_cost()) == (ours.m_cost(), ours.t_cost())
    });
    if same { Match::Right } else { Match::Outdated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Passwords {
        let settings = PasswordSettings { memory_kib: 64, passes: 1, ..Default::default() };
        Passwords::new(&settings).expect("settings")
    }

    #[tokio::test]
    async fn a_hash_verifies_its_password_only() {
        let passwords = passwords();
        let hash = passwords.hash("right".into()).await.expect("hash");
        assert!(hash.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        for (password, hash, expected) in [
            ("right", Some(hash.clone()), Match::Right),
            ("wrong", Some(hash), Match::Wrong),
            ("right", None, Match::Wrong),
            ("right", Some("garbage".into()), Match::Wrong),
        ] {
            let found = passwords.verify(password.into(), hash).await.expect("verify");
            assert_eq!(found, expected);
        }
    }

    #[tokio::test]
    async fn hashes_of_before_are_accepted_and_outdated() {
        let passwords = passwords();
        let old = bcrypt::hash("right", 4).expect("bcrypt");
        let verify =
            |password: &str, hash: &str| passwords.verify(password.into(), Some(hash.into()));
        assert_eq!(verify("right", &old).await.expect("verify"), Match::Outdated);
        assert_eq!(verify("wrong", &old).await.expect("verify"), Match::Wrong);
        let settings = PasswordSettings { memory_kib: 128, passes: 1, ..Default::default() };
        let other = Passwords::new(&settings).expect("settings").hash("right".into()).await;
        let other = other.expect("hash");
        assert_eq!(verify("right", other.expose()).await.expect("verify"), Match::Outdated);
    }

    #[tokio::test]
    async fn what_would_take_all_memory_or_hours_is_not_computed() {
        let passwords = passwords();
        let salt_and_hash = "c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
        for cost in ["m=4294967295,t=1,p=1", "m=65536,t=4294967295,p=1", "m=131073,t=1,p=1"] {
            let hash = format!("$argon2id$v=19${cost}${salt_and_hash}");
            let found = passwords.verify("x".into(), Some(hash.into())).await.expect("verify");
            assert_eq!(found, Match::Wrong, "{cost}");
        }
        let cheap = bcrypt::hash("x", 4).expect("bcrypt");
        for cost in [15, 31] {
            let hash = cheap.replacen("$04$", &format!("${cost}$"), 1);
            let found = passwords.verify("x".into(), Some(hash.into())).await.expect("verify");
            assert_eq!(found, Match::Wrong, "{cost}");
        }
        // What others make by default.
        for cost in ["m=65536,t=4,p=1", "m=102400,t=2,p=8"] {
            let hash = format!("$argon2id$v=19${cost}${salt_and_hash}");
            assert!(is_affordable(&passwords.argon, &hash), "{cost}");
        }
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let settings = PasswordSettings {
            memory_kib: 64,
            passes: 1,
            concurrent_max: 1,
            waiting_max: 0,
            ..Default::default()
        };
        let passwords = Passwords::new(&settings).expect("settings");
        let _place = passwords.places.clone().acquire_owned().await.expect("place");
        assert!(matches!(passwords.hash("x".into()).await, Err(Refused::Busy)));
    }
}
