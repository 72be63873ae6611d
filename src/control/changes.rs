//! What changes in the registry, as it happens: LISTEN, and a full stop after every gap.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio_postgres::AsyncMessage;

use super::peers::{self, Notice};
use super::phone::E164;
use crate::fault::logged;
use crate::ident::TenantId;
use crate::tenant::{Dial, DialError, Registry};

/// One change. The receiver drops caches, cuts sessions, sets limits anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A tenant's row, limits, status or plan.
    Tenant(TenantId),
    /// An API key was made, revoked or removed.
    Key {
        /// Its id, without `key_`.
        id: String,
        /// Whose it is.
        tenant: TenantId,
    },
    /// Something was revoked.
    Revoked {
        /// What.
        what: Revoked,
        /// Whose it was, where it says so.
        tenant: Option<TenantId>,
        /// What was issued until then is stopped, where it says so.
        until: Option<SystemTime>,
        /// Everything it stops has expired then, where it says so.
        keep: Option<SystemTime>,
    },
    /// A phone number changed hands.
    Phone(E164),
    /// A pgusher process came or went: budgets are split anew.
    Processes,
    /// Another process says something.
    Peer(Notice),
    /// Changes may have been missed: everything remembered is in doubt.
    Gap,
}

/// What was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// One token, by its id.
    Token(String),
    /// One API key, by its id.
    Key(String),
    /// Every token of an admin issued until now.
    Admin(String),
    /// Everything of a tenant issued until now.
    Tenant(TenantId),
    /// The same, but for its API keys.
    Tokens(TenantId),
}

impl Revoked {
    /// Reads the registry's words.
    pub(super) fn read(kind: &str, value: String) -> Option<Self> {
        Some(match kind {
            "token" => Self::Token(value),
            "key" => Self::Key(value),
            "admin" => Self::Admin(value),
            "tenant" => Self::Tenant(TenantId::parse(&value).ok()?),
            "tokens" => Self::Tokens(TenantId::parse(&value).ok()?),
            _ => return None,
        })
    }
}

#[derive(Deserialize)]
struct Payload {
    of: String,
    id: String,
    kind: Option<String>,
    tenant: Option<String>,
    until: Option<f64>,
    keep: Option<f64>,
}

impl Change {
    /// Reads a payload; `None` where it is about a tenant that pgusher cannot serve. What cannot
    /// be read was written by a newer pgusher: treated as a gap.
    pub fn parse(payload: &str) -> Option<Self> {
        match Self::read(payload) {
            Some(Self::Gap) => None,
            Some(change) => Some(change),
            None => Some(Self::Gap),
        }
    }

    fn read(payload: &str) -> Option<Self> {
        let payload: Payload = serde_json::from_str(payload).ok()?;
        let tenant = payload.tenant.as_deref().and_then(|id| TenantId::parse(id).ok());
        Some(match payload.of.as_str() {
            // Nobody remembers anything of a tenant whose id is none: nothing to drop.
            "tenant" => TenantId::parse(&payload.id).map_or(Self::Gap, Self::Tenant),
            "key" => Self::Key { id: payload.id, tenant: tenant? },
            // What is no number is nobody's: nothing to drop.
            "phone" => E164::parse(&payload.id).map_or(Self::Gap, Self::Phone),
            "process" => Self::Processes,
            "revocation" => {
                let what = Revoked::read(payload.kind.as_deref()?, payload.id)?;
                let instant = |secs: Option<f64>| {
                    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(secs?).ok()?)
                };
                let (until, keep) = (instant(payload.until), instant(payload.keep));
                Self::Revoked { what, tenant, until, keep }
            }
            _ => return None,
        })
    }
}

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often a silent connection is asked whether it lives: NOTIFY on a dead one is silence too.
const PROBE: Duration = Duration::from_secs(10);

/// Listens for ever, and tells `sink`. [`Change::Gap`] comes first, once the connection listens,
/// and after every time it was lost.
pub async fn listen(registry: &Registry, sink: impl Fn(Change) + Send + Sync) {
    let mut pause = RETRY_MIN;
    loop {
        match listen_once(registry, &sink).await {
            // It had listened: the next try is soon.
            Ok(()) => pause = RETRY_MIN,
            Err(error) => {
                tracing::warn!(error = logged(&error), "cannot listen for registry changes");
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

const LISTEN: &str = "LISTEN pgusher_changes; LISTEN pgusher_peers";

/// One connection, until it is lost.
async fn listen_once(
    registry: &Registry,
    sink: &(impl Fn(Change) + Send + Sync),
) -> Result<(), DialError> {
    let dial = Dial::new(registry.url(), registry.connect_timeout());
    let (client, mut messages) = dial.connect().await?;
    // The connection moves only while its messages are polled.
    let ask = tokio::time::timeout(registry.connect_timeout(), client.batch_execute(LISTEN));
    tokio::pin!(ask);
    loop {
        tokio::select! {
            asked = &mut ask => {
                asked.map_err(|_| DialError::Slow)??;
                break;
            }
            message = messages.next() => tell(message.transpose()?, sink),
        }
    }
    sink(Change::Gap);
    tracing::info!("listening for registry changes");
    loop {
        let probe = async {
            tokio::time::sleep(PROBE).await;
            tokio::time::timeout(PROBE, client.simple_query("")).await
        };
        tokio::pin!(probe);
        let alive = loop {
            tokio::select! {
                probed = &mut probe => break matches!(probed, Ok(Ok(_))),
                message = messages.next() => match message {
                    Some(Ok(message)) => tell(Some(message), sink),
                    Some(Err(_)) | None => break false,
                },
            }
        };
        if !alive {
            tracing::warn!("lost the connection that listens for registry changes");
            return Ok(());
        }
    }
}

fn tell(message: Option<AsyncMessage>, sink: &(impl Fn(Change) + Send + Sync)) {
    let Some(AsyncMessage::Notification(notification)) = message else { return };
    let change = if notification.channel() == peers::CHANNEL {
        Notice::parse(notification.payload()).map(Change::Peer)
    } else {
        Change::parse(notification.payload())
    };
    if let Some(change) = change {
        sink(change);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::tenant::{MasterKey, RegistrySettings};
    use crate::units::Span;

    #[test]
    fn payloads_are_read() {
        let tenant = TenantId::parse("a").expect("id");
        for (payload, change) in [
            (r#"{"of":"tenant","id":"a"}"#, Change::Tenant(tenant.clone())),
            (
                r#"{"of":"key","id":"k","tenant":"a"}"#,
                Change::Key { id: "k".into(), tenant: tenant.clone() },
            ),
            (
                r#"{"of":"revocation","kind":"token","id":"t","tenant":"a","until":1.5,"keep":9}"#,
                Change::Revoked {
                    what: Revoked::Token("t".into()),
                    tenant: Some(tenant),
                    until: Some(UNIX_EPOCH + Duration::from_millis(1500)),
                    keep: Some(UNIX_EPOCH + Duration::from_secs(9)),
                },
            ),
            (r#"{"of":"process","id":"p"}"#, Change::Processes),
            (r#"{"of":"new thing","id":"x"}"#, Change::Gap),
            ("", Change::Gap),
        ] {
            assert_eq!(Change::parse(payload), Some(change), "{payload}");
        }
        assert_eq!(Change::parse(r#"{"of":"tenant","id":"A-B"}"#), None);
    }

    /// A registry that freezes once its client is logged in; ends when it is dialled again.
    async fn frozen(at: tokio::net::TcpListener) {
        let mut held = Vec::new();
        for _ in 0..2 {
            let (mut socket, _) = at.accept().await.expect("dialled");
            let mut startup = [0; 8];
            socket.read_exact(&mut startup).await.expect("a startup packet");
            let ready = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
            socket.write_all(ready).await.expect("written");
            held.push(socket);
        }
    }

    #[tokio::test]
    async fn a_registry_that_freezes_before_it_listens_is_dialled_again() {
        let at = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = at.local_addr().expect("an address").port();
        let settings = RegistrySettings {
            url: format!("postgresql://u@127.0.0.1:{port}/registry?sslmode=disable").into(),
            connect_timeout: Span::millis(200),
            ..RegistrySettings::default()
        };
        let key = MasterKey::new(&"k".repeat(32).as_str().into()).expect("a key");
        let registry = Registry::new(&settings, key).expect("settings");
        let within = Duration::from_secs(10);
        let listening = listen(&registry, |change| panic!("{change:?}"));
        tokio::select! {
            again = tokio::time::timeout(within, frozen(at)) => again.expect("dialled again"),
            () = listening => {}
        }
    }
}
