//! The packets a client sends, built byte by byte, and what a login consists of.

use std::sync::Arc;

use rustls::ClientConfig;

/// Protocol 3.0.
pub const V3_0: u32 = 0x0003_0000;
/// Protocol 3.2.
pub const V3_2: u32 = 0x0003_0002;
/// What newer libpq sends to grease.
pub const V3_9999: u32 = 0x0003_270f;
/// The SSLRequest code.
pub const SSL_REQUEST: u32 = 80_877_103;
/// The GSSENCRequest code.
pub const GSS_REQUEST: u32 = 80_877_104;
/// The CancelRequest code.
pub const CANCEL_REQUEST: u32 = 80_877_102;

/// How to log in.
#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub password: String,
    pub database: String,
    pub parameters: Vec<(String, String)>,
    pub version: u32,
    pub tls: Option<Arc<ClientConfig>>,
}

impl Login {
    /// Without TLS, protocol 3.0, no parameters.
    pub fn new(user: &str, password: &str, database: &str) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
            database: database.into(),
            parameters: Vec::new(),
            version: V3_0,
            tls: None,
        }
    }

    /// Adds a startup parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Inside TLS, verified.
    #[must_use]
    pub fn over(mut self, tls: &Arc<ClientConfig>) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Asks for another protocol version.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// For another database.
    #[must_use]
    pub fn database(mut self, name: &str) -> Self {
        self.database = name.into();
        self
    }

    /// The startup packet.
    pub fn startup(&self) -> Vec<u8> {
        let mut pairs = vec![("user", &*self.user), ("database", &*self.database)];
        pairs.extend(self.parameters.iter().map(|(n, v)| (&**n, &**v)));
        startup(self.version, &pairs)
    }
}

/// A startup packet of these pairs.
pub fn startup(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in pairs {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    sized(&body)
}

/// Length-prefixed bytes: packets without a tag.
pub fn sized(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes(), body].concat()
}

/// A tagged message.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &sized(body)].concat()
}

/// A simple query.
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// Parse with the unnamed or a named statement, no parameter types.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat())
}

/// Bind to the unnamed portal, text parameters, text results.
pub fn bind(name: &str, values: &[&[u8]]) -> Vec<u8> {
    let mut body = [b"\0", name.as_bytes(), b"\0\0\0"].concat();
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(value);
    }
    body.extend([0, 0]);
    message(b'B', &body)
}

/// Execute the unnamed portal to its end.
pub fn execute() -> Vec<u8> {
    message(b'E', b"\0\0\0\0\0")
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// A cancel request with a key of any length.
pub fn cancel(pid: u32, key: &[u8]) -> Vec<u8> {
    sized(&[&CANCEL_REQUEST.to_be_bytes(), &pid.to_be_bytes()[..], key].concat())
}
