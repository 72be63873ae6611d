//! `pgusher healthcheck`: for a container that has no curl.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::{Answer, Client, Failure};

/// Whom to ask.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArguments {
    /// The ops listener of the pgusher to ask.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9432")]
    pub ops: SocketAddr,
    /// Asks whether it takes sessions, not only whether it is alive.
    #[arg(long)]
    pub ready: bool,
}

/// One request to the ops listener.
///
/// # Errors
/// When there is no answer or the answer is not 200.
pub(super) async fn healthcheck(asked: &HealthcheckArguments) -> Result<Answer, Failure> {
    let path = if asked.ready { "/readyz" } else { "/healthz" };
    let (status, body) = Client::new(asked.ops).fetch(path).await.map_err(Failure::new)?;
    if !status.is_success() {
        let text = String::from_utf8_lossy(&body);
        return Err(Failure::new(format!("{path} answers {status}: {}", text.trim())));
    }
    Ok(Answer::new("ok", json!({ "ok": true })))
}
