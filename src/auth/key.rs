//! API keys: how they are made, and how a SCRAM exchange over one becomes an [`Identity`].

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::identity::{Identity, Kind, Proof, TokenId};
use super::scram::{
    Binding, Candidate, ITERATIONS, MockSecret, ProofAwaited, ScramError, ScramServer,
    ScramVerifier,
};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::{Role, TenantId};
use crate::units::Secret;

/// The prefix of the startup user that names a key: `key_<id>`.
const USER_PREFIX: &str = "key_";

/// The longest key id: with its prefix it fits PostgreSQL's 63 bytes.
const ID_BYTES_MAX: usize = 59;

/// An API key as the registry keeps it.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The id, without `key_`.
    pub id: Box<str>,
    /// Whose database it opens.
    pub tenant: TenantId,
    /// As which role.
    pub role: Role,
    /// What proves its secret.
    pub verifier: ScramVerifier,
    /// When it was made.
    pub created_at: Option<SystemTime>,
    /// When it ends; `None`: never.
    pub expires_at: Option<SystemTime>,
    /// What it was given beyond its role.
    pub scopes: Vec<Box<str>>,
}

impl ApiKey {
    /// The id in a startup user `key_<id>`; `None` for any other user.
    pub fn id_of_user(user: &str) -> Option<&str> {
        user.strip_prefix(USER_PREFIX).filter(|id| {
            (1..=ID_BYTES_MAX).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
    }
}

/// A key just made. The secret is handed out once and kept nowhere.
pub struct FreshKey {
    /// The id, without `key_`: 80 random bits.
    pub id: String,
    /// 256 random bits.
    pub secret: Secret,
    /// What the registry keeps.
    pub verifier: ScramVerifier,
}

impl FreshKey {
    /// Makes a key. Costs PBKDF2: for the control runtime.
    pub fn generate() -> Result<Self, ScramError> {
        let mut raw = [0_u8; 42];
        aws_lc_rs::rand::fill(&mut raw).map_err(|_| ScramError::Random)?;
        let (id, secret) = raw.split_at(10);
        let id = base32(id);
        let secret = Secret::from(format!("pgk_{}", URL_SAFE_NO_PAD.encode(secret)));
        // The verifier is made of the secret itself; it leaves this function only inside `Secret`.
        let verifier = ScramVerifier::make(secret.expose(), ITERATIONS)?;
        zeroize::Zeroize::zeroize(&mut raw);
        Ok(Self { id, secret, verifier })
    }

    /// The startup user that goes with it.
    pub fn user(&self) -> String {
        format!("{USER_PREFIX}{}", self.id)
    }
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Crockford's alphabet in lower case: no letter that reads like another.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let (mut text, mut buffer, mut bits) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            let index = usize::try_from((buffer >> bits) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'0')));
        }
        buffer &= (1 << bits) - 1;
    }
    text
}

/// A login by API key between the server's challenge and the client's proof.
#[derive(Debug)]
pub struct KeyLogin {
    key: Option<Arc<ApiKey>>,
    awaited: ProofAwaited,
}

impl KeyLogin {
    /// Reads the client's first message and gives the challenge to send.
    ///
    /// `key` is what the registry has for `id`; `None` runs the exchange to its end against a
    /// verifier made of `mock`, so that an unknown id looks like a known one.
    pub fn begin(
        (id, key): (&str, Option<Arc<ApiKey>>),
        mock: &MockSecret,
        binding: Binding,
        (mechanism, message): (&str, &[u8]),
    ) -> Result<(Vec<u8>, Self), Fault> {
        let candidate = match &key {
            Some(key) => Candidate::Known(&key.verifier),
            None => Candidate::Unknown { mock, id },
        };
        let (reply, awaited) = ScramServer::new(binding)
            .client_first(mechanism, message, &candidate)
            .map_err(refused)?;
        Ok((reply, Self { key, awaited }))
    }

    /// Reads the client's proof; gives the last message to send and who it is.
    pub fn finish(self, message: &[u8], now: SystemTime) -> Result<(Vec<u8>, Identity), Fault> {
        let reply = self.awaited.client_final(message).map_err(refused)?;
        let key = self.key.ok_or_else(|| refused(ScramError::Proof))?;
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err(failed("the key has expired"));
        }
        if key.role == Role::Sidecar {
            return Err(failed("a key may not be pgusher's own hand"));
        }
        let identity = Identity::proven(Proof {
            kind: Kind::ApiKey,
            renewable: false,
            tenant: key.tenant.clone(),
            role: key.role,
            subject: key.id.clone(),
            token_id: TokenId::new(&key.id),
            issued_at: key.created_at,
            expires_at: key.expires_at,
            scopes: key.scopes.clone(),
        });
        Ok((reply, identity))
    }
}

/// What a stranger reads. A broken message is the client's protocol violation and says nothing
/// about the key; everything else reads alike.
fn refused(error: ScramError) -> Fault {
    match error {
        ScramError::TooLong | ScramError::Malformed(_) | ScramError::Nonce => {
            Fault::new(Blame::Client, SqlState::PROTOCOL_VIOLATION, "malformed SCRAM message")
                .because(error)
        }
        ScramError::Mechanism => Fault::new(
            Blame::Client,
            SqlState::PROTOCOL_VIOLATION,
            "client selected an invalid SASL authentication mechanism",
        )
        .because(error),
        ScramError::Random => {
            Fault::new(Blame::Proxy, SqlState::INTERNAL_ERROR, "no random numbers are to be had")
                .because(error)
        }
        _ => failed(error),
    }
}

fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::new(
        Blame::Client,
        SqlState::INVALID_PASSWORD,
        "authentication failed: the token or key was not accepted",
    )
    .because(cause)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::super::scram::SCRAM_SHA_256;
    use super::*;

    fn record(fresh: &FreshKey, expires_at: Option<SystemTime>) -> Arc<ApiKey> {
        Arc::new(ApiKey {
            id: fresh.id.as_str().into(),
            tenant: TenantId::parse("acme").expect("id"),
            role: Role::App,
            verifier: ScramVerifier::parse(&fresh.verifier.to_string()).expect("round trip"),
            created_at: None,
            expires_at,
            scopes: vec!["read".into()],
        })
    }

    fn login(id: &str, key: Option<Arc<ApiKey>>, secret: &str) -> Result<Identity, Fault> {
        let mock = MockSecret::from_shared(b"mock");
        let mut client = ScramSha256::new(secret.as_bytes(), ChannelBinding::unsupported());
        let message = (SCRAM_SHA_256, client.message());
        let (reply, login) = KeyLogin::begin((id, key), &mock, Binding::Unavailable, message)?;
        client.update(&reply).expect("challenge");
        let (last, identity) =
            login.finish(client.message(), UNIX_EPOCH + Duration::from_secs(100))?;
        client.finish(&last).expect("the client trusts us");
        Ok(identity)
    }

    #[test]
    fn a_fresh_key_logs_in_as_what_the_registry_says() {
        let fresh = FreshKey::generate().expect("random");
        assert_eq!(ApiKey::id_of_user(&fresh.user()), Some(fresh.id.as_str()));
        let key = record(&fresh, Some(UNIX_EPOCH + Duration::from_secs(101)));
        let identity = login(&fresh.id, Some(key), fresh.secret.expose()).expect("login");
        assert_eq!((identity.kind(), identity.role()), (Kind::ApiKey, Role::App));
        assert_eq!(identity.tenant().as_str(), "acme");
        assert_eq!(identity.token_id().as_str(), fresh.id);
        assert!(identity.has_scope("read"));
        assert!(!format!("{fresh:?}").contains(fresh.secret.expose()));
    }

    #[test]
    fn every_failure_of_a_key_reads_alike() {
        let fresh = FreshKey::generate().expect("random");
        let secret = fresh.secret.expose();
        let expired = record(&fresh, Some(UNIX_EPOCH + Duration::from_secs(100)));
        let unknown = login("nobody", None, secret).expect_err("unknown id");
        let wrong = login(&fresh.id, Some(record(&fresh, None)), "wrong").expect_err("secret");
        let late = login(&fresh.id, Some(expired), secret).expect_err("expired");
        for fault in [&unknown, &wrong, &late] {
            assert_eq!(fault.state(), SqlState::INVALID_PASSWORD);
            assert_eq!(fault.message(), unknown.message());
        }
    }

    #[test]
    fn only_clean_key_ids_are_looked_up() {
        assert_eq!(ApiKey::id_of_user("key_ab12"), Some("ab12"));
        for user in
            ["key_", "ab12", "key_A", "key_a b", "key_é", &format!("key_{}", "a".repeat(60))]
        {
            assert_eq!(ApiKey::id_of_user(user), None, "{user}");
        }
    }
}
