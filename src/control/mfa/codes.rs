//! What an admin types: a code of the moment, or a recovery code.

use super::totp;
use crate::control::Refused;
use crate::control::verifier::random;

/// Recovery codes handed out at once.
pub(super) const RECOVERY_CODES: usize = 10;

/// Letters of a recovery code: 50 bits.
const RECOVERY_LETTERS: usize = 10;

/// The longest text worth a look.
const TYPED_BYTES_MAX: usize = 64;

/// What was typed, without blanks and hyphens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Six digits.
    Code(Vec<u8>),
    /// A recovery code, in capitals.
    Recovery(String),
}

impl Typed {
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > TYPED_BYTES_MAX {
            return None;
        }
        let letters: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        if letters.len() == totp::DIGITS && letters.bytes().all(|b| b.is_ascii_digit()) {
            return Some(Self::Code(letters.into_bytes()));
        }
        let plain = letters.bytes().all(|b| b.is_ascii_alphanumeric());
        (plain && letters.len() == RECOVERY_LETTERS)
            .then(|| Self::Recovery(letters.to_ascii_uppercase()))
    }
}

/// New recovery codes, as they are shown: `ABCDE-FGHIJ`.
pub(super) fn recovery_codes() -> Result<Vec<String>, Refused> {
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        let mut code = totp::base32(&random::<7>()?);
        code.truncate(RECOVERY_LETTERS);
        code.insert(RECOVERY_LETTERS / 2, '-');
        codes.push(code);
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_one_or_the_other() {
        assert_eq!(Typed::read(" 123 456 "), Some(Typed::Code(b"123456".to_vec())));
        assert_eq!(Typed::read("abcde-fghij"), Some(Typed::Recovery("ABCDEFGHIJ".to_owned())));
        for nothing in ["", "12345", "1234567", "ABCDE-FGHI", "ÄBCDE-FGHI", &"1".repeat(500)] {
            assert_eq!(Typed::read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn recovery_codes_are_read_back() {
        let codes = recovery_codes().expect("random");
        let mut distinct = codes.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((codes.len(), distinct.len()), (RECOVERY_CODES, RECOVERY_CODES));
        for code in &codes {
            let plain = code.replace('-', "");
            assert_eq!(Typed::read(code), Some(Typed::Recovery(plain)));
        }
    }
}
