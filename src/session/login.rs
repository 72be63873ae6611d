//! Login: what was presented becomes an [`Identity`], or nothing.
//!
//! Until the token is proven a stranger learns nothing about who exists: every refusal of a token
//! or key reads the same.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::farewell::Farewell;
use super::greeting::Greeted;
use super::oauth;
use super::settings::TokenMethod;
use super::shared::Shared;
use crate::auth::scram::{Binding, ScramServer, ScramVerifier};
use crate::auth::{ApiKey, Audience, Identity, KeyLogin, Penalty};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;
use crate::net::{Family, Socket, Stream};
use crate::wire::{HEADER_BYTES, Header, Writer, split_cstr, tag};

/// A client whose token is proven.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) greeted: Greeted,
    pub(super) identity: Identity,
    /// Messages to send before the rest of the welcome: AuthenticationSASLFinal.
    pub(super) prelude: Writer,
}

/// The longest password message: a token of 16 KiB and its terminator.
const PASSWORD_BYTES_MAX: usize = (16 << 10) + 1;

/// The longest SASL message (`PG_MAX_SASL_MESSAGE_LENGTH`).
const SASL_BYTES_MAX: usize = 1_024;

/// Why login did not happen.
pub(super) enum Refused {
    /// The client left or broke off.
    Gone,
    /// It is told why at once: it says nothing about any token.
    Plainly(Fault),
    /// A token or key was wrong: it is told after its penalty.
    Failed(Fault, Option<String>),
}

impl Refused {
    /// Only a failure of the client's own is penalised; ours (keys that cannot be fetched) is not.
    pub(super) fn of(fault: Fault, key: Option<String>) -> Self {
        let own = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION];
        if own.contains(&fault.state()) { Self::Failed(fault, key) } else { Self::Plainly(fault) }
    }
}

/// Proves who the client is and whose database it may have.
pub(super) async fn prove(shared: &Arc<Shared>, mut greeted: Greeted) -> Result<Proven, Farewell> {
    let key = ApiKey::id_of_user(&greeted.wish.user).map(str::to_owned);
    let proof = if let Some(id) = key {
        by_key(shared, &mut greeted, &id).await
    } else {
        let proof = if comes_by_oauth(shared, &greeted) {
            Box::pin(oauth::by_bearer(shared, &mut greeted)).await
        } else {
            by_token(shared, &mut greeted).await
        };
        proof.map(|identity| (identity, Writer::new()))
    };
    let (identity, prelude) = match proof {
        Ok(proof) => proof,
        Err(refused) => return Err(turned_away(shared, greeted.stream, refused).await),
    };
    match own_database(&greeted.wish.database, identity.tenant()) {
        Ok(()) => Ok(Proven { greeted, identity, prelude }),
        Err(fault) => Err(Farewell::fatal(greeted.stream, fault)),
    }
}

/// The end of a login that did not happen.
pub(super) async fn turned_away(
    shared: &Arc<Shared>,
    stream: Stream,
    refused: Refused,
) -> Farewell {
    match refused {
        Refused::Gone => Farewell::silent(stream),
        Refused::Plainly(fault) => Farewell::fatal(stream, fault),
        Refused::Failed(fault, key) => penalised(shared, stream, fault, key.as_deref()).await,
    }
}

/// Any logical name is welcome; the name of a tenant's database must be the token's own.
fn own_database(database: &str, tenant: &TenantId) -> Result<(), Fault> {
    let names_a_tenant = database.starts_with(TenantId::DATABASE_PREFIX);
    if names_a_tenant && database != tenant.database() {
        let text = "the token is not for this database";
        let own = format!("The token is for database \"{}\".", tenant.database());
        return Err(Fault::new(Blame::Client, SqlState::INVALID_AUTHORIZATION, text).detail(own));
    }
    Ok(())
}

/// A JWT as the password, by the cleartext method.
async fn by_token(shared: &Arc<Shared>, greeted: &mut Greeted) -> Result<Identity, Refused> {
    let token = ask_token(greeted).await?;
    let inside = matches!(greeted.stream.socket(), Socket::Pipe(_));
    let audience = if inside { Audience::Sidecar } else { Audience::Tenant };
    let verified =
        shared.parts.verifier.verify_refreshing(&token, SystemTime::now(), audience).await;
    verified.map_err(|fault| Refused::of(fault, None))
}

/// Whether the token is asked for by OAUTHBEARER; never from inside the process.
fn comes_by_oauth(shared: &Arc<Shared>, greeted: &Greeted) -> bool {
    let set = shared.parts.settings.token_method == TokenMethod::Oauthbearer;
    let inside = matches!(greeted.stream.socket(), Socket::Pipe(_));
    !inside && (set || greeted.wish.user == oauth::USER)
}

/// Asks for a token as the password, where the way is safe.
pub(super) async fn ask_token(greeted: &mut Greeted) -> Result<Vec<u8>, Refused> {
    check_way(&greeted.stream)?;
    let mut request = Writer::new();
    request.authentication_cleartext();
    send(&mut greeted.stream, &request).await?;
    let mut body = read_password(&mut greeted.stream, PASSWORD_BYTES_MAX).await?;
    // One string and its terminator, and nothing else.
    match body.iter().position(|b| *b == 0) {
        Some(end) if end + 1 == body.len() => body.truncate(end),
        _ => return Err(Refused::Plainly(bad_packet())),
    }
    Ok(body)
}

/// A token is not asked for where others could read it.
pub(super) fn check_way(stream: &Stream) -> Result<(), Refused> {
    if may_be_cleartext(stream) {
        return Ok(());
    }
    let text = "a token is accepted over TLS, a unix socket or loopback only";
    let fault = Fault::new(Blame::Client, SqlState::INVALID_AUTHORIZATION, text)
        .hint("Use sslmode=require or stronger, or an API key.");
    Err(Refused::Plainly(fault))
}

/// Bytes in the clear are read by whoever is on the way; on this machine nobody is.
fn may_be_cleartext(stream: &Stream) -> bool {
    match (stream, stream.socket()) {
        (Stream::Tls(_), _) | (_, Socket::Pipe(_)) => true,
        (_, socket) => match socket.family() {
            Some(Family::Unix) => true,
            Some(Family::Tcp) => stream.peer().is_some_and(|peer| peer.ip().is_loopback()),
            None => false,
        },
    }
}

/// An API key, by SCRAM-SHA-256 or -PLUS (RFC 5802, RFC 7677).
async fn by_key(
    shared: &Arc<Shared>,
    greeted: &mut Greeted,
    id: &str,
) -> Result<(Identity, Writer), Refused> {
    let binding = greeted.end_point.clone().map_or(Binding::Unavailable, Binding::EndPoint);
    let mut packet = Writer::new();
    packet.authentication_sasl(ScramServer::new(binding.clone()).mechanisms());
    send(&mut greeted.stream, &packet).await?;
    let body = read_password(&mut greeted.stream, SASL_BYTES_MAX).await?;
    let (mechanism, first) = sasl_initial(&body).ok_or_else(|| Refused::Plainly(bad_packet()))?;
    let from = greeted.stream.peer().map(|peer| peer.ip());
    let key = find_key(shared, id, from).await.map_err(Refused::Plainly)?;
    let failed = |fault| Refused::of(fault, Some(id.to_owned()));
    let began = KeyLogin::begin((id, key), &shared.parts.mock, binding, (mechanism, first));
    let (challenge, login) = began.map_err(failed)?;
    packet.clear();
    packet.authentication_sasl_continue(&challenge);
    send(&mut greeted.stream, &packet).await?;
    let body = read_password(&mut greeted.stream, SASL_BYTES_MAX).await?;
    let (last, identity) = login.finish(&body, SystemTime::now()).map_err(failed)?;
    if shared.parts.verifier.revocations().cover(&identity) {
        // In the same words as a key that is unknown or wrong.
        let text = "authentication failed: the token or key was not accepted";
        return Err(failed(Fault::new(Blame::Client, SqlState::INVALID_PASSWORD, text)));
    }
    packet.clear();
    packet.authentication_sasl_final(&last);
    Ok((identity, packet))
}

/// The key's row, if there is one that may still be used.
async fn find_key(
    shared: &Arc<Shared>,
    id: &str,
    from: Option<IpAddr>,
) -> Result<Option<Arc<ApiKey>>, Fault> {
    let Some(row) = shared.parts.directory.named_key(id, from).await? else { return Ok(None) };
    if row.revoked {
        return Ok(None);
    }
    // A row that cannot be read is treated as none: its holder is told the same as a stranger.
    let Ok(verifier) = ScramVerifier::parse(&row.verifier) else {
        tracing::error!(key = row.id, "an api key's verifier in the registry cannot be read");
        return Ok(None);
    };
    Ok(Some(Arc::new(ApiKey {
        id: row.id.as_str().into(),
        tenant: row.tenant.clone(),
        role: row.role,
        verifier,
        created_at: Some(row.created_at),
        expires_at: row.expires_at,
        scopes: Vec::new(),
    })))
}

/// SASLInitialResponse: mechanism, length, data.
pub(super) fn sasl_initial(body: &[u8]) -> Option<(&str, &[u8])> {
    let (mechanism, rest) = split_cstr(body).ok()?;
    let (length, data) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    (length == data.len()).then_some((str::from_utf8(mechanism).ok()?, data))
}

/// A failure is told after its penalty, or not at all.
async fn penalised(
    shared: &Arc<Shared>,
    stream: Stream,
    fault: Fault,
    key: Option<&str>,
) -> Farewell {
    let address = stream.peer().map(|peer| peer.ip());
    match shared.parts.throttle.failed(address, key, Instant::now()) {
        Penalty::None => Farewell::fatal(stream, fault),
        Penalty::Wait(wait, seat) => {
            tokio::time::sleep(wait).await;
            drop(seat);
            Farewell::fatal(stream, fault)
        }
        Penalty::Drop => Farewell::silent(stream),
    }
}

pub(super) async fn send(stream: &mut Stream, packet: &Writer) -> Result<(), Refused> {
    stream.write_all(packet.bytes()).await.map_err(|_| Refused::Gone)?;
    stream.flush().await.map_err(|_| Refused::Gone)
}

/// One password-class message, read to its exact end.
pub(super) async fn read_password(stream: &mut Stream, limit: usize) -> Result<Vec<u8>, Refused> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await.map_err(|_| Refused::Gone)?;
    match Header::frontend(&header) {
        Some(Ok(Header { tag: tag::PASSWORD, body })) if body <= limit => {
            let mut bytes = vec![0; body];
            stream.read_exact(&mut bytes).await.map_err(|_| Refused::Gone)?;
            Ok(bytes)
        }
        Some(Ok(Header { tag: tag::TERMINATE, .. })) => Err(Refused::Gone),
        _ => Err(Refused::Plainly(bad_packet())),
    }
}

fn bad_packet() -> Fault {
    let text = "expected a password message of bounded length";
    Fault::new(Blame::Client, SqlState::PROTOCOL_VIOLATION, text)
}
