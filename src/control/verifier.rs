//! PostgreSQL's text form of a SCRAM-SHA-256 secret, computed here so that no password travels.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fault::{Blame, Fault, SqlState};

const SALT_BYTES: usize = 16;

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` (RFC 5803) of an ASCII password.
///
/// # Errors
/// When the system gives no random bytes.
pub(super) fn scram_verifier(password: &str, iterations: NonZeroU32) -> Result<String, Fault> {
    let salt = random::<SALT_BYTES>()?;
    Ok(with_salt(password, iterations, &salt))
}

fn with_salt(password: &str, iterations: NonZeroU32, salt: &[u8]) -> String {
    let mut salted = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    let (salt, stored) = (STANDARD.encode(salt), STANDARD.encode(stored_key));
    format!("SCRAM-SHA-256${iterations}:{salt}${stored}:{}", STANDARD.encode(server_key))
}

/// Random bytes.
///
/// # Errors
/// When the system gives none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| {
        Fault::new(Blame::Proxy, SqlState::INTERNAL_ERROR, "the system gives no random bytes")
    })?;
    Ok(bytes)
}

/// A random name of `length` characters `[a-z0-9]`, beginning with a letter.
///
/// # Errors
/// When the system gives no random bytes.
pub(super) fn random_name(length: usize) -> Result<String, Fault> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut name = String::with_capacity(length);
    while name.len() < length {
        for byte in random::<32>()? {
            // Only bytes below a multiple of the alphabet's size: every character equally likely.
            let letters = if name.is_empty() { 26 } else { 36 };
            let fair = byte < 252 && (letters == 36 || byte < 234);
            if fair && name.len() < length {
                name.push(char::from(LETTERS[usize::from(byte) % letters]));
            }
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_is_rfc_7677s() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("salt");
        let iterations = NonZeroU32::new(4096).expect("not zero");
        assert_eq!(
            with_salt("pencil", iterations, &salt),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
             WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn names_are_clean_and_differ() {
        let (a, b) = (random_name(24).expect("random"), random_name(24).expect("random"));
        assert_ne!(a, b);
        for name in [a, b] {
            assert_eq!(name.len(), 24);
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        }
    }
}
