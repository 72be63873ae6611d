//! PostgreSQL's MD5 method, for servers that still ask for it.

use zeroize::Zeroizing;

use crate::units::Secret;

/// The answer to AuthenticationMD5Password: `md5` and `md5(md5(password ‖ user) ‖ salt)`.
///
/// Goes to PostgreSQL only. No client of ours may log in this way.
pub fn md5_answer(user: &str, password: &Secret, salt: [u8; 4]) -> Zeroizing<String> {
    // The password goes into the hash PostgreSQL asked for.
    let (user, password) = (user.as_bytes(), password.expose().as_bytes());
    Zeroizing::new(postgres_protocol::authentication::md5_hash(user, password, salt))
}
