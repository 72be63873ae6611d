//! CancelRequest towards PostgreSQL (PostgreSQL documentation, 55.2.8).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::gate::InFlight;
use super::{CancelGate, DialError, Dialer};
use crate::wire::Writer;
use std::sync::Arc;

/// Sends the cancel for whatever `gate`'s server runs, and waits until PostgreSQL has closed the
/// request's connection: by then the signal is sent. `in_flight` must have been taken while the
/// caller knew that the server was serving the right client.
///
/// # Errors
/// When PostgreSQL cannot be reached. There is no answer to a cancel that was delivered.
pub async fn send_cancel(
    dialer: &Dialer,
    gate: &Arc<CancelGate>,
    in_flight: InFlight,
) -> Result<(), DialError> {
    let Some(key) = gate.key() else { return Ok(()) };
    let send = async {
        let mut stream = dialer.connect(gate.endpoint()).await?;
        let mut packet = Writer::new();
        packet.cancel_request(&key);
        stream.write_all(packet.bytes()).await?;
        stream.flush().await?;
        // Nothing is ever sent back; the end of the stream is the answer.
        let mut nothing = [0; 64];
        while stream.read(&mut nothing).await? > 0 {}
        Ok(())
    };
    let sent = tokio::time::timeout(dialer.connect_timeout(), send).await;
    let sent = sent.unwrap_or(Err(DialError::Timeout));
    if sent.is_err() {
        gate.doubt();
    }
    drop(in_flight);
    sent
}
