//! The session settings (GUCs) that differ from what a fresh server connection has.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

/// Who a session is, in the order PostgreSQL wants them set: what another role may set could be
/// less, and a change of the session's user takes the role away.
const IDENTITY: [&str; 2] = ["session_authorization", "role"];

/// A set of settings by name, shared and compared by pointer first.
///
/// A client carries what it set; a server what was last applied to it. Equal sets cost nothing to
/// bring together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Settings(Option<Arc<BTreeMap<Box<str>, Box<str>>>>);

impl Settings {
    /// Builds a set; a later value of a name replaces an earlier one.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Box<str>>,
        V: Into<Box<str>>,
    {
        let map: BTreeMap<_, _> = pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        Self((!map.is_empty()).then(|| Arc::new(map)))
    }

    /// Whether nothing differs from the defaults.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether both hold the same values; a pointer comparison when they have one origin.
    pub fn same(&self, other: &Self) -> bool {
        self.is(other) || self == other
    }

    /// Whether both are one. Equal ones may be two.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// As [`Self::same`]; equal ones are one from then on. Of two the one at the lower address
    /// stays, so that all that meet become one in the end, whoever meets whom.
    pub fn merge(&mut self, other: &mut Self) -> bool {
        if self.is(other) {
            return true;
        }
        if self != other {
            return false;
        }
        let [own, others] = [&*self, &*other].map(|set| set.0.as_ref().map(Arc::as_ptr));
        if own < others {
            other.clone_from(self);
        } else {
            self.clone_from(other);
        }
        true
    }

    /// All pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|map| map.iter()).map(|(n, v)| (&**n, &**v))
    }

    /// These, with `name` at `value`.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let own = self.iter().filter(|(n, _)| *n != name);
        Self::from_pairs(own.chain([(name, value)]))
    }

    /// Those of these that `keep` keeps.
    #[must_use]
    pub fn retain(&self, keep: impl Fn(&str, &str) -> bool) -> Self {
        Self::from_pairs(self.iter().filter(|(n, v)| keep(n, v)))
    }

    /// These, less who the session is.
    #[must_use]
    pub fn without_identity(&self) -> Self {
        self.retain(|name, _| !IDENTITY.contains(&name))
    }

    /// These, and of `other` who the session is.
    #[must_use]
    pub fn with_identity_of(&self, other: &Self) -> Self {
        let identity = IDENTITY.iter().filter_map(|name| other.value(name).map(|v| (*name, v)));
        let own = self.iter().filter(|(name, _)| !IDENTITY.contains(name));
        Self::from_pairs(own.chain(identity))
    }

    /// These, and of `others` those whose names are not among these.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        if others.iter().all(|(name, _)| self.has(name)) {
            return self.clone();
        }
        Self::from_pairs(others.iter().chain(self.iter()))
    }

    /// These as 128 bits that nobody can make equal to those of others on purpose.
    pub fn fingerprint(&self) -> u128 {
        static HASHES: LazyLock<[RandomState; 2]> =
            LazyLock::new(|| [RandomState::new(), RandomState::new()]);
        let [high, low] = [0, 1].map(|n: usize| u128::from(HASHES[n].hash_one(self)));
        high << 64 | low
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.get(name).map(|value| &**value)
    }

    /// The SQL that turns a session at `self` into one at `target`, as one simple query: a
    /// `SELECT` of `set_config` calls, which take the value as it stands where `SET` would parse it.
    /// `None` when there is nothing to do.
    pub fn script_to(&self, target: &Self) -> Option<String> {
        if self.same(target) {
            return None;
        }
        let mut sql = String::new();
        let is_plain = |name: &str| !IDENTITY.contains(&name);
        // As another role, less could be set and reset: first back to who logged in.
        if IDENTITY.iter().any(|name| self.has(name)) {
            sql.push_str("RESET session_authorization;RESET role;");
        }
        for (name, _) in self.iter().filter(|(name, _)| is_plain(name) && !target.has(name)) {
            let _ = if name.is_ascii() {
                write!(sql, "RESET {};", quote_identifier(name))
            } else {
                write!(
                    sql,
                    "SELECT pg_catalog.set_config({},NULL,false) IS NULL;",
                    quote_text(name)
                )
            };
        }
        let known: BTreeMap<_, _> = self.iter().collect();
        let is_news = |name: &str, value: &str| known.get(name) != Some(&value);
        let plain = target.iter().filter(|(name, value)| is_plain(name) && is_news(name, value));
        let identity = IDENTITY.iter().filter_map(|name| target.value(name).map(|v| (*name, v)));
        for (name, value) in plain.chain(identity) {
            // What the client's encoding has no letters for is not told back.
            let untold = if value.is_ascii() { "" } else { " IS NULL" };
            let (name, value) = (quote_text(name), quote_text(value));
            let _ = write!(sql, "SELECT pg_catalog.set_config({name},{value},false){untold};");
        }
        Some(sql)
    }
}

/// A text as an expression of ASCII alone, whatever the client's encoding: the server's is what it is
/// converted to. (`\u` in a literal is refused where that is SQL_ASCII.)
pub fn quote_text(text: &str) -> String {
    if text.is_ascii() {
        return quote_literal(text);
    }
    let mut sql = "pg_catalog.convert_from(pg_catalog.decode('".to_owned();
    for byte in text.bytes() {
        let _ = write!(sql, "{byte:02x}");
    }
    sql.push_str("','hex'),'UTF8')");
    sql
}

/// A dotted name is quoted part by part.
pub(super) fn quote_identifier(name: &str) -> String {
    let parts: Vec<_> =
        name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    parts.join(".")
}

/// A string literal, safe under either value of `standard_conforming_strings`: backslashes force the `E''` form.
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_need_no_script() {
        let a = Settings::from_pairs([("TimeZone", "UTC")]);
        assert_eq!(a.script_to(&a.clone()), None);
        assert_eq!(Settings::default().script_to(&Settings::from_pairs::<&str, &str>([])), None);
    }

    #[test]
    fn a_script_resets_what_is_gone_and_sets_what_is_new() {
        let a = Settings::from_pairs([("a.b", "1"), ("DateStyle", "ISO")]);
        let b =
            Settings::from_pairs([("role", "x"), ("search_path", "a, 'b\\"), ("DateStyle", "ISO")]);
        assert_eq!(
            a.script_to(&b).expect("differs"),
            "RESET \"a\".\"b\";\
             SELECT pg_catalog.set_config('search_path',E'a, ''b\\\\',false);\
             SELECT pg_catalog.set_config('role','x',false);"
        );
    }

    #[test]
    fn a_script_is_ascii() {
        let a = Settings::from_pairs([("a.\u{e4}", "1")]);
        let b = Settings::from_pairs([("search_path", "\"m\u{fc}\"")]);
        assert_eq!(
            a.script_to(&b).expect("differs"),
            "SELECT pg_catalog.set_config(\
             pg_catalog.convert_from(pg_catalog.decode('612ec3a4','hex'),'UTF8'),NULL,false) IS NULL;\
             SELECT pg_catalog.set_config('search_path',\
             pg_catalog.convert_from(pg_catalog.decode('226dc3bc22','hex'),'UTF8'),false) IS NULL;"
        );
    }

    #[test]
    fn who_set_less_is_not_asked_to_set_more() {
        let a = Settings::from_pairs([("log_statement", "all"), ("session_authorization", "x")]);
        let b = a.with("log_statement", "none").with("role", "y");
        assert_eq!(
            a.script_to(&b).expect("differs"),
            "RESET session_authorization;RESET role;\
             SELECT pg_catalog.set_config('log_statement','none',false);\
             SELECT pg_catalog.set_config('session_authorization','x',false);\
             SELECT pg_catalog.set_config('role','y',false);"
        );
        assert_eq!(
            a.script_to(&Settings::default()).expect("differs"),
            "RESET session_authorization;RESET role;RESET \"log_statement\";"
        );
    }
}
