//! The first packets: encryption requests, a cancel request, or the startup message.
//!
//! Every packet is read to its exact end and no further (see [`crate::wire::GreetingHeader`]).

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::console;
use super::farewell::Farewell;
use super::half_open::HalfOpenSeat;
use super::live::Live;
use super::login;
use super::shared::Shared;
use super::startup::Wish;
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;
use crate::net::tls::Hello;
use crate::net::{Family, Stream};
use crate::wire::{Greeting, GreetingHeader, Malformed, StartupMessage, Writer, negotiate};

/// A client that has said who it wants to be.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) stream: Stream,
    pub(super) message: StartupMessage,
    pub(super) wish: Wish,
    /// What SCRAM can bind to.
    pub(super) end_point: Option<Arc<[u8]>>,
    pub(super) began: Instant,
}

/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Takes a client from its first byte to its welcome. The session comes boxed: what it needed on
/// the way in is not part of it.
///
/// # Errors
/// The end, when it does not come that far, or was an operator's.
pub(super) async fn enter(
    shared: Arc<Shared>,
    stream: Stream,
    seat: Option<HalfOpenSeat>,
) -> Result<Box<Live>, Farewell> {
    let deadline = shared.parts.settings.login_timeout.get();
    let proving = Box::pin(within(deadline, seated(seat, prove(&shared, stream))));
    let Some(proven) = proving.await.flatten() else {
        // The stream went with the future: what was written of an answer cannot be known.
        return Err(Farewell::nobody());
    };
    // Who has proven a token waits for a server as long as the tenant's own limits say.
    let mut tenant = None;
    let arrived = match proven {
        Ok(Guest::Tenant(proven)) => {
            tenant = Some(proven.identity.tenant().clone());
            Box::pin(super::arrival::arrive(&shared, *proven)).await
        }
        Ok(Guest::Operator(console)) => {
            console.await;
            return Err(Farewell::nobody());
        }
        Err(farewell) => Err(farewell),
    };
    arrived.map(Box::new).inspect_err(|farewell| {
        if let Some(fault) = farewell.fault() {
            shared.parts.metrics.fault(fault);
            fault.log_of(farewell.peer(), tenant.as_ref().map(TenantId::as_str));
        }
    })
}

/// Does the work while the seat is not needed for somebody else.
async fn seated<T>(seat: Option<HalfOpenSeat>, work: impl Future<Output = T>) -> Option<T> {
    let Some(mut seat) = seat else { return Some(work.await) };
    tokio::select! {
        done = work => Some(done),
        () = seat.evicted() => None,
    }
}

async fn within<T>(limit: std::time::Duration, work: impl Future<Output = T>) -> Option<T> {
    if limit.is_zero() {
        return Some(work.await);
    }
    tokio::time::timeout(limit, work).await.ok()
}

/// Who has proven a token.
enum Guest {
    /// A tenant's client.
    Tenant(Box<login::Proven>),
    /// An operator, whom the console serves.
    Operator(BoxFuture<'static, ()>),
}

/// From the first byte to a proven token.
async fn prove(shared: &Arc<Shared>, stream: Stream) -> Result<Guest, Farewell> {
    let greeted = greet(shared, stream).await?;
    if greeted.wish.database == console::DATABASE {
        return console::prove(shared, greeted).await.map(Guest::Operator);
    }
    let proven = login::prove(shared, greeted).await?;
    Ok(Guest::Tenant(Box::new(proven)))
}

async fn greet(shared: &Arc<Shared>, stream: Stream) -> Result<Greeted, Farewell> {
    let began = Instant::now();
    let mut greeter = Greeter { stream, end_point: None, asked_tls: false, asked_gss: false };
    if greeter.starts_with_tls().await {
        greeter = greeter.encrypt(shared, Hello::Direct).await?;
    }
    loop {
        match greeter.header().await {
            Ok(GreetingHeader::Ssl) if !greeter.asked_tls => {
                greeter.asked_tls = true;
                if greeter.is_plain_tcp() && shared.parts.tls.is_some() {
                    greeter.answer(b'S').await?;
                    greeter = greeter.encrypt(shared, Hello::Asked).await?;
                } else {
                    greeter.answer(b'N').await?;
                }
            }
            Ok(GreetingHeader::Gss) if !greeter.asked_gss => {
                greeter.asked_gss = true;
                greeter.answer(b'N').await?;
            }
            Ok(GreetingHeader::Cancel { body }) => {
                let packet = greeter.body(body).await.map(|body| Greeting::cancel(&body));
                if let Ok(Ok(Greeting::Cancel { pid, secret })) = packet {
                    let from = greeter.stream.peer().map(|peer| peer.ip());
                    super::cancel::forward(shared, from, pid, &secret).await;
                }
                return Err(Farewell::silent(greeter.stream));
            }
            Ok(GreetingHeader::Startup { .. }) if greeter.lacks_certificate(shared) => {
                return Err(Farewell::fatal(greeter.stream, no_certificate()));
            }
            Ok(GreetingHeader::Startup { version, body }) => {
                let Ok(body) = greeter.body(body).await else {
                    return Err(Farewell::silent(greeter.stream));
                };
                return match StartupMessage::parse(version, &body) {
                    Ok(message) => greeter.finish(shared, message, began).await,
                    Err(malformed) => Err(greeter.refuse(malformed)),
                };
            }
            Ok(GreetingHeader::Ssl | GreetingHeader::Gss) => {
                return Err(greeter.refuse(Malformed::Type));
            }
            Err(Some(malformed)) => return Err(greeter.refuse(malformed)),
            Ok(GreetingHeader::Mangled) | Err(None) => {
                return Err(Farewell::silent(greeter.stream));
            }
        }
    }
}

struct Greeter {
    stream: Stream,
    end_point: Option<Arc<[u8]>>,
    asked_tls: bool,
    asked_gss: bool,
}

/// Told to who comes over TCP without TLS where `client_certificates` is `required`.
fn no_certificate() -> Fault {
    let text = "a client certificate is required";
    Fault::new(Blame::Client, SqlState::INVALID_AUTHORIZATION, text)
        .hint("Connect with TLS and a certificate: sslmode=require, sslcert and sslkey.")
}

impl Greeter {
    fn is_plain_tcp(&self) -> bool {
        matches!(&self.stream, Stream::Plain(socket) if socket.family() == Some(Family::Tcp))
    }

    /// Whether it got around the handshake that would have asked for one.
    fn lacks_certificate(&self, shared: &Shared) -> bool {
        self.is_plain_tcp()
            && shared.parts.tls.as_ref().is_some_and(|tls| tls.requires_certificate())
    }

    /// Looks at the first byte without taking it.
    async fn starts_with_tls(&self) -> bool {
        let Stream::Plain(socket) = &self.stream else { return false };
        socket.peek().await == Some(TLS_HANDSHAKE)
    }

    /// `Err(None)` when the client left.
    async fn header(&mut self) -> Result<GreetingHeader, Option<Malformed>> {
        let mut bytes = [0; 8];
        self.stream.read_exact(&mut bytes).await.map_err(|_| None)?;
        GreetingHeader::parse(bytes).map_err(Some)
    }

    async fn body(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        // Bounded by the header's own check: at most 10,000 bytes.
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn answer(&mut self, letter: u8) -> Result<(), Farewell> {
        // Whoever does not take one byte is gone.
        self.stream.write_all(&[letter]).await.map_err(|_| Farewell::nobody())
    }

    async fn encrypt(self, shared: &Arc<Shared>, hello: Hello) -> Result<Self, Farewell> {
        let Stream::Plain(socket) = self.stream else { return Err(Farewell::nobody()) };
        let Some(tls) = &shared.parts.tls else { return Err(Farewell::nobody()) };
        // What the client sent in the clear behind its request is still in the kernel: rustls
        // reads it as the handshake it is not, and fails.
        match tls.snapshot().accept(socket, hello).await {
            Ok(accepted) => Ok(Self {
                stream: accepted.stream,
                end_point: accepted.end_point,
                asked_tls: true,
                asked_gss: true,
            }),
            Err(error) => {
                tracing::debug!(%error, "tls handshake failed");
                Err(Farewell::nobody())
            }
        }
    }

    fn refuse(self, malformed: Malformed) -> Farewell {
        let violation = SqlState::PROTOCOL_VIOLATION;
        let (state, text) = match malformed {
            Malformed::Length => (violation, "invalid length of startup packet"),
            Malformed::Type => (SqlState::FEATURE_NOT_SUPPORTED, "unsupported frontend protocol"),
            Malformed::Body => (violation, "invalid startup packet layout"),
        };
        let fault = Fault::new(Blame::Client, state, text);
        Farewell::fatal(self.stream, fault)
    }

    async fn finish(
        mut self,
        shared: &Arc<Shared>,
        message: StartupMessage,
        began: Instant,
    ) -> Result<Greeted, Farewell> {
        let mut first = Writer::new();
        negotiate(&message, &mut first);
        if self.stream.write_all(first.bytes()).await.is_err() {
            return Err(Farewell::silent(self.stream));
        }
        match Wish::read(&message, &shared.parts.settings) {
            Ok(wish) => {
                let (stream, end_point) = (self.stream, self.end_point);
                Ok(Greeted { stream, message, wish, end_point, began })
            }
            Err(fault) => Err(Farewell::fatal(self.stream, fault)),
        }
    }
}
