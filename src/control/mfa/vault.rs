//! Secrets of second factors at rest: AES-256-GCM under a key derived for one admin of one tenant,
//! so that a row copied to another admin, or read out of a dump, opens nothing.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::totp;
use crate::control::verifier::random;
use crate::control::{Refused, failed};
use crate::ident::TenantId;
use crate::tenant::MasterKey;
use crate::units::hex;

/// What sealed secrets begin with.
const SEALED: &str = "v1:";

/// The shortest secret of another system that is believed, in bytes.
const FOREIGN_BYTES_MIN: usize = 10;

/// A shared secret, and whether it is stored as it should be.
pub(super) struct Opened {
    pub(super) secret: Vec<u8>,
    pub(super) sealed: bool,
}

/// Seals and opens what belongs to one admin.
pub(super) struct Vault<'a> {
    pub(super) key: &'a MasterKey,
    pub(super) tenant: &'a TenantId,
    pub(super) admin: &'a str,
}

impl Vault<'_> {
    fn aead(&self) -> Result<LessSafeKey, Refused> {
        let parts = [self.tenant.as_str().as_bytes(), self.admin.as_bytes()];
        let key = self.key.derive("mfa secret", &parts);
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| failed::internal("aead"))?;
        Ok(LessSafeKey::new(key))
    }

    /// The text to store for `secret`.
    pub(super) fn seal(&self, secret: &[u8]) -> Result<String, Refused> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = secret.to_vec();
        self.aead()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut sealed,
            )
            .map_err(|_| failed::internal("aead"))?;
        let whole = [&nonce[..], &sealed].concat();
        Ok(format!("{SEALED}{}", STANDARD_NO_PAD.encode(whole)))
    }

    /// What was stored: sealed here, or the plain base 32 of a system before.
    pub(super) fn open(&self, stored: &str) -> Option<Opened> {
        let Some(text) = stored.strip_prefix(SEALED) else {
            let secret = totp::from_base32(stored.trim())?;
            return (secret.len() >= FOREIGN_BYTES_MIN).then_some(Opened { secret, sealed: false });
        };
        let whole = STANDARD_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = whole.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.aead().ok()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(Opened { secret: opened.to_vec(), sealed: true })
    }

    /// The keyed hash a recovery code is stored as.
    pub(super) fn recovery_hash(&self, code: &str) -> String {
        let (tenant, admin) = (self.tenant.as_str().as_bytes(), self.admin.as_bytes());
        hex(&self.key.derive("mfa recovery code", &[tenant, admin, code.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_admin_only() {
        let key = MasterKey::new(&"k".repeat(32).as_str().into()).expect("key");
        let (a, b) = (TenantId::parse("a").expect("id"), TenantId::parse("b").expect("id"));
        let vault = Vault { key: &key, tenant: &a, admin: "1" };
        let sealed = vault.seal(b"a shared secret of 20").expect("sealed");
        assert!(!sealed.contains("shared") && sealed.starts_with("v1:"));
        assert_ne!(sealed, vault.seal(b"a shared secret of 20").expect("sealed"), "a new nonce");
        let opened = vault.open(&sealed).expect("opened");
        assert_eq!((&opened.secret[..], opened.sealed), (&b"a shared secret of 20"[..], true));
        assert!(Vault { key: &key, tenant: &b, admin: "1" }.open(&sealed).is_none());
        assert!(Vault { key: &key, tenant: &a, admin: "2" }.open(&sealed).is_none());
        let mut broken = sealed.clone();
        broken.pop();
        assert!(vault.open(&broken).is_none());
        assert!(vault.open("v1:").is_none() && vault.open("").is_none());
        let foreign = vault.open("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").expect("base 32");
        assert_eq!((&foreign.secret[..], foreign.sealed), (&b"12345678901234567890"[..], false));
    }
}
