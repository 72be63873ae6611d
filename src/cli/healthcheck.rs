//! `pgusher healthcheck`: for a container that has no curl.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::command::Common;
use super::{Answer, Client, Failure};

/// Whom to ask.
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArguments {
    /// The ops listener of the pgusher to ask; by default that of the configuration.
    #[arg(long, value_name = "ADDR")]
    pub ops: Option<SocketAddr>,
    /// Asks whether it takes sessions, not only whether it is alive.
    #[arg(long)]
    pub ready: bool,
}

/// One request to the ops listener.
///
/// # Errors
/// When there is no answer or the answer is not 200.
pub(super) async fn healthcheck(
    common: &Common,
    asked: &HealthcheckArguments,
) -> Result<Answer, Failure> {
    // What is asked is whether it lives: what somebody has broken since is no matter.
    let configured = || common.sources().ops_address();
    let ops = asked.ops.or_else(configured);
    let ops = ops.ok_or_else(|| Failure::new("ops.address is unset: there is nobody to ask"))?;
    let path = if asked.ready { "/readyz" } else { "/healthz" };
    let (status, body) = Client::new(ops).fetch(path).await.map_err(Failure::new)?;
    if !status.is_success() {
        let text = String::from_utf8_lossy(&body);
        return Err(Failure::new(format!("{path} answers {status}: {}", text.trim())));
    }
    Ok(Answer::new("ok", json!({ "ok": true })))
}
