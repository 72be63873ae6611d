//! `/api/registrations`: a registration that was answered before it was done.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::auth::TokenSet;
use super::body::Named;
use super::{Problem, Public};
use crate::control::Refused;
use crate::control::registration::{Collected, NewOrganisation, Registering, Told};

/// A registration that was begun.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistrationView {
    registration_id: String,
    /// `running`, `done` or `failed`.
    status: &'static str,
    /// The last step that was done: `claimed`, `cloned`, `written`, `done` or `failed`.
    step: &'static str,
    /// How much is done.
    percent: u8,
    /// The same for a person.
    message: &'static str,
    /// Once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    /// In the first answer after it is done, and in no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<FirstSession>,
}

/// The first admin's way in, handed out once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FirstSession {
    /// For psql, a driver, an ORM. Its password is the access token: it opens sessions for
    /// `expiresIn` seconds.
    connection_string: String,
    admin: FirstAdmin,
    church: FirstChurch,
    #[serde(flatten)]
    tokens: TokenSet,
}

/// The first admin.
#[derive(Serialize, ToSchema)]
pub(super) struct FirstAdmin {
    id: String,
    email: String,
    /// `PRIMARY`.
    role: &'static str,
}

/// The organisation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FirstChurch {
    name: String,
    trial_ends_at: Option<String>,
}

/// One step of a registration, the data of an event.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the events, which are written from `Told`")]
pub(super) struct StepEvent {
    /// `claimed`, `cloned` (only if no database was ready), `written`, `done` or `failed`.
    step: String,
    percent: u8,
    /// A sentence for a person.
    message: String,
}

/// Where new tenants can be placed.
#[derive(Serialize, ToSchema)]
pub(super) struct RegionList {
    regions: Vec<RegionView>,
}

/// A region.
#[derive(Serialize, ToSchema)]
pub(super) struct RegionView {
    name: String,
    /// Whether it takes new tenants now.
    open: bool,
}

/// How long one stream of events lasts; a browser asks for the rest by itself.
const STREAM_MAX: Duration = Duration::from_secs(600);
const STREAM_BEAT: Duration = Duration::from_secs(10);

/// Whether the caller would rather be answered at once (RFC 7240).
pub(super) fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|preference| {
        let name = preference.split([';', '=']).next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("respond-async")
    })
}

/// Begins a registration and says where to look for it.
pub(super) async fn begin(
    public: &Public,
    organisation: NewOrganisation,
    key: Option<&str>,
) -> Result<Response, Problem> {
    let id = public.registration.begin(organisation, key).await?;
    let found = public.registration.status(&id).await?;
    let place = HeaderValue::from_str(&format!("/api/registrations/{id}"))
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no place"))?;
    let mut answer = (StatusCode::ACCEPTED, Json(view(id, &found, None))).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::LOCATION, place);
    headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    Ok(answer)
}

/// How far a registration is; once it is done, to the first who asks, the way in.
#[utoipa::path(get, path = "/api/registrations/{id}", tag = "auth",
    params(("id" = String, Path, description = "The registration's id, known to its caller only")),
    responses(
        (status = 200, body = RegistrationView),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(public): State<Public>,
    method: Method,
    Named(id): Named<String>,
) -> Result<Json<RegistrationView>, Problem> {
    let found = public.registration.status(&id).await?;
    // HEAD must not take what its answer does not carry.
    let collected = if found.tenant.is_some() && method == Method::GET {
        public.registration.collect(&id).await?
    } else {
        None
    };
    let session = collected.map(|collected| first_session(&public, collected));
    Ok(Json(view(id, &found, session)))
}

/// The steps of a registration as they come: server-sent events named `step`.
#[utoipa::path(get, path = "/api/registrations/{id}/events", tag = "auth",
    params(
        ("id" = String, Path, description = "The registration's id, known to its caller only"),
        ("Last-Event-ID" = Option<String>, Header,
            description = "Only the steps after this one are sent")),
    responses(
        (status = 200, body = StepEvent, content_type = "text/event-stream",
            description = "One event per step; the stream ends after `done` or `failed`"),
        (status = 204, description = "There is nothing more to tell"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(public): State<Public>,
    Named(id): Named<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = Arc::clone(&public.streams).try_acquire_owned().map_err(|_| Refused::Busy)?;
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let watch = public.registration.watch(&id, after.unwrap_or(0)).await?;
    if watch.has_nothing() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let until = Instant::now() + STREAM_MAX;
    let steps = stream::unfold((watch, place), move |(mut watch, place)| async move {
        match tokio::time::timeout_at(until, watch.next()).await {
            Ok(Ok(Some(told))) => Some((event(&told), (watch, place))),
            Ok(Ok(None)) | Err(_) => None,
            Ok(Err(fault)) => {
                // The browser asks again, after the step it was told last.
                fault.log();
                None
            }
        }
    });
    let beat = KeepAlive::new().interval(STREAM_BEAT);
    Ok(Sse::new(steps).keep_alive(beat).into_response())
}

/// The regions a registration can ask for; none where all servers are alike.
#[utoipa::path(get, path = "/api/regions", tag = "auth",
    responses(
        (status = 200, body = RegionList),
        (status = 429, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn regions(State(public): State<Public>) -> Json<RegionList> {
    let regions = public.registration.regions().into_iter();
    let regions = regions.map(|region| RegionView { name: region.name, open: region.open });
    Json(RegionList { regions: regions.collect() })
}

fn event(told: &Told) -> Result<Event, axum::Error> {
    Event::default().event("step").id(told.ordinal.to_string()).json_data(told)
}

fn view(id: String, found: &Registering, session: Option<FirstSession>) -> RegistrationView {
    let (progress, now) = (&found.progress, found.progress.now());
    let status = match (progress.failure, progress.is_over()) {
        (Some(_), _) => "failed",
        (None, true) => "done",
        (None, false) => "running",
    };
    RegistrationView {
        registration_id: id,
        status,
        step: now.step,
        percent: now.percent,
        message: now.message,
        tenant_id: found.tenant.as_ref().map(ToString::to_string),
        session,
    }
}

fn first_session(public: &Public, collected: Collected) -> FirstSession {
    let Collected { tenant, admin_id, email, church_name, trial_ends_at, tokens } = collected;
    FirstSession {
        connection_string: public.connection.url("app", &tokens.access, &tenant),
        admin: FirstAdmin { id: admin_id, email, role: "PRIMARY" },
        church: FirstChurch { name: church_name, trial_ends_at },
        tokens: tokens.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preference_is_read_as_rfc_7240_writes_it() {
        let prefers = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("prefer", line.parse().expect("header"));
            }
            prefers_async(&headers)
        };
        assert!(prefers(&["respond-async"]) && prefers(&["return=minimal, Respond-Async; x=1"]));
        assert!(prefers(&["wait=10", "respond-async"]));
        assert!(!prefers(&[]) && !prefers(&["wait=10"]) && !prefers(&["no-respond-async"]));
    }
}
