//! What a registration still has to write into the tenant's database, kept so that another
//! process can finish it, and readable under the master key only.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};

use crate::control::failed;
use crate::control::provision::NewAdmin;
use crate::fault::Fault;
use crate::tenant::MasterKey;

/// The sealed part of an admin's row: the rest is in the job row.
#[derive(Serialize, Deserialize)]
struct Sealed {
    password: String,
    first_name: String,
    last_name: String,
}

/// Seals it for registration `id`: a nonce, then the text under AES-256-GCM.
///
/// # Errors
/// When the system gives no random bytes.
pub(super) fn seal(key: &MasterKey, id: &str, admin: &NewAdmin) -> Result<Vec<u8>, Fault> {
    let sealed = Sealed {
        // Into its ciphertext and nowhere else.
        password: admin.password.expose().to_owned(),
        first_name: admin.first_name.clone(),
        last_name: admin.last_name.clone(),
    };
    let mut text = serde_json::to_vec(&sealed).map_err(failed::internal)?;
    let nonce = cipher(key, id)?
        .seal_in_place_append_tag(Aad::from(id.as_bytes()), &mut text)
        .map_err(|_| failed::internal("sealing failed"))?;
    let mut whole = nonce.as_ref().to_vec();
    whole.append(&mut text);
    Ok(whole)
}

/// Opens what [`seal`] made; `email` and `admin_id` are the job row's.
///
/// # Errors
/// When it was made under another key or for another registration.
pub(super) fn open(
    key: &MasterKey,
    id: &str,
    whole: &[u8],
    (admin_id, email): (&str, &str),
) -> Result<NewAdmin, Fault> {
    let torn = || failed::internal("what was sealed cannot be opened: is it another master key?");
    let (nonce, text) = whole.split_at_checked(NONCE_LEN).ok_or_else(torn)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| torn())?;
    let mut text = text.to_vec();
    let plain = cipher(key, id)?
        .open_in_place(nonce, Aad::from(id.as_bytes()), &mut text)
        .map_err(|_| torn())?;
    let sealed: Sealed = serde_json::from_slice(plain).map_err(failed::internal)?;
    Ok(NewAdmin {
        id: admin_id.to_owned(),
        email: email.to_owned(),
        password: sealed.password.into(),
        first_name: sealed.first_name,
        last_name: sealed.last_name,
    })
}

/// Each registration has a key of its own.
fn cipher(key: &MasterKey, id: &str) -> Result<RandomizedNonceKey, Fault> {
    let key = key.derive("registration seal", &[id.as_bytes()]);
    RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| failed::internal("no cipher"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_registration_opens_it() {
        let key = |c: &str| MasterKey::new(&c.repeat(32).as_str().into()).expect("key");
        let admin = NewAdmin {
            id: "a".into(),
            email: "a@b.c".into(),
            password: "$argon2id$hash".into(),
            first_name: "Ada".into(),
            last_name: "Lovelace".into(),
        };
        let whole = seal(&key("k"), "r1", &admin).expect("sealed");
        assert!(!String::from_utf8_lossy(&whole).contains("argon2"));
        assert_ne!(whole, seal(&key("k"), "r1", &admin).expect("sealed"));
        let opened = open(&key("k"), "r1", &whole, ("a", "a@b.c")).expect("opened");
        assert_eq!(
            (opened.first_name.as_str(), opened.password.expose()),
            ("Ada", "$argon2id$hash")
        );
        assert!(open(&key("k"), "r2", &whole, ("a", "a@b.c")).is_err());
        assert!(open(&key("l"), "r1", &whole, ("a", "a@b.c")).is_err());
        for cut in [0, 5, NONCE_LEN, whole.len() - 1] {
            assert!(open(&key("k"), "r1", &whole[..cut], ("a", "a@b.c")).is_err());
        }
    }
}
