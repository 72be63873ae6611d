//! When a certificate expires (RFC 5280 §4.1.2.5).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::der::{CONTEXT_0, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME, element};

const DAY_SECONDS: u64 = 86_400;

/// `notAfter` of `certificate` (DER); `None` for what is not one, and for a time before 1970.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    // Certificate ::= SEQUENCE { tbsCertificate, … }
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (tbs, _) = element(certificate, SEQUENCE)?;
    // TBSCertificate ::= SEQUENCE { version [0] DEFAULT v1, serialNumber, signature, issuer, validity, … }
    let rest = element(tbs, CONTEXT_0).map_or(tbs, |(_, rest)| rest);
    let (_, rest) = element(rest, INTEGER)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    not_after
}

/// Takes a Time off the front: the instant, if it is one, and what follows.
fn time(input: &[u8]) -> Option<(Option<SystemTime>, &[u8])> {
    if let Some((text, rest)) = element(input, UTC_TIME) {
        // YYMMDDHHMMSSZ; from 50 on it is the last century.
        let instant = number(text, 0..2)
            .and_then(|year| instant(year + if year < 50 { 2000 } else { 1900 }, text.get(2..)?));
        return Some((instant, rest));
    }
    let (text, rest) = element(input, GENERALIZED_TIME)?;
    Some((number(text, 0..4).and_then(|year| instant(year, text.get(4..)?)), rest))
}

/// `MMDDHHMMSSZ` of a year.
fn instant(year: u64, text: &[u8]) -> Option<SystemTime> {
    if text.len() != 11 || text[10] != b'Z' {
        return None;
    }
    let part = |at: usize| number(text, at..at + 2);
    let (month, day) = (part(0)?, part(2)?);
    let (hours, minutes, seconds) = (part(4)?, part(6)?, part(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days(year, month, day)? * DAY_SECONDS + hours * 3600 + minutes * 60 + seconds;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; `None` before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    // The year begins in March: its last day is the one that may be missing.
    let year = if month > 2 { year } else { year.checked_sub(1)? };
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    (365 * year + year / 4 - year / 100 + year / 400 + of_year).checked_sub(719_468)
}

fn number(text: &[u8], at: std::ops::Range<usize>) -> Option<u64> {
    let digits = text.get(at)?;
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn expiring(year: i32, month: u8, day: u8) -> Vec<u8> {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
        params.not_before = date_time_ymd(1971, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&key).expect("sign").der().to_vec()
    }

    #[test]
    fn a_certificate_tells_when_it_expires() {
        // UTCTime up to 2049, GeneralizedTime from then on. Seconds by `date -u -d … +%s`.
        for ((year, month, day), seconds) in [
            ((1999, 12, 31), 946_598_400),
            ((2026, 11, 23), 1_795_392_000),
            ((2028, 2, 29), 1_835_395_200),
            ((2049, 12, 31), 2_524_521_600),
            ((2050, 1, 1), 2_524_608_000),
            ((2100, 3, 1), 4_107_542_400),
        ] {
            let found = not_after(&expiring(year, month, day)).expect("expires");
            let since = found.duration_since(UNIX_EPOCH).expect("after 1970");
            assert_eq!(since.as_secs(), seconds, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn what_is_cut_short_expires_never() {
        let whole = expiring(2030, 1, 1);
        for end in 0..whole.len() {
            assert_eq!(not_after(&whole[..end]), None, "{end}");
        }
    }
}
