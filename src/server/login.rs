//! Logging in to PostgreSQL (PostgreSQL documentation, 55.2.1).

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::Account;
use super::{CancelGate, DialError, Dialer, Endpoint, Params, Server};
use crate::auth::scram::{self, Offer, ScramClient, SignatureAwaited};
use crate::net::Stream;
use crate::net::tls::peer_end_point;
use crate::wire::{
    CancelKey, ErrorFields, HEADER_BYTES, Header, SMALL_BYTES_MAX, Writer, split_cstr, tag,
};

/// Longest SASL message a server may send us.
const SASL_BYTES_MAX: usize = 4_096;

/// Sends the startup packet, answers the challenge, and reads up to the first ReadyForQuery.
pub(super) async fn log_in(
    dialer: &Dialer,
    mut stream: Stream,
    endpoint: &Arc<Endpoint>,
    account: &Account,
) -> Result<Box<Server>, DialError> {
    let mut packet = Writer::new();
    let mut pairs = vec![("user", &*account.user), ("database", &*account.database)];
    pairs.extend(account.startup.iter());
    if account.startup.value("application_name").is_none() {
        pairs.push(("application_name", "pgusher"));
    }
    packet.startup(&pairs);
    send(&mut stream, &packet).await?;
    authenticate(dialer, &mut stream, account).await?;
    let (params, key) = settle(&mut stream, !account.startup.is_empty()).await?;
    let gate = CancelGate::new(Arc::clone(endpoint), key);
    Ok(Server::new(stream, gate, dialer.backends(), params, account))
}

/// Answers Authentication messages until AuthenticationOk.
async fn authenticate(
    dialer: &Dialer,
    stream: &mut Stream,
    account: &Account,
) -> Result<(), DialError> {
    loop {
        let (kind, body) = read_authentication(stream).await?;
        // The password is the server's to check; each method below says how it is shown.
        let password = account.password.expose();
        let mut packet = Writer::new();
        match kind {
            0 => return Ok(()),
            // Somebody else may be there who asks for it.
            3 | 5 if !account.shows_password => {
                let why = "it asks for the password itself: pg_hba.conf must say scram-sha-256";
                return Err(DialError::Login(why.to_owned()));
            }
            3 => put_password(&mut packet, password.as_bytes()),
            5 => {
                let salt = body.get(..4).ok_or(DialError::Protocol("md5 salt"))?;
                let salt = <[u8; 4]>::try_from(salt).map_err(|_| DialError::Protocol("salt"))?;
                let answer = postgres_protocol::authentication::md5_hash(
                    account.user.as_bytes(),
                    password.as_bytes(),
                    salt,
                );
                put_password(&mut packet, answer.as_bytes());
            }
            10 => {
                sasl(dialer, stream, account, &body).await?;
                continue;
            }
            _ => return Err(DialError::Login("unsupported authentication method".to_owned())),
        }
        send(stream, &packet).await?;
    }
}

/// SCRAM-SHA-256, with channel binding where both sides can (RFC 5802, RFC 7677).
async fn sasl(
    dialer: &Dialer,
    stream: &mut Stream,
    account: &Account,
    mechanisms: &[u8],
) -> Result<(), DialError> {
    let refuse = |e: scram::ScramError| DialError::Login(e.to_string());
    let offered = |name: &str| mechanisms.split(|b| *b == 0).any(|m| m == name.as_bytes());
    let end_point = match &*stream {
        Stream::Tls(tls) => peer_end_point(tls),
        Stream::Plain(_) => None,
    };
    let offer = Offer {
        plain: offered(scram::SCRAM_SHA_256),
        plus: offered(scram::SCRAM_SHA_256_PLUS),
        end_point: end_point.as_deref(),
        require_binding: false,
    };
    let client = ScramClient::new(&offer).map_err(refuse)?;
    let first = client.first();
    let length = u32::try_from(first.len()).map_err(|_| DialError::Protocol("SASL"))?;
    let mut packet = Writer::new();
    packet.message(tag::PASSWORD, |b| {
        b.extend_from_slice(client.mechanism().as_bytes());
        b.push(0);
        b.extend_from_slice(&length.to_be_bytes());
        b.extend_from_slice(&first);
    });
    send(stream, &packet).await?;
    let (kind, body) = read_authentication(stream).await?;
    if kind != 11 {
        return Err(DialError::Protocol("SASLContinue expected"));
    }
    let challenge = client.server_first(&body).map_err(refuse)?;
    let (reply, signature) = answer(dialer, account, challenge).await?;
    packet.clear();
    packet.message(tag::PASSWORD, |b| b.extend_from_slice(&reply));
    send(stream, &packet).await?;
    let (kind, body) = read_authentication(stream).await?;
    if kind != 12 {
        return Err(DialError::Protocol("SASLFinal expected"));
    }
    signature.server_final(&body).map_err(refuse)
}

/// PBKDF2 is paid once per password and salt, and not on the data runtime's threads.
async fn answer(
    dialer: &Dialer,
    account: &Account,
    challenge: scram::Challenge,
) -> Result<(Vec<u8>, SignatureAwaited), DialError> {
    let (salt, iterations) = (challenge.salt().to_vec(), challenge.iterations());
    let known = dialer.keys().known(&account.password, &salt, iterations);
    let keys = if let Some(keys) = known {
        keys
    } else {
        let (cache, password) = (dialer.keys().clone(), account.password.clone());
        let derive = move || cache.derive(&password, &salt, iterations);
        tokio::task::spawn_blocking(derive)
            .await
            .map_err(|_| DialError::Protocol("key derivation failed"))?
    };
    Ok(challenge.answer(&keys))
}

fn put_password(packet: &mut Writer, password: &[u8]) {
    packet.message(tag::PASSWORD, |b| {
        b.extend_from_slice(password);
        b.push(0);
    });
}

async fn send(stream: &mut Stream, packet: &Writer) -> Result<(), DialError> {
    stream.write_all(packet.bytes()).await?;
    stream.flush().await?;
    Ok(())
}

/// One message, its body at most `limit` bytes. Reads exactly that, so that nothing is left over
/// when the connection goes into the pool.
async fn read_message(stream: &mut Stream, limit: usize) -> Result<(u8, Vec<u8>), DialError> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let header = Header::backend(&header).ok_or(DialError::Protocol("header"))??;
    if header.body > limit {
        return Err(DialError::Protocol("message too long"));
    }
    let mut body = vec![0; header.body];
    stream.read_exact(&mut body).await?;
    Ok((header.tag, body))
}

/// The next Authentication message, as its code and what follows.
async fn read_authentication(stream: &mut Stream) -> Result<(u32, Vec<u8>), DialError> {
    loop {
        let (kind, body) = read_message(stream, SMALL_BYTES_MAX).await?;
        match kind {
            tag::AUTHENTICATION => {
                let (code, rest) =
                    body.split_first_chunk::<4>().ok_or(DialError::Protocol("Authentication"))?;
                if rest.len() > SASL_BYTES_MAX {
                    return Err(DialError::Protocol("SASL message too long"));
                }
                return Ok((u32::from_be_bytes(*code), rest.to_vec()));
            }
            tag::ERROR_RESPONSE => return Err(DialError::from_error(&ErrorFields::parse(&body))),
            tag::NOTICE_RESPONSE | tag::NEGOTIATE_PROTOCOL_VERSION => {}
            _ => return Err(DialError::Protocol("Authentication expected")),
        }
    }
}

/// Reads what follows AuthenticationOk: the parameters, the key, ReadyForQuery. With `asked`, a
/// client's settings were in the startup packet, and an error may be about those.
async fn settle(
    stream: &mut Stream,
    asked: bool,
) -> Result<(Params, Option<CancelKey>), DialError> {
    let (mut params, mut key) = (Params::default(), None);
    loop {
        let (kind, body) = read_message(stream, SMALL_BYTES_MAX).await?;
        match kind {
            tag::PARAMETER_STATUS => read_parameter(&body, &mut params)?,
            tag::BACKEND_KEY_DATA => {
                let (pid, secret) =
                    body.split_first_chunk::<4>().ok_or(DialError::Protocol("BackendKeyData"))?;
                if !(4..=256).contains(&secret.len()) {
                    return Err(DialError::Protocol("BackendKeyData"));
                }
                key = Some(CancelKey { pid: i32::from_be_bytes(*pid), secret: secret.into() });
            }
            tag::READY_FOR_QUERY => return Ok((params, key)),
            tag::ERROR_RESPONSE => {
                let fields = ErrorFields::parse(&body);
                return Err(DialError::of_setting(&fields)
                    .filter(|_| asked)
                    .unwrap_or_else(|| DialError::from_error(&fields)));
            }
            tag::NOTICE_RESPONSE => {}
            _ => return Err(DialError::Protocol("ReadyForQuery expected")),
        }
    }
}

/// One ParameterStatus body.
pub(super) fn read_parameter(body: &[u8], params: &mut Params) -> Result<(), DialError> {
    let (name, rest) = split_cstr(body)?;
    let (value, _) = split_cstr(rest)?;
    let name = str::from_utf8(name).map_err(|_| DialError::Protocol("ParameterStatus"))?;
    params.set(name, &String::from_utf8_lossy(value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::dial::DialSettings;
    use super::*;
    use crate::net::Socket;
    use crate::net::tls::{ClientTls, ClientTlsSettings};
    use crate::pool::Class;
    use crate::server::Settings;
    use crate::units::Secret;

    #[tokio::test]
    async fn a_password_is_shown_to_who_may_see_it() {
        let dialer = Dialer::new(
            DialSettings::default(),
            ClientTls::new(ClientTlsSettings::default()).expect("TLS"),
        )
        .expect("a dialler");
        for (kind, shows_password) in [(3_u8, true), (3, false), (5, true), (5, false)] {
            let (mut server, here) = tokio::io::duplex(1_000);
            let mut stream = Stream::Plain(Socket::Pipe(here));
            let account = Account {
                database: "d".to_owned(),
                user: "u".to_owned(),
                password: Secret::from("in the clear"),
                shows_password,
                class: Class::new(0),
                startup: Settings::default(),
            };
            let asked = [b"R\0\0\0\x0c\0\0\0", &[kind][..], b"salt"].concat();
            server.write_all(&asked).await.expect("room");
            server.write_all(b"R\0\0\0\x08\0\0\0\0").await.expect("room");
            let answer = authenticate(&dialer, &mut stream, &account).await;
            assert_eq!(answer.is_ok(), shows_password, "{answer:?}");
            drop(stream);
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await.expect("the end");
            assert_eq!(heard.is_empty(), !shows_password);
        }
    }
}
