//! The end of a connection: the last message, the close.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::roster::{Card, Entry};
use crate::fault::{Fault, SqlState};
use crate::ident::Role;
use crate::net::Stream;
use crate::tenant::PoolMode;
use crate::wire::Writer;

/// How a connection ends.
#[derive(Debug)]
pub(super) struct Farewell {
    stream: Option<Stream>,
    fault: Option<Fault>,
    /// Whose session it was: it is one of those there are until the socket is closed.
    entry: Option<Entry>,
}

/// How long a client may take to read its last message.
const PATIENCE: Duration = Duration::from_secs(5);

impl Farewell {
    /// The client left, or nothing may be said: the socket is just closed.
    pub(super) fn silent(stream: Stream) -> Self {
        Self { stream: Some(stream), fault: None, entry: None }
    }

    /// The client is told why, with a FATAL.
    pub(super) fn fatal(stream: Stream, fault: Fault) -> Self {
        Self { stream: Some(stream), fault: Some(fault), entry: None }
    }

    /// The stream is gone already: TLS failed half-way.
    pub(super) fn nobody() -> Self {
        Self { stream: None, fault: None, entry: None }
    }

    /// Of a session that a drain waits for until it has said all: behind the last of them the data
    /// threads end.
    pub(super) fn of(self, entry: Entry) -> Self {
        Self { entry: Some(entry), ..self }
    }

    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Where the client is, as long as that is known.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.stream.as_ref()?.peer()
    }
}

/// The log line of a session that is over, with its totals: one at `info` for each client's, one at
/// `debug` for each of the sidecar's own. `end` is the SQLSTATE of what ended it, if it was not its
/// client.
pub(super) fn note(card: &Card, mode: PoolMode, transactions: u64, end: Option<SqlState>) {
    let (tenant, role) = (card.identity().tenant().as_str(), card.role().as_str());
    let peer = card.peer().map(tracing::field::display);
    let (mode, sqlstate) = (mode.as_str(), end.map(SqlState::as_str));
    let seconds = card.since().elapsed().unwrap_or_default().as_secs_f64();
    if card.role() == Role::Sidecar {
        tracing::debug!(tenant, role, mode, seconds, transactions, sqlstate, "session ended");
    } else {
        tracing::info!(tenant, role, peer, mode, seconds, transactions, sqlstate, "session ended");
    }
}

/// Says the last word and closes.
pub(super) async fn end(farewell: Farewell) {
    let Some(mut stream) = farewell.stream else { return };
    let close = async {
        if let Some(fault) = &farewell.fault {
            let mut last = Writer::new();
            last.error("FATAL", fault);
            stream.write_all(last.bytes()).await?;
            stream.flush().await?;
        }
        stream.shutdown().await
    };
    // A client that reads nothing any more does not keep the socket open for ever.
    let _ = tokio::time::timeout(PATIENCE, close).await;
    drop(farewell.entry);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt as _;

    use super::super::cut::Cut;
    use super::super::known::Known;
    use super::super::roster::Roster;
    use super::*;
    use crate::auth::Identity;
    use crate::ident::{Role, TenantId};
    use crate::net::Socket;

    #[tokio::test]
    async fn a_session_is_there_until_it_has_said_all() {
        let roster = Arc::new(Roster::default());
        let tenant = TenantId::parse("a").expect("valid");
        let who = (Identity::unproven(&tenant, Role::App), Role::App, 0);
        let entry = roster.enter(who, None, Known::Otherwise, vec![1; 4].into(), Arc::default());
        let (here, mut there) = tokio::io::duplex(1);
        let stream = Stream::Plain(Socket::Pipe(here));
        let ending = tokio::spawn(end(Farewell::fatal(stream, Cut::Drain.fault()).of(entry)));
        assert_eq!(there.read_u8().await.expect("reads"), b'E');
        assert!(!roster.is_empty());
        there.read_to_end(&mut Vec::new()).await.expect("reads");
        ending.await.expect("ends");
        assert!(roster.is_empty());
    }
}
