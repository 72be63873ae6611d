//! Whether Telnyx sent it: Ed25519 over `timestamp|body`, and the timestamp is of now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Signed;

/// A public key, and how old what it signed may be.
#[derive(Debug, Clone)]
pub struct WebhookKey {
    key: [u8; ED25519_PUBLIC_KEY_LEN],
    tolerance: Duration,
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// A header is missing or is none.
    #[error("the signature headers are missing or malformed")]
    Malformed,
    /// It was signed too long ago, or will be.
    #[error("the timestamp is too far from now")]
    Stale,
    /// Somebody else signed it, or something else.
    #[error("the signature does not fit")]
    Forged,
}

/// The bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;

/// The longest timestamp worth reading: seconds since 1970 have ten digits for a while.
const TIMESTAMP_BYTES_MAX: usize = 12;

impl WebhookKey {
    /// The key from base64.
    ///
    /// # Errors
    /// When it is not 32 bytes in base64.
    pub fn new(base64: &str, tolerance: Duration) -> Result<Self, String> {
        let bytes = STANDARD.decode(base64.trim()).unwrap_or_default();
        let key = bytes.try_into().map_err(|_| "is not 32 bytes in base64".to_owned())?;
        Ok(Self { key, tolerance })
    }

    pub(super) fn prove(&self, signed: &Signed<'_>, now: SystemTime) -> Result<(), Unproven> {
        let stamp = signed.timestamp;
        let digits =
            stamp.len() <= TIMESTAMP_BYTES_MAX && stamp.bytes().all(|b| b.is_ascii_digit());
        let seconds: u64 = stamp.parse().ok().filter(|_| digits).ok_or(Unproven::Malformed)?;
        // Base64 of 64 bytes; what is longer is not decoded at all.
        if signed.signature.len() > SIGNATURE_BYTES * 2 {
            return Err(Unproven::Malformed);
        }
        let signature = STANDARD.decode(signed.signature).map_err(|_| Unproven::Malformed)?;
        if signature.len() != SIGNATURE_BYTES {
            return Err(Unproven::Malformed);
        }
        let mut message = Vec::with_capacity(stamp.len() + 1 + signed.body.len());
        message.extend_from_slice(stamp.as_bytes());
        message.push(b'|');
        message.extend_from_slice(signed.body);
        let key = UnparsedPublicKey::new(&ED25519, self.key);
        key.verify(&message, &signature).map_err(|_| Unproven::Forged)?;
        // After the signature: a stranger learns nothing of our clock.
        let sent = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let sent = sent.ok_or(Unproven::Stale)?;
        let apart = now.duration_since(sent).or_else(|_| sent.duration_since(now));
        match apart {
            Ok(apart) if apart <= self.tolerance => Ok(()),
            _ => Err(Unproven::Stale),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("pair")
    }

    fn key() -> WebhookKey {
        let public = STANDARD.encode(pair().public_key().as_ref());
        WebhookKey::new(&public, Duration::from_mins(5)).expect("key")
    }

    fn signed(timestamp: &str, body: &[u8]) -> String {
        let message = [timestamp.as_bytes(), b"|", body].concat();
        STANDARD.encode(pair().sign(&message).as_ref())
    }

    fn judge(timestamp: &str, body: &[u8], signature: &str) -> Result<(), Unproven> {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_287_330);
        key().prove(&Signed { signature, timestamp, body }, now)
    }

    #[test]
    fn what_telnyx_signed_is_believed_and_nothing_else() {
        let (body, at) = (b"{\"data\":{}}".as_slice(), "1795287330");
        let good = signed(at, body);
        assert_eq!(judge(at, body, &good), Ok(()));
        assert_eq!(judge(at, b"{\"data\":{} }", &good), Err(Unproven::Forged));
        assert_eq!(judge("1795287331", body, &good), Err(Unproven::Forged));
        // A byte of the body cannot be moved into the timestamp.
        assert!(judge("179528733", &[b"0|", body].concat(), &good).is_err());
        for broken in ["", "abc", "AAAA", &"A".repeat(88), &"A".repeat(10_000)] {
            assert!(judge(at, body, broken).is_err(), "{broken}");
        }
        for broken in ["", "-1", "+1795287330", "99999999999999999999", "now", " 1795287330"] {
            let result = judge(broken, body, &signed(broken, body));
            assert_eq!(result, Err(Unproven::Malformed), "{broken}");
        }
    }

    #[test]
    fn what_was_signed_long_ago_is_not_believed() {
        for (timestamp, result) in [
            ("1795287030", Ok(())),
            ("1795287029", Err(Unproven::Stale)),
            ("1795287630", Ok(())),
            ("1795287631", Err(Unproven::Stale)),
            ("0", Err(Unproven::Stale)),
            ("999999999999", Err(Unproven::Stale)),
        ] {
            assert_eq!(judge(timestamp, b"x", &signed(timestamp, b"x")), result, "{timestamp}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_at_the_start() {
        for bad in ["", "AAAA", "not base64!", &STANDARD.encode([0_u8; 33])] {
            assert!(WebhookKey::new(bad, Duration::ZERO).is_err(), "{bad}");
        }
    }
}
