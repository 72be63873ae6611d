//! Phone numbers as the world writes them.

use std::fmt;
use std::str::FromStr;

/// A number by ITU-T E.164: `+`, then up to fifteen digits, the first not a zero. Prints as
/// `E164`: a number is personal data, and whoever writes one out says so with [`E164::as_str`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct E164(Box<str>);

/// The shortest that is anybody's: shorter ones are a network's own services.
const DIGITS_MIN: usize = 7;
const DIGITS_MAX: usize = 15;

impl E164 {
    /// Reads a number. Blanks, brackets and dashes are refused, not guessed away.
    ///
    /// # Errors
    /// [`NotE164`].
    pub fn parse(text: &str) -> Result<Self, NotE164> {
        let digits = text.strip_prefix('+').ok_or(NotE164)?;
        let length = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len());
        let clean = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        if length && clean { Ok(Self(text.into())) } else { Err(NotE164) }
    }

    /// The number itself. Not for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for E164 {
    type Err = NotE164;

    fn from_str(text: &str) -> Result<Self, NotE164> {
        Self::parse(text)
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("E164")
    }
}

/// Not a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a phone number is written like +15551234567: a plus, then 7 to 15 digits")]
pub struct NotE164;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_strictly() {
        for good in ["+15551234567", "+4915112345678", "+123456789012345", "+6821234"] {
            assert_eq!(E164::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            "+",
            "15551234567",
            "+05551234567",
            "+1 555 123 4567",
            "+1234567890123456",
            "+123456",
            "+1555123456a",
            "+\u{0661}2345678",
            "++15551234567",
            "+15551234567\0",
        ] {
            assert!(E164::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_is_never_printed_by_accident() {
        let number = E164::parse("+15551234567").expect("number");
        assert_eq!(format!("{number:?}"), "E164");
    }
}
