//! The packets before there are frames: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage.
//!
//! The reader takes eight bytes, learns from [`GreetingHeader`] exactly how many more there are,
//! and takes those: nothing is ever read ahead, so nothing sent before TLS can be read after it
//! (CVE-2021-23214). Protocol versions 3.0 and 3.2; minor versions beyond are negotiated down.

use super::cstr::Fields;
use super::{Malformed, Writer};

/// The longest startup packet (`MAX_STARTUP_PACKET_LENGTH`).
pub const STARTUP_BYTES_MAX: usize = 10_000;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Shortest and longest secret of a cancel key: 4 bytes in 3.0, up to 256 in 3.2.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 4..=256;

/// The first eight bytes of a packet: its length and its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GreetingHeader {
    /// The client asks for TLS. Nothing follows.
    Ssl,
    /// The client asks for GSSAPI encryption. Nothing follows.
    Gss,
    /// A cancel request; `body` bytes follow: process id and secret.
    Cancel {
        /// Bytes still to read.
        body: usize,
    },
    /// A request of a length it cannot have: to be closed without an answer.
    Mangled,
    /// A startup message; `body` bytes of parameters follow.
    Startup {
        /// What the client speaks.
        version: ProtocolVersion,
        /// Bytes still to read.
        body: usize,
    },
}

impl GreetingHeader {
    /// Reads the first eight bytes.
    ///
    /// # Errors
    /// [`Malformed::Length`] when the length does not fit the code, [`Malformed::Type`] when the
    /// code is neither a request nor protocol 3.
    pub fn parse(bytes: [u8; 8]) -> Result<Self, Malformed> {
        let word = u64::from_be_bytes(bytes);
        let length = usize::try_from(word >> 32).map_err(|_| Malformed::Length)?;
        let code = u32::try_from(word & 0xffff_ffff).map_err(|_| Malformed::Type)?;
        let body = length.checked_sub(8).ok_or(Malformed::Length)?;
        if length > STARTUP_BYTES_MAX {
            return Err(Malformed::Length);
        }
        match code {
            SSL_REQUEST if body == 0 => Ok(Self::Ssl),
            GSSENC_REQUEST if body == 0 => Ok(Self::Gss),
            CANCEL_REQUEST if body >= 4 && SECRET_BYTES.contains(&(body - 4)) => {
                Ok(Self::Cancel { body })
            }
            SSL_REQUEST | GSSENC_REQUEST | CANCEL_REQUEST => Ok(Self::Mangled),
            _ => {
                let version = ProtocolVersion::from_code(code);
                if version.major == 3 && body > 0 {
                    Ok(Self::Startup { version, body })
                } else if version.major == 3 {
                    Err(Malformed::Length)
                } else {
                    Err(Malformed::Type)
                }
            }
        }
    }
}

/// A complete first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// A cancel request.
    Cancel {
        /// The process id of the session to cancel, as it was given in BackendKeyData.
        pid: i32,
        /// The secret given with it.
        secret: Vec<u8>,
    },
    /// A startup message.
    Startup(StartupMessage),
}

impl Greeting {
    /// Reads the body of a cancel request; `body` has the length its header announced.
    ///
    /// # Errors
    /// [`Malformed::Body`] when it is shorter than a process id.
    pub fn cancel(body: &[u8]) -> Result<Self, Malformed> {
        let (pid, secret) = body.split_first_chunk::<4>().ok_or(Malformed::Body)?;
        Ok(Self::Cancel { pid: i32::from_be_bytes(*pid), secret: secret.to_vec() })
    }
}

/// A protocol version, such as 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolVersion {
    /// 3 for every PostgreSQL since 7.4.
    pub major: u16,
    /// 0, 2, or what a newer client asks for.
    pub minor: u16,
}

impl ProtocolVersion {
    /// The version every driver speaks.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// The newest version pgusher speaks: long cancel keys.
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    fn from_code(code: u32) -> Self {
        let [a, b, c, d] = code.to_be_bytes();
        Self { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }

    /// The version's number on the wire.
    pub fn code(self) -> u32 {
        (u32::from(self.major) << 16) | u32::from(self.minor)
    }

    /// What is spoken when this is asked for: never newer than asked. 3.1 was never released; who
    /// asks for it gets 3.0.
    #[must_use]
    pub fn agreed(self) -> Self {
        if self >= Self::V3_2 { Self::V3_2 } else { Self::V3_0 }
    }

    /// Whether cancel keys may be longer than four bytes.
    pub fn has_long_keys(self) -> bool {
        self >= Self::V3_2
    }
}

/// A startup message: who wants what, with which settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage {
    /// The version asked for.
    pub version: ProtocolVersion,
    /// The parameters in the order they came. As in PostgreSQL the last one of a name wins.
    pub parameters: Vec<(String, String)>,
    /// The names of protocol options (`_pq_.…`), none of which is known.
    pub protocol_options: Vec<String>,
}

impl StartupMessage {
    /// Reads the body that followed the header.
    ///
    /// # Errors
    /// [`Malformed::Body`] when the layout is not pairs and a final zero, or text is not UTF-8.
    pub fn parse(version: ProtocolVersion, body: &[u8]) -> Result<Self, Malformed> {
        let mut message = Self { version, parameters: Vec::new(), protocol_options: Vec::new() };
        for (name, value) in Fields::parse(body)? {
            let name = str::from_utf8(name).map_err(|_| Malformed::Body)?;
            if name.starts_with("_pq_.") {
                message.protocol_options.push(name.to_owned());
                continue;
            }
            let value = str::from_utf8(value).map_err(|_| Malformed::Body)?;
            message.parameters.push((name.to_owned(), value.to_owned()));
        }
        Ok(message)
    }

    /// The last value given for `name`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Writes NegotiateProtocolVersion if the client has to hear it: its minor version is not spoken,
/// or it named protocol options (all of them unknown). Sent at most once, first of all answers.
pub fn negotiate(message: &StartupMessage, out: &mut Writer) {
    let agreed = message.version.agreed();
    if message.version != agreed || !message.protocol_options.is_empty() {
        out.negotiate_protocol_version(agreed, &message.protocol_options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u32, code: u32) -> Result<GreetingHeader, Malformed> {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[4..].copy_from_slice(&code.to_be_bytes());
        GreetingHeader::parse(bytes)
    }

    #[test]
    fn requests_have_their_exact_length() {
        assert_eq!(header(8, SSL_REQUEST), Ok(GreetingHeader::Ssl));
        assert_eq!(header(9, SSL_REQUEST), Ok(GreetingHeader::Mangled));
        assert_eq!(header(8, GSSENC_REQUEST), Ok(GreetingHeader::Gss));
        assert_eq!(header(16, CANCEL_REQUEST), Ok(GreetingHeader::Cancel { body: 8 }));
        assert_eq!(header(268, CANCEL_REQUEST), Ok(GreetingHeader::Cancel { body: 260 }));
        for wrong in [8, 12, 15, 269] {
            assert_eq!(header(wrong, CANCEL_REQUEST), Ok(GreetingHeader::Mangled), "{wrong}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        for wrong in [0, 4, 7, 8, 10_001, u32::MAX] {
            assert_eq!(header(wrong, 196_608), Err(Malformed::Length), "{wrong}");
        }
        assert_eq!(header(100, 131_072), Err(Malformed::Type));
    }

    #[test]
    fn versions_are_agreed_downwards() {
        let agreed = |minor| ProtocolVersion { major: 3, minor }.agreed().minor;
        assert_eq!([0, 1, 2, 3, 9999].map(agreed), [0, 0, 2, 2, 2]);
    }

    #[test]
    fn parameters_stay_within_the_body() {
        let version = ProtocolVersion::V3_0;
        let ok = StartupMessage::parse(version, b"user\0a\0_pq_.x\0y\0user\0b\0\0").expect("ok");
        assert_eq!(ok.parameter("user"), Some("b"));
        assert_eq!(ok.protocol_options, ["_pq_.x"]);
        for bad in [&b""[..], b"user", b"user\0a", b"user\0a\0", b"user\0a\0\0x", b"u\0\xff\0\0"] {
            assert_eq!(StartupMessage::parse(version, bad), Err(Malformed::Body), "{bad:?}");
        }
    }
}
