//! A PostgreSQL client that costs next to nothing: thousands of them run on one thread.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::world::wire::{Refusal, columns, message, query, startup};

/// A session, after its login.
pub struct Client {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
    pub pid: u32,
    pub key: Vec<u8>,
}

/// Messages are short here.
const BUFFER: usize = 1 << 10;

impl Client {
    /// Connects and logs in with a token as the password.
    pub async fn login(at: SocketAddr, token: &str, database: &str) -> Result<Self, Refusal> {
        let tcp = TcpStream::connect(at).await?;
        tcp.set_nodelay(true)?;
        let stream = BufReader::with_capacity(BUFFER, tcp);
        let mut client = Self { stream, body: Vec::new(), pid: 0, key: Vec::new() };
        let pairs = [("user", "any"), ("database", database)];
        client.say(&startup(crate::world::wire::V3_0, &pairs)).await?;
        loop {
            match client.hear().await? {
                b'R' if client.body.starts_with(&3_u32.to_be_bytes()) => {
                    let password = [token.as_bytes(), b"\0"].concat();
                    client.say(&message(b'p', &password)).await?;
                }
                b'K' => {
                    client.pid = u32::from_be_bytes(client.body[..4].try_into().unwrap());
                    client.key = client.body[4..].to_vec();
                }
                b'E' => return Err(Refusal::parse(&client.body)),
                b'Z' => return Ok(client),
                _ => {}
            }
        }
    }

    /// A simple query; its first value.
    pub async fn ask(&mut self, sql: &str) -> Result<String, Refusal> {
        self.say(&query(sql)).await?;
        let (mut first, mut error) = (None, None);
        loop {
            match self.hear().await {
                Ok(b'Z') => break,
                Ok(b'D') if first.is_none() => first = columns(&self.body).swap_remove(0),
                Ok(b'E') => error = Some(Refusal::parse(&self.body)),
                Ok(_) => {}
                Err(gone) => return Err(error.unwrap_or_else(|| gone.into())),
            }
        }
        error.map_or(Ok(first.unwrap_or_default()), Err)
    }

    /// Writes bytes as they are.
    pub async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    /// Reads one message; its body is kept until the next.
    async fn hear(&mut self) -> io::Result<u8> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        self.body.resize(length - 4, 0);
        self.stream.read_exact(&mut self.body).await?;
        Ok(head[0])
    }
}
