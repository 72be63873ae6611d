//! What is kept of a password: the verifier on the server's side, the keys on the client's.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use super::message::{self, ScramError};

/// PBKDF2 rounds of every verifier pgusher makes for clients.
///
/// A 256-bit secret needs none of them, but RFC 7677 names 4,096 as the least and some drivers
/// (JDBC's among them) refuse a server that asks for fewer. The server's side pays nothing.
pub const ITERATIONS: NonZeroU32 = match NonZeroU32::new(4_096) {
    Some(count) => count,
    None => NonZeroU32::MIN,
};

/// The most rounds a verifier may have.
const ITERATIONS_MAX: u32 = 1_000_000;

/// The longest salt of a verifier, in bytes.
const SALT_BYTES_MAX: usize = 64;

/// A server's record of a password: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`,
/// PostgreSQL's own format. It proves a login; it can not make one.
#[derive(Clone)]
pub struct ScramVerifier {
    pub(super) iterations: NonZeroU32,
    pub(super) salt: Box<[u8]>,
    pub(super) stored_key: [u8; 32],
    pub(super) server_key: [u8; 32],
}

impl ScramVerifier {
    /// Makes the verifier of `password` with a fresh salt. Costs `iterations` rounds of PBKDF2:
    /// for the control runtime.
    pub fn make(password: &str, iterations: NonZeroU32) -> Result<Self, ScramError> {
        let mut salt = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| ScramError::Random)?;
        Ok(Self::derive(password, &salt, iterations))
    }

    /// Makes the verifier of `password` with this salt.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let keys = ScramKeys::derive(password, salt, iterations);
        Self {
            iterations,
            salt: salt.into(),
            stored_key: keys.stored_key(),
            server_key: keys.server_key,
        }
    }

    /// Reads PostgreSQL's format.
    pub fn parse(text: &str) -> Result<Self, ScramError> {
        let malformed = ScramError::Malformed("not a SCRAM-SHA-256 verifier");
        let rest = text.strip_prefix("SCRAM-SHA-256$").ok_or(malformed)?;
        let (head, keys) = rest.split_once('$').ok_or(malformed)?;
        let (iterations, salt) = head.split_once(':').ok_or(malformed)?;
        let (stored, server) = keys.split_once(':').ok_or(malformed)?;
        let iterations = message::iterations(iterations)?;
        let iterations = NonZeroU32::new(iterations)
            .filter(|count| count.get() <= ITERATIONS_MAX)
            .ok_or(malformed)?;
        let salt = STANDARD.decode(salt).map_err(|_| malformed)?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(malformed);
        }
        let key = |text: &str| -> Result<[u8; 32], ScramError> {
            STANDARD.decode(text).ok().and_then(|raw| raw.try_into().ok()).ok_or(malformed)
        };
        Ok(Self {
            iterations,
            salt: salt.into(),
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }
}

impl fmt::Display for ScramVerifier {
    /// PostgreSQL's format, as `ALTER ROLE … PASSWORD '…'` and `pg_authid` take it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(***)")
    }
}

/// What a client needs to log in without the password: ClientKey and ServerKey, for one salt and
/// iteration count. As good as the password for that role; wiped when dropped.
#[derive(Clone)]
pub struct ScramKeys {
    pub(super) client_key: [u8; 32],
    pub(super) server_key: [u8; 32],
}

impl ScramKeys {
    /// Runs PBKDF2: about 0.3 µs a round, so a millisecond or more for a server's usual 4,096.
    /// Not for the data runtime.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let password = normalise(password);
        let mut salted = Zeroizing::new([0_u8; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            password.as_bytes(),
            salted.as_mut_slice(),
        );
        Self {
            client_key: mac(&*salted, &[b"Client Key"]),
            server_key: mac(&*salted, &[b"Server Key"]),
        }
    }

    pub(super) fn stored_key(&self) -> [u8; 32] {
        sha256(&self.client_key)
    }
}

impl Drop for ScramKeys {
    fn drop(&mut self) {
        self.client_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(***)")
    }
}

/// SASLprep, or the password as it is where SASLprep forbids it: PostgreSQL's rule.
fn normalise(password: &str) -> Zeroizing<String> {
    match stringprep::saslprep(password) {
        Ok(prepared) => Zeroizing::new(prepared.into_owned()),
        Err(_) => Zeroizing::new(password.to_owned()),
    }
}

/// HMAC-SHA-256 over the parts.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    array(digest::digest(&digest::SHA256, data).as_ref())
}

fn array(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0_u8; 32];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}
