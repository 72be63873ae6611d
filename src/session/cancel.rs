//! A client's cancel request, on its way to the right server.

use std::sync::Arc;

use super::shared::Shared;
use crate::server::send_cancel;

/// Sends the cancel on to the server that runs the query of the session with this key, if there is
/// one. The client is told nothing, as the protocol has it.
pub(super) fn forward(shared: &Arc<Shared>, pid: i32, secret: &[u8]) {
    let outcome = shared.parts.metrics.cancels.clone();
    let Some(card) = shared.parts.roster.find(pid, secret) else {
        outcome.with_label_values(&["unknown"]).inc();
        return;
    };
    if !card.may_cancel() {
        outcome.with_label_values(&["limited"]).inc();
        return;
    }
    let Some((gate, in_flight)) = card.begin_cancel() else {
        outcome.with_label_values(&["idle"]).inc();
        return;
    };
    let dialer = shared.parts.dialer.clone();
    tokio::spawn(async move {
        let label = match send_cancel(&dialer, &gate, in_flight).await {
            Ok(()) => "sent",
            Err(error) => {
                tracing::warn!(%error, "a cancel request could not be delivered");
                "failed"
            }
        };
        outcome.with_label_values(&[label]).inc();
    });
}
