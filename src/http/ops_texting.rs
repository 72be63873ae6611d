//! Operators' hands on phone numbers and dead letters.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Problem;
use super::body::Named;
use super::numbers::number;
use super::ops::Ops;
use super::texting::Texting;
use crate::ident::TenantId;

/// The routes, behind the operators' guard.
pub(super) fn routes() -> Router<Ops> {
    Router::new()
        .route("/tenants/{id}/phone-numbers", get(list))
        .route("/tenants/{id}/phone-numbers/{e164}", put(assign).delete(release))
        .route("/tenants/{id}/dead-letters", get(letters))
        .route("/tenants/{id}/dead-letters/replay", post(replay))
        .layer(axum::middleware::from_fn(no_browser))
}

/// On loopback there is no token, so a page in somebody's browser must not be able to change
/// anything: JSON makes the browser ask first, which nobody answers. A name that leads to loopback
/// was not taken for it before.
async fn no_browser(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads || is_json(request.headers()) {
        return next.run(request).await;
    }
    let title = "Changes take content-type application/json";
    Problem::new(StatusCode::FORBIDDEN, "not-a-browser", title).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether the request came by a host name other than `localhost`.
pub(super) fn is_named(headers: &HeaderMap) -> bool {
    // No browser leaves it out.
    let Some(host) = headers.get(header::HOST) else { return false };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name != "localhost" && name.parse::<std::net::IpAddr>().is_err()
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sid {
    number_sid: Option<String>,
}

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    after: String,
}

#[derive(Debug, Default, Deserialize)]
struct Which {
    id: Option<String>,
}

async fn list(State(ops): State<Ops>, Named(id): Named<String>) -> Result<Json<Value>, Problem> {
    let (texting, id) = (texting(&ops)?, tenant(&id)?);
    let held = texting.numbers.list(&id).await?;
    let view = |held: &crate::control::phone::Held| json!({ "phoneNumber": held.number, "primary": held.primary });
    let numbers: Vec<_> = held.iter().map(view).collect();
    Ok(Json(json!({ "tenantId": id.as_str(), "phoneNumbers": numbers })))
}

async fn assign(
    State(ops): State<Ops>,
    Named((id, e164)): Named<(String, String)>,
    body: Result<Option<Json<Sid>>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let (texting, id) = (texting(&ops)?, tenant(&id)?);
    let Ok(body) = body else { return Err(unreadable()) };
    let sid = body.and_then(|Json(sid)| sid.number_sid);
    let usable = |sid: &String| !sid.is_empty() && sid.len() <= 255 && !sid.contains('\0');
    texting.numbers.assign(&id, &number(&e164)?, sid.filter(usable).as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn release(
    State(ops): State<Ops>,
    Named((id, e164)): Named<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (texting, id) = (texting(&ops)?, tenant(&id)?);
    texting.numbers.release(&id, &number(&e164)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn letters(
    State(ops): State<Ops>,
    Named(id): Named<String>,
    page: Result<Query<After>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let (texting, id) = (texting(&ops)?, tenant(&id)?);
    ops.directory.tenant(&id).await?;
    let Ok(Query(page)) = page else { return Err(unreadable()) };
    if page.after.contains('\0') {
        return Ok(Json(json!({ "tenantId": id.as_str(), "deadLetters": [] })));
    }
    let letters = texting.letters.list(&id, &page.after).await?;
    Ok(Json(json!({ "tenantId": id.as_str(), "deadLetters": letters })))
}

async fn replay(
    State(ops): State<Ops>,
    Named(id): Named<String>,
    which: Result<Json<Which>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let (texting, id) = (texting(&ops)?, tenant(&id)?);
    ops.directory.tenant(&id).await?;
    let Ok(Json(which)) = which else { return Err(unreadable()) };
    let done = match which.id {
        Some(letter) if letter.contains('\0') => return Err(no_such("letter")),
        Some(letter) => texting.letters.replay(&id, &letter).await?,
        None => texting.letters.replay_all(&id).await?,
    };
    Ok(Json(json!({ "tenantId": id.as_str(), "resolved": done.resolved, "dead": done.dead,
        "gone": done.gone })))
}

fn texting(ops: &Ops) -> Result<&Texting, Problem> {
    ops.texting.as_ref().ok_or_else(|| no_such("page"))
}

fn tenant(id: &str) -> Result<TenantId, Problem> {
    TenantId::parse(id).map_err(|_| no_such("tenant"))
}

fn unreadable() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "request", "The request cannot be read")
}

fn no_such(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", &format!("No such {what}"))
}
