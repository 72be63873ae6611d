//! SCRAM messages, read strictly: attributes in RFC 5802's order, nothing left over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest SCRAM message: PostgreSQL's own bound (`PG_MAX_SASL_MESSAGE_LENGTH`).
const MESSAGE_BYTES_MAX: usize = 1_024;

/// The longest salt read, in bytes. PostgreSQL's is 16.
const SALT_BYTES_MAX: usize = 256;

/// What is wrong with an exchange. Never shown to the peer in more words than "failed".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message is longer than 1,024 bytes.
    #[error("a SCRAM message is too long")]
    TooLong,
    /// A message does not follow the grammar.
    #[error("a SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// The mechanism was not offered.
    #[error("the SASL mechanism was not offered")]
    Mechanism,
    /// The channel binding flag does not fit the mechanism or the transport.
    #[error("the channel binding does not fit: {0}")]
    Binding(&'static str),
    /// The nonce is not the one of this exchange.
    #[error("the SCRAM nonce is not of this exchange")]
    Nonce,
    /// The proof or signature is wrong: the peer does not know the secret.
    #[error("the SCRAM proof is wrong")]
    Proof,
    /// The server asks for more PBKDF2 rounds than anyone needs.
    #[error("the server asks for {0} SCRAM iterations, more than 100000")]
    Iterations(u32),
    /// The server refused.
    #[error("the server refused the SCRAM exchange")]
    Refused,
    /// Channel binding is required and can not be had.
    #[error("channel binding is required, and the server or its certificate does not offer it")]
    BindingRequired,
    /// The random number generator failed.
    #[error("no random numbers")]
    Random,
}

/// The channel binding flag of the GS2 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    /// `n`: the client can not bind.
    No,
    /// `y`: the client could, and thinks the server can not.
    Could,
    /// `p=tls-server-end-point`.
    EndPoint,
}

impl Flag {
    /// The whole GS2 header, with no authorisation identity.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::No => "n,,",
            Self::Could => "y,,",
            Self::EndPoint => "p=tls-server-end-point,,",
        }
    }
}

/// `client-first-message`.
#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    pub(super) flag: Flag,
    /// Everything after the GS2 header.
    pub(super) bare: &'a str,
    pub(super) nonce: &'a str,
}

/// `server-first-message`.
#[derive(Debug)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

/// `client-final-message`.
#[derive(Debug)]
pub(super) struct ClientFinal<'a> {
    /// Everything before `,p=`.
    pub(super) without_proof: &'a str,
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'a str,
    pub(super) proof: [u8; 32],
}

/// Bounds a message and reads it as text.
pub(super) fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::TooLong);
    }
    let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))?;
    if text.contains('\0') {
        return Err(ScramError::Malformed("a zero byte"));
    }
    Ok(text)
}

/// Takes `name=value` from the front of `rest`, up to the next comma or the end.
fn attribute<'a>(rest: &mut &'a str, name: char) -> Result<&'a str, ScramError> {
    let body = rest
        .strip_prefix(name)
        .and_then(|body| body.strip_prefix('='))
        .ok_or(ScramError::Malformed("an attribute is missing or out of order"))?;
    let (value, tail) = body.split_once(',').unwrap_or((body, ""));
    *rest = tail;
    Ok(value)
}

fn nonce(value: &str) -> Result<&str, ScramError> {
    let printable = value.bytes().all(|b| matches!(b, 0x21..=0x2b | 0x2d..=0x7e));
    if value.is_empty() || !printable {
        return Err(ScramError::Malformed("the nonce is empty or not printable"));
    }
    Ok(value)
}

fn base64(value: &str) -> Result<Vec<u8>, ScramError> {
    STANDARD.decode(value).map_err(|_| ScramError::Malformed("not base64"))
}

fn key(value: &str) -> Result<[u8; 32], ScramError> {
    base64(value)?.try_into().map_err(|_| ScramError::Malformed("not 32 bytes"))
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(message: &'a str) -> Result<Self, ScramError> {
        let (flag, rest) = match message.split_once(',') {
            Some(("n", rest)) => (Flag::No, rest),
            Some(("y", rest)) => (Flag::Could, rest),
            Some(("p=tls-server-end-point", rest)) => (Flag::EndPoint, rest),
            Some((other, _)) if other.starts_with("p=") => {
                return Err(ScramError::Binding("only tls-server-end-point is known"));
            }
            _ => return Err(ScramError::Malformed("no GS2 header")),
        };
        // An authorisation identity would let one user ask to be another; PostgreSQL refuses it.
        let bare = rest
            .strip_prefix(',')
            .ok_or(ScramError::Malformed("an authorisation identity is not supported"))?;
        let mut rest = bare;
        // `m=` (mandatory extension) fails here too: nothing but n= may stand first. The name is
        // not used: PostgreSQL's startup packet has said it already.
        attribute(&mut rest, 'n')?;
        let nonce = nonce(attribute(&mut rest, 'r')?)?;
        Ok(Self { flag, bare, nonce })
    }
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a str) -> Result<Self, ScramError> {
        let mut rest = message;
        let nonce = nonce(attribute(&mut rest, 'r')?)?;
        let salt = base64(attribute(&mut rest, 's')?)?;
        let iterations = iterations(attribute(&mut rest, 'i')?)?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(ScramError::Malformed("the salt is empty or too long"));
        }
        if !rest.is_empty() {
            return Err(ScramError::Malformed("something follows the iterations"));
        }
        Ok(Self { nonce, salt, iterations })
    }
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a str) -> Result<Self, ScramError> {
        // The proof is last; extensions before it are signed over and otherwise ignored.
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or(ScramError::Malformed("no proof"))?;
        let mut rest = without_proof;
        let binding = base64(attribute(&mut rest, 'c')?)?;
        let nonce = nonce(attribute(&mut rest, 'r')?)?;
        Ok(Self { without_proof, binding, nonce, proof: key(proof)? })
    }
}

/// Reads `server-final-message`: the server's signature.
pub(super) fn server_final(message: &str) -> Result<[u8; 32], ScramError> {
    if message.starts_with("e=") {
        return Err(ScramError::Refused);
    }
    let mut rest = message;
    let signature = key(attribute(&mut rest, 'v')?)?;
    if rest.is_empty() { Ok(signature) } else { Err(ScramError::Malformed("more than v=")) }
}

/// Reads an iteration count: 1 or more, digits only.
pub(super) fn iterations(value: &str) -> Result<u32, ScramError> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ScramError::Malformed("the iterations are not a number"));
    }
    match value.parse::<u32>() {
        Ok(count) if count > 0 => Ok(count),
        Ok(_) => Err(ScramError::Malformed("no iterations")),
        Err(_) => Err(ScramError::Malformed("the iterations are too many")),
    }
}

/// A fresh nonce: 18 random bytes as base64, as PostgreSQL makes them.
pub(super) fn fresh_nonce() -> Result<String, ScramError> {
    let mut raw = [0_u8; 18];
    aws_lc_rs::rand::fill(&mut raw).map_err(|_| ScramError::Random)?;
    Ok(STANDARD.encode(raw))
}
