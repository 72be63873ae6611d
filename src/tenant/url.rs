//! `databaseUrl` as it is found in the field.
//!
//! Never demands a port, reads Prisma's `connection_limit` and `pool_timeout`, ignores what it
//! does not know, and answers anything else with a reason instead of a panic.

use std::fmt::Write as _;
use std::time::Duration;

use crate::net::tls::SslMode;
use crate::units::Secret;

/// Reads what is found in the field besides libpq's own words.
fn ssl_mode(text: &str) -> Option<SslMode> {
    Some(match text {
        "disable" | "false" | "0" => SslMode::Disable,
        // `allow` tries without TLS first; asking for TLS first is never worse.
        "allow" | "prefer" => SslMode::Prefer,
        "require" | "no-verify" | "true" | "1" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" | "strict" => SslMode::VerifyFull,
        _ => return None,
    })
}

/// A parsed connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    /// The login, if the string names one.
    pub user: Option<String>,
    /// Its password, if the string has one.
    pub password: Option<Secret>,
    /// A name, an address, or the folder of a unix socket (begins with `/`).
    pub host: String,
    /// 5432 unless said.
    pub port: u16,
    /// The database.
    pub database: String,
    /// How much TLS.
    pub ssl_mode: SslMode,
    /// `sslrootcert`: a file of trusted certificates.
    pub root_cert: Option<String>,
    /// Prisma's `connection_limit`: the tenant's cap.
    pub connection_limit: Option<u32>,
    /// Prisma's `pool_timeout`: how long its clients wait in line; 0 there means for ever.
    pub pool_timeout: Option<Duration>,
}

/// Why a connection string cannot be used. Never holds any of it: it may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDatabaseUrl {
    /// Longer than 4096 bytes.
    #[error("longer than 4096 bytes")]
    TooLong,
    /// Another scheme.
    #[error("does not begin with postgresql:// or postgres://")]
    Scheme,
    /// A `%` that is not followed by two hex digits, or bytes that are not UTF-8.
    #[error("a percent-encoded part is broken")]
    Encoding,
    /// No host, or several.
    #[error("names no single host")]
    Host,
    /// Not a port.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// No database.
    #[error("names no database")]
    Database,
    /// An sslmode nobody knows.
    #[error("sslmode is not one of disable, allow, prefer, require, verify-ca, verify-full")]
    SslMode,
    /// Not a number.
    #[error("connection_limit is not a number from 1 to 1000000")]
    ConnectionLimit,
    /// Not a number.
    #[error("pool_timeout is not a number of seconds up to 86400")]
    PoolTimeout,
}

const URL_BYTES_MAX: usize = 4096;
const CONNECTION_LIMIT_MAX: u32 = 1_000_000;
const POOL_TIMEOUT_SECS_MAX: u64 = 86_400;

impl DatabaseUrl {
    /// Reads a connection string.
    ///
    /// # Errors
    /// [`BadDatabaseUrl`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadDatabaseUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(BadDatabaseUrl::TooLong);
        }
        let text = text.trim();
        let rest = text
            .strip_prefix("postgresql://")
            .or_else(|| text.strip_prefix("postgres://"))
            .ok_or(BadDatabaseUrl::Scheme)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // Passwords with a bare `@` in them are common: the last one counts.
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let mut url = Self::empty();
        if let Some(login) = login {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            url.user = nonempty(decoded(user)?);
            url.password = nonempty(decoded(password)?).map(Secret::from);
        }
        url.read_address(address)?;
        url.database = decoded(path)?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            url.read_parameter(key, decoded(value)?)?;
        }
        url.checked()
    }

    fn empty() -> Self {
        Self {
            user: None,
            password: None,
            host: String::new(),
            port: 5432,
            database: String::new(),
            ssl_mode: SslMode::default(),
            root_cert: None,
            connection_limit: None,
            pool_timeout: None,
        }
    }

    fn read_address(&mut self, address: &str) -> Result<(), BadDatabaseUrl> {
        if address.contains(',') {
            return Err(BadDatabaseUrl::Host);
        }
        let (host, port) = if let Some(rest) = address.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or(BadDatabaseUrl::Host)?;
            match after.strip_prefix(':') {
                Some(port) => (host, port),
                None if after.is_empty() => (host, ""),
                None => return Err(BadDatabaseUrl::Host),
            }
        } else {
            address.split_once(':').unwrap_or((address, ""))
        };
        self.host = decoded(host)?;
        if !port.is_empty() {
            self.port = read_port(port)?;
        }
        Ok(())
    }

    fn read_parameter(&mut self, key: &str, value: String) -> Result<(), BadDatabaseUrl> {
        match key {
            "host" => self.host = value,
            "port" => self.port = read_port(&value)?,
            "user" => self.user = nonempty(value),
            "password" => self.password = nonempty(value).map(Secret::from),
            "dbname" => self.database = value,
            "sslmode" | "ssl" => {
                self.ssl_mode = ssl_mode(&value).ok_or(BadDatabaseUrl::SslMode)?;
            }
            "sslrootcert" => self.root_cert = nonempty(value),
            "connection_limit" => {
                let limit = value.parse().ok().filter(|n| (1..=CONNECTION_LIMIT_MAX).contains(n));
                self.connection_limit = Some(limit.ok_or(BadDatabaseUrl::ConnectionLimit)?);
            }
            "pool_timeout" => {
                let seconds = value.parse().ok().filter(|n| *n <= POOL_TIMEOUT_SECS_MAX);
                let seconds = seconds.ok_or(BadDatabaseUrl::PoolTimeout)?;
                // Prisma's 0 is "wait for ever"; the longest bounded wait comes nearest to it.
                let seconds = if seconds == 0 { POOL_TIMEOUT_SECS_MAX } else { seconds };
                self.pool_timeout = Some(Duration::from_secs(seconds));
            }
            _ => {}
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, BadDatabaseUrl> {
        let clean = |text: &str| !text.is_empty() && !text.contains('\0');
        if !clean(&self.host) || self.host.contains(',') {
            return Err(BadDatabaseUrl::Host);
        }
        if !clean(&self.database) {
            return Err(BadDatabaseUrl::Database);
        }
        let logins = [self.user.as_deref(), self.password.as_ref().map(Secret::expose)];
        if logins.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(BadDatabaseUrl::Encoding);
        }
        Ok(self)
    }

    /// Whether the host is the folder of a unix socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The same string, written anew and without its password: what pgusher puts into the
    /// registry.
    pub fn without_password(&self) -> String {
        let user = self.user.as_deref().map(|u| format!("{}@", encoded(u))).unwrap_or_default();
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { encoded(&self.host) };
        let mut text = format!(
            "postgresql://{user}{host}:{}/{}?sslmode={}",
            self.port,
            encoded(&self.database),
            self.ssl_mode.as_str()
        );
        if let Some(root) = &self.root_cert {
            text.push_str("&sslrootcert=");
            text.push_str(&encoded(root));
        }
        if let Some(limit) = self.connection_limit {
            let _ = write!(text, "&connection_limit={limit}");
        }
        if let Some(timeout) = self.pool_timeout {
            let _ = write!(text, "&pool_timeout={}", timeout.as_secs());
        }
        text
    }

    /// The same place and login, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }
}

fn nonempty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn read_port(text: &str) -> Result<u16, BadDatabaseUrl> {
    text.parse().ok().filter(|port| *port != 0).ok_or(BadDatabaseUrl::Port)
}

fn decoded(text: &str) -> Result<String, BadDatabaseUrl> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(BadDatabaseUrl::Encoding);
        };
        out.push(u8::try_from(high * 16 + low).map_err(|_| BadDatabaseUrl::Encoding)?);
    }
    String::from_utf8(out).map_err(|_| BadDatabaseUrl::Encoding)
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> DatabaseUrl {
        DatabaseUrl::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn the_url_of_the_field_is_read_without_a_port() {
        let url = read(
            "postgresql://user:p%40ss@host.example.com/tenant_ac7ko1pmrc55oxnx68hzpps9\
             ?sslmode=require&connection_limit=30&pool_timeout=45",
        );
        assert_eq!(url.user.as_deref(), Some("user"));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p@ss"));
        assert_eq!((url.host.as_str(), url.port), ("host.example.com", 5432));
        assert_eq!(url.database, "tenant_ac7ko1pmrc55oxnx68hzpps9");
        assert_eq!(url.ssl_mode, SslMode::Require);
        assert_eq!(url.connection_limit, Some(30));
        assert_eq!(url.pool_timeout, Some(Duration::from_secs(45)));
    }

    #[test]
    fn hosts_of_every_kind_are_read() {
        let host = |text: &str| {
            let url = read(text);
            (url.host, url.port)
        };
        assert_eq!(host("postgres://h:6000/d"), ("h".into(), 6000));
        assert_eq!(host("postgres://h:/d"), ("h".into(), 5432));
        assert_eq!(host("postgres://u@[::1]:7000/d"), ("::1".into(), 7000));
        assert_eq!(host("postgres://[fe80::1]/d"), ("fe80::1".into(), 5432));
        assert_eq!(host("postgres://%2Fvar%2Frun/d"), ("/var/run".into(), 5432));
        assert_eq!(host("postgres:///d?host=/tmp&port=1"), ("/tmp".into(), 1));
        assert_eq!(host("postgres://u:a@b@h/d?schema=public"), ("h".into(), 5432));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (text, why) in [
            ("mysql://h/d", BadDatabaseUrl::Scheme),
            ("", BadDatabaseUrl::Scheme),
            ("postgres://h", BadDatabaseUrl::Database),
            ("postgres:///d", BadDatabaseUrl::Host),
            ("postgres://a,b/d", BadDatabaseUrl::Host),
            ("postgres://[::1/d", BadDatabaseUrl::Host),
            ("postgres://h:0/d", BadDatabaseUrl::Port),
            ("postgres://h:99999/d", BadDatabaseUrl::Port),
            ("postgres://h/d%2", BadDatabaseUrl::Encoding),
            ("postgres://h/d%ff", BadDatabaseUrl::Encoding),
            ("postgres://h/d%00", BadDatabaseUrl::Database),
            ("postgres://h/d?sslmode=maybe", BadDatabaseUrl::SslMode),
            ("postgres://h/d?connection_limit=0", BadDatabaseUrl::ConnectionLimit),
            ("postgres://h/d?pool_timeout=x", BadDatabaseUrl::PoolTimeout),
        ] {
            assert_eq!(DatabaseUrl::parse(text), Err(why), "{text}");
        }
        let long = format!("postgres://h/{}", "d".repeat(URL_BYTES_MAX));
        assert_eq!(DatabaseUrl::parse(&long), Err(BadDatabaseUrl::TooLong));
    }

    #[test]
    fn what_is_written_has_no_password_and_reads_back() {
        let url =
            read("postgres://u%20x:secret@[::1]:6000/d%2Fb?sslmode=verify-full&pool_timeout=9");
        let text = url.without_password();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(read(&text), DatabaseUrl { password: None, ..url });
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,200}") {
            let _ = DatabaseUrl::parse(&text);
            let _ = DatabaseUrl::parse(&format!("postgresql://{text}"));
        }

        #[test]
        fn any_parts_survive_a_round_trip(
            user in "[^\0]{1,20}", host in "[a-z]{1,20}|/[a-z/]{0,20}", port in 1u16..,
            database in "[^\0]{1,20}", limit in proptest::option::of(1u32..1_000_000),
        ) {
            let url = DatabaseUrl {
                user: Some(user), host, port, database, connection_limit: limit,
                ..DatabaseUrl::empty()
            };
            prop_assert_eq!(DatabaseUrl::parse(&url.without_password()), Ok(url));
        }
    }
}
