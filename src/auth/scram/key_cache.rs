//! SCRAM keys kept, so that a dial costs PostgreSQL's fork and not PBKDF2.

use std::convert::Infallible;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use quick_cache::sync::Cache;
use zeroize::Zeroize;

use super::message::ScramError;
use super::secret::{ScramKeys, mac};
use crate::units::Secret;

/// A bounded cache of [`ScramKeys`] by password, salt and iterations.
///
/// Passwords are not kept: an entry is found by their keyed digest. A changed password or a new
/// salt simply is another entry; the old one falls out when others need the room.
#[derive(Clone)]
pub struct KeyCache {
    process: Arc<ProcessKey>,
    keys: Arc<Cache<[u8; 32], Arc<ScramKeys>>>,
}

struct ProcessKey([u8; 32]);

impl Drop for ProcessKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl KeyCache {
    /// A cache of at most `entries_max` keys (about 200 bytes each).
    pub fn new(entries_max: usize) -> Result<Self, ScramError> {
        let mut raw = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut raw).map_err(|_| ScramError::Random)?;
        let keys = Arc::new(Cache::new(entries_max));
        Ok(Self { process: Arc::new(ProcessKey(raw)), keys })
    }

    /// The keys, if they are known. Cheap: for the data runtime.
    pub fn known(
        &self,
        password: &Secret,
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Option<Arc<ScramKeys>> {
        self.keys.get(&self.name(password, salt, iterations))
    }

    /// The keys, derived now if need be. Blocks for PBKDF2 (once, however many ask for the same
    /// keys at once): for `spawn_blocking` or the control runtime.
    pub fn derive(&self, password: &Secret, salt: &[u8], iterations: NonZeroU32) -> Arc<ScramKeys> {
        let Ok(keys) = self.keys.get_or_insert_with(&self.name(password, salt, iterations), || {
            // The password goes into PBKDF2 and nowhere else.
            Ok::<_, Infallible>(Arc::new(ScramKeys::derive(password.expose(), salt, iterations)))
        });
        keys
    }

    fn name(&self, password: &Secret, salt: &[u8], iterations: NonZeroU32) -> [u8; 32] {
        // The password is hashed first, so that no two triples run into the same bytes.
        let password = mac(&self.process.0, &[password.expose().as_bytes()]);
        mac(&self.process.0, &[&password, &iterations.get().to_be_bytes(), salt])
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").field("entries", &self.keys.len()).finish_non_exhaustive()
    }
}
