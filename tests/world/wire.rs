//! A small PostgreSQL client of our own: says exactly the bytes a test wants said.
//!
//! Blocking, over TCP, TLS or a unix socket. It is strict where a test must notice (frame lengths,
//! order) and open everywhere else: any bytes may be written at any time.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub use super::packet::*;

/// No read of a test waits longer: a hang is a failure with a place in the source.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What carries the bytes.
pub enum Pipe {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Pipe {
    /// The TCP socket underneath.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
            Self::Unix(_) => panic!("a unix socket is not TCP"),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(buf),
            Self::Unix(s) => s.read(buf),
            Self::Tls(s) => s.read(buf),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(buf),
            Self::Unix(s) => s.write(buf),
            Self::Tls(s) => s.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.flush(),
            Self::Unix(s) => s.flush(),
            Self::Tls(s) => s.flush(),
        }
    }
}

/// One message from the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = &self.body[..self.body.len().min(120)];
        write!(f, "{}[{}] {}", self.tag as char, self.body.len(), head.escape_ascii())
    }
}

/// An ErrorResponse, or the end of the connection (code `closed`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
}

impl Refusal {
    fn closed(why: &io::Error) -> Self {
        let code = if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            "hangs"
        } else {
            "closed"
        };
        Self {
            severity: String::new(),
            code: code.into(),
            message: why.to_string(),
            detail: String::new(),
            hint: String::new(),
        }
    }

    /// Reads an ErrorResponse or NoticeResponse body.
    pub fn parse(body: &[u8]) -> Self {
        let mut fields = BTreeMap::new();
        for field in body.split(|b| *b == 0).filter(|f| !f.is_empty()) {
            fields.insert(field[0], String::from_utf8_lossy(&field[1..]).into_owned());
        }
        let mut take = |tag: u8| fields.remove(&tag).unwrap_or_default();
        Self {
            severity: take(b'V'),
            code: take(b'C'),
            message: take(b'M'),
            detail: take(b'D'),
            hint: take(b'H'),
        }
    }

    /// Everything a stranger may read of it.
    pub fn text(&self) -> String {
        format!("{} {} {} {}", self.code, self.message, self.detail, self.hint)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::closed(&error)
    }
}

/// Rows as text; NULL is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// A connection, logged in or not.
pub struct Conn {
    pub pipe: Pipe,
    pub parameters: BTreeMap<String, String>,
    pub notices: Vec<Refusal>,
    pub pid: u32,
    pub key: Vec<u8>,
    pub negotiated: Option<Message>,
}

impl Conn {
    /// A connected socket; nothing said.
    pub fn dial(addr: SocketAddr) -> Self {
        let tcp = TcpStream::connect(addr).unwrap_or_else(|e| panic!("{addr}: {e}"));
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::on(Pipe::Tcp(tcp))
    }

    /// A conversation over this pipe.
    pub fn on(pipe: Pipe) -> Self {
        Self {
            pipe,
            parameters: BTreeMap::new(),
            notices: Vec::new(),
            pid: 0,
            key: Vec::new(),
            negotiated: None,
        }
    }

    /// SSLRequest, then the handshake.
    pub fn dial_tls(addr: SocketAddr, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut conn = Self::dial(addr);
        conn.say(&sized(&SSL_REQUEST.to_be_bytes()))?;
        let answer = conn.byte()?;
        if answer != b'S' {
            return Err(io::Error::other(format!("no TLS: answered {:?}", answer as char)));
        }
        conn.upgrade(tls)
    }

    /// The handshake, over what has been said so far.
    pub fn upgrade(self, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        let Pipe::Tcp(tcp) = self.pipe else { panic!("TLS goes over plain TCP") };
        let name = "localhost".try_into().expect("a name");
        let session = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::on(Pipe::Tls(Box::new(stream))))
    }

    /// Dials and logs in.
    pub fn login(addr: SocketAddr, login: &Login) -> Result<Self, Refusal> {
        let mut conn = match &login.tls {
            Some(tls) => Self::dial_tls(addr, tls)?,
            None => Self::dial(addr),
        };
        conn.say(&login.startup())?;
        conn.authenticate(&login.password)?;
        Ok(conn)
    }

    /// Answers what the server asks, up to the first ReadyForQuery.
    pub fn authenticate(&mut self, password: &str) -> Result<(), Refusal> {
        self.authenticate_after(password, || {})
    }

    /// The same; does something before it answers the server's challenge.
    pub fn authenticate_after(
        &mut self,
        password: &str,
        mut halfway: impl FnMut(),
    ) -> Result<(), Refusal> {
        let mut scram = None;
        loop {
            let message = self.hear()?;
            match message.tag {
                b'R' => {
                    if message.body.starts_with(&11_u32.to_be_bytes()) {
                        halfway();
                    }
                    self.prove(&message.body, password, &mut scram)?;
                }
                b'v' => self.negotiated = Some(message),
                b'K' => {
                    self.pid = u32::from_be_bytes(message.body[..4].try_into().unwrap());
                    self.key = message.body[4..].to_vec();
                }
                b'E' => return Err(Refusal::parse(&message.body)),
                b'Z' => return Ok(()),
                b'S' | b'N' => self.note(&message),
                _ => panic!("unexpected before ReadyForQuery: {message:?}"),
            }
        }
    }

    fn prove(
        &mut self,
        body: &[u8],
        password: &str,
        scram: &mut Option<ScramSha256>,
    ) -> Result<(), Refusal> {
        let kind = u32::from_be_bytes(body[..4].try_into().unwrap());
        match kind {
            0 => {}
            3 => self.say(&message(b'p', &[password.as_bytes(), b"\0"].concat()))?,
            10 => {
                let exchange = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                let first = exchange.message();
                let length = u32::try_from(first.len()).unwrap().to_be_bytes();
                let body = [SCRAM_SHA_256.as_bytes(), b"\0", &length, first].concat();
                self.say(&message(b'p', &body))?;
                *scram = Some(exchange);
            }
            11 => {
                let exchange = scram.as_mut().expect("SASL was begun");
                exchange.update(&body[4..])?;
                let next = exchange.message().to_vec();
                self.say(&message(b'p', &next))?;
            }
            12 => scram.as_mut().expect("SASL was begun").finish(&body[4..])?,
            other => panic!("authentication {other} is not spoken here"),
        }
        Ok(())
    }

    fn note(&mut self, message: &Message) {
        if message.tag == b'N' {
            self.notices.push(Refusal::parse(&message.body));
        } else {
            let mut parts = message.body.split(|b| *b == 0);
            let mut next = || String::from_utf8_lossy(parts.next().unwrap_or(b"")).into_owned();
            let name = next();
            self.parameters.insert(name, next());
        }
    }

    /// Writes bytes as they are.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pipe.write_all(bytes)?;
        self.pipe.flush()
    }

    /// Reads one byte.
    pub fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.pipe.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Reads the head of a message: its tag and the length of its body.
    pub fn head(&mut self) -> io::Result<(u8, usize)> {
        let mut head = [0; 5];
        self.pipe.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        assert!(length >= 4, "a length below 4 from the server: {}", head.escape_ascii());
        Ok((head[0], length - 4))
    }

    /// Reads one message.
    pub fn hear(&mut self) -> io::Result<Message> {
        let (tag, length) = self.head()?;
        let mut body = vec![0; length];
        self.pipe.read_exact(&mut body)?;
        Ok(Message { tag, body })
    }

    /// Reads up to and including ReadyForQuery.
    pub fn hear_all(&mut self) -> Result<Vec<Message>, Refusal> {
        let mut heard = Vec::new();
        let mut fatal = None;
        loop {
            let message = match self.hear() {
                Ok(message) => message,
                Err(error) => return Err(fatal.unwrap_or_else(|| Refusal::closed(&error))),
            };
            match message.tag {
                b'S' | b'N' => self.note(&message),
                b'E' => fatal = Some(Refusal::parse(&message.body)),
                _ => {}
            }
            let done = message.tag == b'Z';
            heard.push(message);
            if done {
                return Ok(heard);
            }
        }
    }

    /// A simple query: its rows, or its error once the session is ready again (or gone).
    pub fn query(&mut self, sql: &str) -> Result<Rows, Refusal> {
        self.say(&query(sql))?;
        self.rows()
    }

    /// The rows of what was sent.
    pub fn rows(&mut self) -> Result<Rows, Refusal> {
        let mut rows = Vec::new();
        for message in self.hear_all()? {
            match message.tag {
                b'D' => rows.push(columns(&message.body)),
                b'E' => return Err(Refusal::parse(&message.body)),
                _ => {}
            }
        }
        Ok(rows)
    }

    /// One value.
    pub fn one(&mut self, sql: &str) -> Result<String, Refusal> {
        let rows = self.query(sql)?;
        let first = rows.into_iter().next().and_then(|r| r.into_iter().next()).flatten();
        Ok(first.unwrap_or_default())
    }

    /// What the server still says until it closes: every message, or nothing.
    /// Fails when the connection stays open.
    pub fn farewell(&mut self) -> Vec<Message> {
        let mut heard = Vec::new();
        loop {
            match self.hear() {
                Ok(message) => heard.push(message),
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                {
                    panic!("the connection stays open after {heard:?}")
                }
                Err(_) => return heard,
            }
        }
    }

    /// The FATAL before the end of the connection, if one came.
    pub fn verdict(&mut self) -> Option<Refusal> {
        let heard = self.farewell();
        let error = heard.iter().find(|m| m.tag == b'E')?;
        Some(Refusal::parse(&error.body))
    }
}

/// The columns of a DataRow in text.
pub fn columns(body: &[u8]) -> Vec<Option<String>> {
    let count = u16::from_be_bytes(body[..2].try_into().unwrap());
    let mut rest = &body[2..];
    (0..count)
        .map(|_| {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            let length = usize::try_from(length).ok()?;
            let (value, after) = rest.split_at(length);
            rest = after;
            Some(String::from_utf8_lossy(value).into_owned())
        })
        .collect()
}
