//! The sidecar's way to a tenant's data: a session like any other, without a socket.

use std::sync::Arc;

use tokio::io::DuplexStream;

use super::shared::Shared;
use crate::net::{DataThread, Socket, Stream};

/// Opens sessions from inside the process. Cheap to clone.
///
/// The caps hold for them as for all: there is one road to a tenant's data.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
    data: DataThread,
}

/// Bytes buffered each way between the sidecar and its session.
const PIPE_BYTES: usize = 16 << 10;

impl Door {
    /// A door whose sessions run on `data`.
    pub fn new(shared: Arc<Shared>, data: DataThread) -> Self {
        Self { shared, data }
    }

    /// A new session's client end. It logs in with a sidecar token as its password.
    pub fn open(&self) -> DuplexStream {
        let (outside, inside) = tokio::io::duplex(PIPE_BYTES);
        let stream = Stream::Plain(Socket::Pipe(inside));
        self.data.spawn(super::serve(Arc::clone(&self.shared), stream, None)).detach();
        outside
    }
}
