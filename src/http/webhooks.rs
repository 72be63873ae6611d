//! `/webhooks`: what providers tell. An answer of 2xx is a promise that it is committed.

use std::net::SocketAddr;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Problem, Public};
use crate::control::sms::{Tally, Untaken};
use crate::control::telnyx::{PROVIDER, Signed};

/// What became of a webhook, in tenants.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Taken {
    /// Have it now.
    stored: u32,
    /// Had it before.
    duplicate: u32,
    /// Keep it among their dead letters: it could not be stored for its content.
    dead: u32,
    /// Whether the number is nobody's.
    unknown: u32,
}

impl From<Tally> for Taken {
    fn from(tally: Tally) -> Self {
        let Tally { stored, duplicate, dead, unknown } = tally;
        Self { stored, duplicate, dead, unknown }
    }
}

/// Inbound messages and delivery receipts from Telnyx (webhook version 2), signed by it.
#[utoipa::path(post, path = "/webhooks/telnyx", tag = "webhooks",
    request_body(content = serde_json::Value, content_type = "application/json"),
    params(
        ("telnyx-signature-ed25519" = String, Header, description = "Base64, over `timestamp|body`"),
        ("telnyx-timestamp" = String, Header, description = "Seconds since 1970")),
    responses(
        (status = 200, description = "Committed wherever it belongs", body = Taken),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not signed by Telnyx, or too long ago", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No key is configured", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Signed, but not to be understood", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Bring it again", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn telnyx(
    State(public): State<Public>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<Taken>, Problem> {
    let texting = public.texting.as_ref();
    let Some((texting, telnyx)) = texting.and_then(|t| Some((t, t.telnyx.as_ref()?))) else {
        return Err(super::public::missing().await);
    };
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let body = body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(rejection.status(), "too-large", "The body is too large")
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "body", "The body could not be read")
        }
    })?;
    let signed = Signed {
        signature: header("telnyx-signature-ed25519").unwrap_or_default(),
        timestamp: header("telnyx-timestamp").unwrap_or_default(),
        body: &body,
    };
    if let Err(why) = telnyx.prove(&signed, SystemTime::now()) {
        texting.metrics.answered(PROVIDER, "unproven");
        tracing::info!(provider = PROVIDER, %why, "a webhook was not believed");
        // Strangers are counted, so that guessing costs them more than us; the provider never is.
        public.limits.all.count(Some(public.proxies.client(peer.ip(), &headers)))?;
        let title = "The signature is not the provider's";
        return Err(Problem::new(StatusCode::FORBIDDEN, "signature", title).detail(why.to_string()));
    }
    let event = telnyx.read(&body).map_err(|why| {
        texting.metrics.answered(PROVIDER, "malformed");
        tracing::warn!(provider = PROVIDER, %why, "a signed webhook was not understood");
        let title = "The webhook cannot be understood";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "webhook", title).detail(why.to_string())
    })?;
    let taken = texting.intake.take(PROVIDER, &event).await;
    taken.map(|tally| Json(tally.into())).map_err(|untaken| later(&untaken))
}

/// Whatever the reason: the provider is to bring it again.
fn later(why: &Untaken) -> Problem {
    let title = "The message was not taken; bring it again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title)
        .detail(why.to_string())
        .retry_after(2)
}
