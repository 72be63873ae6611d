//! Time-based one-time passwords (RFC 6238): SHA-1, six digits, steps of thirty seconds, which is
//! what every authenticator app understands. Pure: the clock is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{constant_time, hmac};

/// Seconds of one step.
const STEP_SECS: u64 = 30;

/// Steps a clock may be off, either way.
const DRIFT: u64 = 1;

/// Digits of a code.
pub(super) const DIGITS: usize = 6;

/// The step of `now`.
fn step(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / STEP_SECS
}

/// The code of one step (RFC 4226, 5.3).
fn code(secret: &[u8], step: u64) -> [u8; DIGITS] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or(0) & 0x0f);
    let word = tag.get(offset..offset + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
    let mut number = u32::from_be_bytes(word.unwrap_or_default()) & 0x7fff_ffff;
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    digits
}

/// The step whose code was presented, if it is one of now and was not used before: `used` is the
/// last step that was. Takes the same time whichever matches, and if none does.
pub(super) fn matching(
    secret: &[u8],
    presented: &[u8],
    used: Option<i64>,
    now: SystemTime,
) -> Option<i64> {
    let now = step(now);
    let mut found = None;
    for candidate in now.saturating_sub(DRIFT)..=now.saturating_add(DRIFT) {
        let expected = code(secret, candidate);
        let same = constant_time::verify_slices_are_equal(&expected, presented).is_ok();
        let candidate = i64::try_from(candidate).unwrap_or(i64::MAX);
        if same && used.is_none_or(|used| candidate > used) {
            found = Some(candidate);
        }
    }
    found
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// RFC 4648 base 32 without padding: what people can type.
pub(super) fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(letter(held >> bits));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(letter(held << (5 - bits)));
    }
    text
}

fn letter(five: u32) -> char {
    char::from(BASE32[usize::try_from(five & 31).unwrap_or(0)])
}

/// Reads base 32; blanks, hyphens, padding and case do not matter.
pub(super) fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for letter in text.bytes().filter(|b| !matches!(b, b' ' | b'-' | b'=')) {
        let upper = letter.to_ascii_uppercase();
        let five = BASE32.iter().position(|known| *known == upper)?;
        held = (held << 5) | u32::try_from(five).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn codes_are_rfc_6238s() {
        for (secs, eight) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(code(SECRET, step(at(secs))), eight.as_bytes()[2..], "{secs}");
        }
    }

    #[test]
    fn a_step_earlier_and_later_is_taken_and_no_more() {
        let now = 1_111_111_109;
        let code = code(SECRET, step(at(now)));
        for (secs, taken) in [(-60, false), (-30, true), (0, true), (30, true), (60, false)] {
            let clock = at(now.checked_add_signed(secs).expect("in range"));
            assert_eq!(matching(SECRET, &code, None, clock).is_some(), taken, "{secs}");
        }
    }

    #[test]
    fn a_used_step_and_those_before_are_refused() {
        let now = at(1_111_111_109);
        let code_now = code(SECRET, step(now));
        let used = matching(SECRET, &code_now, None, now);
        assert!(used.is_some());
        assert_eq!(matching(SECRET, &code_now, used, now), None);
        let earlier = code(SECRET, step(now) - 1);
        assert_eq!(matching(SECRET, &earlier, used, now), None);
        let later = code(SECRET, step(now) + 1);
        assert!(matching(SECRET, &later, used, now) > used);
        for wrong in [&b""[..], b"12345", b"1234567", b"abcdef"] {
            assert_eq!(matching(SECRET, wrong, None, now), None);
        }
    }

    #[test]
    fn base_32_is_rfc_4648s() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
            assert_eq!(from_base32(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(from_base32("mzxw-6ytb oi======").as_deref(), Some(&b"foobar"[..]));
        assert_eq!(from_base32("1"), None);
    }
}
