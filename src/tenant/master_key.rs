//! The one secret everything derived comes from.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ident::{Role, TenantId};
use crate::units::Secret;

/// HMAC-SHA-256 under the installation's master key, with a purpose in front of every input, so
/// that no derived value can be mistaken for one of another purpose. Cheap to clone.
#[derive(Clone)]
pub struct MasterKey(Arc<hmac::Key>);

/// The shortest master key in bytes: as many as the hash has.
const KEY_BYTES_MIN: usize = 32;

impl MasterKey {
    /// Takes the secret of the configuration.
    ///
    /// # Errors
    /// When it is shorter than 32 bytes.
    pub fn new(secret: &Secret) -> Result<Self, String> {
        let bytes = secret.expose().as_bytes();
        if bytes.len() < KEY_BYTES_MIN {
            return Err(format!("the master key has fewer than {KEY_BYTES_MIN} bytes"));
        }
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))))
    }

    /// A value derived for `purpose` from `parts`. Each part is preceded by its length: no two
    /// lists of parts give the same input.
    pub fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let mut out = [0; 32];
        out.copy_from_slice(&tag.as_ref()[..32]);
        out
    }

    /// The password of `tenant`'s login role for `role`.
    pub fn role_password(&self, tenant: &TenantId, role: Role, version: i32) -> Secret {
        let parts: [&[u8]; 3] =
            [tenant.as_str().as_bytes(), role.as_str().as_bytes(), &version.to_be_bytes()];
        URL_SAFE_NO_PAD.encode(self.derive("role password", &parts)).into()
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_depends_on_every_part() {
        let key = MasterKey::new(&"k".repeat(32).as_str().into()).expect("long enough");
        let other = MasterKey::new(&"l".repeat(32).as_str().into()).expect("long enough");
        let (a, b) = (TenantId::parse("a").expect("id"), TenantId::parse("b").expect("id"));
        let first = key.role_password(&a, Role::App, 1);
        assert_eq!(first.expose().len(), 43);
        assert!(first == key.role_password(&a, Role::App, 1));
        for different in [
            key.role_password(&b, Role::App, 1),
            key.role_password(&a, Role::Owner, 1),
            key.role_password(&a, Role::App, 2),
            other.role_password(&a, Role::App, 1),
        ] {
            assert!(first != different);
        }
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        let key = MasterKey::new(&"k".repeat(32).as_str().into()).expect("long enough");
        assert_ne!(key.derive("p", &[b"ab", b"c"]), key.derive("p", &[b"a", b"bc"]));
        assert_ne!(key.derive("p", &[b"a"]), key.derive("pa", &[]));
        assert!(MasterKey::new(&"short".into()).is_err());
    }
}
