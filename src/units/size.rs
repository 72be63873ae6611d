//! Sizes in settings: `"512B"`, `"16KiB"`, `"4MiB"`, `"1GiB"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(usize);

const UNITS: [(&str, usize); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl Size {
    /// `n` bytes.
    pub const fn bytes(n: usize) -> Self {
        Self(n)
    }

    /// `n` KiB.
    pub const fn kib(n: usize) -> Self {
        Self(n << 10)
    }

    /// As a number of bytes.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a size: write it like 512B, 16KiB, 4MiB or 1GiB");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (digits, unit) = text.split_at(split);
        let number: usize = digits.parse().map_err(|_| bad())?;
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(bad)?;
        number.checked_mul(*scale).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS.iter().rev().find(|(_, scale)| self.0.is_multiple_of(*scale));
        let (unit, scale) = fits.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_every_unit() {
        for text in ["0GiB", "512B", "16KiB", "4MiB", "1GiB"] {
            assert_eq!(text.parse::<Size>().expect(text).to_string(), text);
        }
        for bad in ["", "5", "KiB", "-1KiB", "1.5MiB", "1kb", "99999999999999999999B"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
