//! `Stripe-Signature`: HMAC-SHA256 of the time and the body as it came, scheme `v1`. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use crate::units::Secret;

/// The longest header worth a look: a time, and a signature for each secret during a roll.
const HEADER_BYTES_MAX: usize = 2048;

/// Why a webhook is not Stripe's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// There is none, or it cannot be read.
    #[error("the Stripe-Signature header is missing or malformed")]
    Malformed,
    /// Not signed with our secret, or another body.
    #[error("no signature matches")]
    Wrong,
    /// Signed too long ago, or in the future.
    #[error("the signature is outside the tolerance")]
    Stale,
}

/// Whether `body` was signed with `secret`, `tolerance` around `now`.
///
/// # Errors
/// [`BadSignature`].
pub(super) fn verify(
    header: &str,
    body: &[u8],
    secret: &Secret,
    (now, tolerance): (SystemTime, Duration),
) -> Result<(), BadSignature> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(BadSignature::Malformed);
    }
    let field = |name: &'static str| {
        let pairs = header.split(',').filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
    };
    let time = field("t").next().ok_or(BadSignature::Malformed)?;
    let signed_at: u64 = time.parse().map_err(|_| BadSignature::Malformed)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let message = [time.as_bytes(), b".", body].concat();
    let mut genuine = false;
    for tag in field("v1").filter_map(unhex) {
        // In constant time, each of them.
        genuine |= hmac::verify(&key, &message, &tag).is_ok();
    }
    if !genuine {
        return Err(BadSignature::Wrong);
    }
    let signed_at =
        UNIX_EPOCH.checked_add(Duration::from_secs(signed_at)).ok_or(BadSignature::Stale)?;
    let off = now.duration_since(signed_at).unwrap_or_else(|ahead| ahead.duration());
    if off > tolerance { Err(BadSignature::Stale) } else { Ok(()) }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::hex;

    fn sign(secret: &str, time: u64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hex(hmac::sign(&key, format!("{time}.{body}").as_bytes()).as_ref())
    }

    #[test]
    fn a_genuine_webhook_is_told_from_others() {
        let secret: Secret = "whsec_test".into();
        let good = sign("whsec_test", 1000, "{}");
        let other = sign("whsec_other", 1000, "{}");
        let check = |header: &str, body: &str, now: u64| {
            let now = UNIX_EPOCH + Duration::from_secs(now);
            verify(header, body.as_bytes(), &secret, (now, Duration::from_secs(300)))
        };
        assert_eq!(check(&format!("t=1000,v1={good}"), "{}", 1000), Ok(()));
        assert_eq!(check(&format!("t=1000, v0=x, v1={other}, v1={good}"), "{}", 1300), Ok(()));
        assert_eq!(check(&format!("t=1000,v1={good}"), "{}", 700), Ok(()));
        for (header, body, now, why) in [
            (format!("t=1000,v1={good}"), "{ }", 1000, BadSignature::Wrong),
            (format!("t=1001,v1={good}"), "{}", 1000, BadSignature::Wrong),
            (format!("t=1000,v1={other}"), "{}", 1000, BadSignature::Wrong),
            (format!("t=1000,v0={good}"), "{}", 1000, BadSignature::Wrong),
            (format!("t=1000,v1={}", &good[2..]), "{}", 1000, BadSignature::Wrong),
            (format!("t=1000,v1={good}"), "{}", 1301, BadSignature::Stale),
            (format!("t=1000,v1={good}"), "{}", 699, BadSignature::Stale),
            (format!("v1={good}"), "{}", 1000, BadSignature::Malformed),
            (format!("t=x,v1={good}"), "{}", 1000, BadSignature::Malformed),
            (String::new(), "{}", 1000, BadSignature::Malformed),
            ("t=1,".repeat(1000), "{}", 1000, BadSignature::Malformed),
        ] {
            assert_eq!(check(&header, body, now), Err(why), "{header}");
        }
    }
}
