//! The end of a connection: the last message, the close.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::fault::Fault;
use crate::net::Stream;
use crate::wire::Writer;

/// How a connection ends.
#[derive(Debug)]
pub(super) struct Farewell {
    stream: Option<Stream>,
    fault: Option<Fault>,
}

/// How long a client may take to read its last message.
const PATIENCE: Duration = Duration::from_secs(5);

impl Farewell {
    /// The client left, or nothing may be said: the socket is just closed.
    pub(super) fn silent(stream: Stream) -> Self {
        Self { stream: Some(stream), fault: None }
    }

    /// The client is told why, with a FATAL.
    pub(super) fn fatal(stream: Stream, fault: Fault) -> Self {
        Self { stream: Some(stream), fault: Some(fault) }
    }

    /// The stream is gone already: TLS failed half-way.
    pub(super) fn nobody() -> Self {
        Self { stream: None, fault: None }
    }

    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
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
}
