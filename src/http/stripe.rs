//! `/webhooks/stripe`: what becomes of subscriptions.

use std::net::SocketAddr;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};

use super::body::raw;
use super::{Problem, Public};
use crate::control::stripe::HookRefused;

/// The largest webhook: a subscription with its items.
pub(super) const BODY_BYTES_MAX: usize = 256 << 10;

/// Takes one of Stripe's webhooks in. It is told by its signature; an answer of 2xx means that it
/// is committed. Deliveries may come again and in any order.
#[utoipa::path(post, path = "/webhooks/stripe", tag = "webhooks",
    params(("Stripe-Signature" = String, Header, description = "`t=…,v1=…`, made by Stripe")),
    request_body(content = String, content_type = "application/json",
        description = "An event, as Stripe sends it"),
    responses(
        (status = 204, description = "Taken in, now or before"),
        (status = 400, description = "The body is no event", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Not signed by Stripe", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No webhook is configured", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Not at the moment: deliver it again", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn webhook(
    State(public): State<Public>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let Some(hook) = &public.stripe else {
        return Err(super::public::missing().await);
    };
    let body = raw(body)?;
    let signature = headers.get("stripe-signature").and_then(|v| v.to_str().ok());
    let taken = hook.take(signature.unwrap_or_default(), &body, SystemTime::now()).await;
    match taken {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(HookRefused::Failed(fault)) => Err(fault.into()),
        Err(refused @ HookRefused::Signature(_)) => {
            // As at the other webhooks: who cannot sign is counted, the provider never is.
            public.limits.all.count(Some(public.proxies.client(peer.ip(), &headers)))?;
            let title = "The webhook is not signed by Stripe";
            let problem = Problem::new(StatusCode::FORBIDDEN, "signature", title);
            Err(problem.detail(refused.to_string()))
        }
        Err(HookRefused::Unreadable) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "json", "The body is no event of Stripe's"))
        }
    }
}
