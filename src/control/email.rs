//! E-mail addresses as keys: normalised, then hashed, so that the registry can find an admin
//! without holding whom it found.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::tenant::MasterKey;
use crate::units::hex;

/// How an adopted registry hashed its `"emailHash"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegacyEmailHash {
    /// There is none: only keyed hashes.
    #[default]
    None,
    /// SHA-256 in hex of the address as typed in, lower-cased and trimmed.
    Sha256,
    /// The address itself, lower-cased and trimmed.
    Plain,
}

/// The longest address (RFC 5321, 4.5.3.1).
pub(super) const EMAIL_BYTES_MAX: usize = 254;

/// A normalised address: without ASCII white space around it, lower-cased. `None` when it is not one.
pub(super) fn normalised(text: &str) -> Option<String> {
    if text.len() > EMAIL_BYTES_MAX {
        return None;
    }
    let text = text.trim_ascii();
    let (local, domain) = text.rsplit_once('@')?;
    let visible = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let labels = domain.split('.').all(|label| {
        let edges = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && !edges && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    });
    let fits = (1..=64).contains(&local.len()) && !local.contains(['@', '<', '>', '"', ',']);
    let dotted = domain.contains('.') || domain == "localhost";
    (fits && visible && labels && dotted).then(|| text.to_lowercase())
}

/// Finds admins by e-mail.
#[derive(Debug, Clone)]
pub struct EmailIndex {
    key: MasterKey,
    legacy: LegacyEmailHash,
}

impl EmailIndex {
    /// An index under `key`.
    pub fn new(key: MasterKey, legacy: LegacyEmailHash) -> Self {
        Self { key, legacy }
    }

    /// The keyed hash of a normalised address.
    pub(super) fn hash(&self, email: &str) -> String {
        hex(&self.key.derive("e-mail", &[email.as_bytes()]))
    }

    /// The hashes an address may be found under, the keyed one first.
    pub(super) fn hashes(&self, email: &str) -> Vec<String> {
        let mut hashes = vec![self.hash(email)];
        match self.legacy {
            LegacyEmailHash::None => {}
            LegacyEmailHash::Sha256 => {
                hashes.push(hex(digest::digest(&digest::SHA256, email.as_bytes()).as_ref()));
            }
            LegacyEmailHash::Plain => hashes.push(email.to_owned()),
        }
        hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised_or_refused() {
        assert_eq!(normalised(" Ada@Example.ORG\r\n").as_deref(), Some("ada@example.org"));
        assert_eq!(
            normalised("o'neil+x@sub.example.co").as_deref(),
            Some("o'neil+x@sub.example.co")
        );
        for bad in [
            "", "a", "@", "a@", "@b.c", "a@b", "a@b..c", "a b@c.d", "a@-b.c", "a@b.c\0", "<a>@b.c",
            "a@b.c d", "a@@b.c", "a@b_c.d",
        ] {
            assert_eq!(normalised(bad), None, "{bad:?}");
        }
        assert_eq!(normalised(&format!("{}@b.c", "a".repeat(65))), None);
        assert_eq!(normalised("\u{a0}a@b.c").or_else(|| normalised("a@b.c\u{b}")), None);
    }

    #[test]
    fn the_hash_is_keyed_and_the_legacy_one_second() {
        let key = |c: &str| MasterKey::new(&c.repeat(32).as_str().into()).expect("key");
        let index = EmailIndex::new(key("k"), LegacyEmailHash::Sha256);
        let hashes = index.hashes("a@b.c");
        assert_eq!(hashes.len(), 2);
        assert_ne!(hashes[0], EmailIndex::new(key("l"), LegacyEmailHash::None).hash("a@b.c"));
        assert_eq!(hashes[1].len(), 64);
    }
}
