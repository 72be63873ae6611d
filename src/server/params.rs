//! The ParameterStatus values of a session, as the server reported them.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

/// One key for all fingerprints of this process.
static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The reported values, shared until one changes. Cheap to clone and to compare.
#[derive(Debug, Clone, Default)]
pub struct Params(Arc<Inner>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Inner {
    fingerprint: u64,
    pairs: Vec<(Box<str>, Box<str>)>,
    /// See [`Params::standard_strings`], negated.
    escaping: bool,
    /// See [`Params::shifting_encoding`].
    shifting: bool,
}

/// Client encodings in which an ASCII byte may be part of another character.
const SHIFTING: [&str; 7] = ["SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB"];

/// More names than any server reports; a hostile one could otherwise grow the list for ever.
const PARAMS_MAX: usize = 64;

impl Params {
    /// Takes one report in. Beyond 64 names new ones are ignored.
    pub fn set(&mut self, name: &str, value: &str) {
        let found = self.0.pairs.binary_search_by(|(n, _)| (**n).cmp(name));
        match found {
            Ok(at) if *self.0.pairs[at].1 == *value => return,
            Ok(at) => Arc::make_mut(&mut self.0).pairs[at].1 = value.into(),
            Err(_) if self.0.pairs.len() >= PARAMS_MAX => return,
            Err(at) => Arc::make_mut(&mut self.0).pairs.insert(at, (name.into(), value.into())),
        }
        let inner = Arc::make_mut(&mut self.0);
        match name {
            "standard_conforming_strings" => inner.escaping = value == "off",
            "client_encoding" => {
                inner.shifting = SHIFTING.iter().any(|e| e.eq_ignore_ascii_case(value));
            }
            _ => {}
        }
        inner.fingerprint = HASH.hash_one(&inner.pairs);
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.pairs.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(&self.0.pairs[at].1)
    }

    /// Whether plain literals have no backslash escapes, as the standard has it.
    pub fn standard_strings(&self) -> bool {
        !self.0.escaping
    }

    /// Whether in the client's encoding an ASCII byte may be part of another character.
    pub fn shifting_encoding(&self) -> bool {
        self.0.shifting
    }

    /// Whether both hold the same values. Equal ones are one from then on, and cost a pointer
    /// comparison: of two the one at the lower address stays, so that all that meet become one in
    /// the end, whoever meets whom.
    pub fn merge(&mut self, other: &mut Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        if self.0 != other.0 {
            return false;
        }
        if Arc::as_ptr(&self.0) < Arc::as_ptr(&other.0) {
            other.0 = Arc::clone(&self.0);
        } else {
            self.0 = Arc::clone(&other.0);
        }
        true
    }

    /// All pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.pairs.iter().map(|(n, v)| (&**n, &**v))
    }

    /// The pairs of `self` that `known` has not, or has otherwise.
    pub fn news_to<'a>(&'a self, known: &'a Self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter(|(name, value)| known.value(name) != Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_is_read_under_is_known() {
        let mut params = Params::default();
        assert!(params.standard_strings() && !params.shifting_encoding());
        params.set("standard_conforming_strings", "off");
        params.set("client_encoding", "SJIS");
        assert!(!params.standard_strings() && params.shifting_encoding());
        params.set("client_encoding", "EUC_JP");
        params.set("standard_conforming_strings", "on");
        assert!(params.standard_strings() && !params.shifting_encoding());
    }

    #[test]
    fn equal_values_are_the_same_whatever_their_history() {
        let (mut a, mut b) = (Params::default(), Params::default());
        a.set("TimeZone", "UTC");
        a.set("DateStyle", "ISO, MDY");
        b.set("DateStyle", "German");
        b.set("TimeZone", "UTC");
        assert!(!a.merge(&mut b));
        assert_eq!(b.news_to(&a).collect::<Vec<_>>(), [("DateStyle", "German")]);
        b.set("DateStyle", "ISO, MDY");
        assert_eq!(a.0, b.0);
        assert_eq!(b.news_to(&a).count(), 0);
        assert!(!Arc::ptr_eq(&a.0, &b.0));
        assert!(a.merge(&mut b) && Arc::ptr_eq(&a.0, &b.0));
        b.set("TimeZone", "CET");
        assert!(!a.merge(&mut b) && a.value("TimeZone") == Some("UTC"));
    }
}
