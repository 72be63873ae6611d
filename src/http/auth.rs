//! `/api/auth`: register, log in, refresh, log out.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Fields, MaybeProven};
use super::{Problem, Public, registrations};
use crate::control::Tokens;
use crate::control::registration::{AdminView, ChurchView, NewOrganisation, Timings};

/// What to register.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct RegisterBody {
    /// The admin's e-mail address.
    #[schema(
        max_length = 254,
        pattern = r#"^[ \t\n\f\r]*[^\s@<>",\x00-\x1f\x7f-\x9f]{1,64}@(localhost|[A-Za-z0-9]+(-+[A-Za-z0-9]+)*(\.[A-Za-z0-9]+(-+[A-Za-z0-9]+)*)+)[ \t\n\f\r]*$"#
    )]
    email: String,
    /// At least 8 characters.
    #[schema(min_length = 8, max_length = 1024)]
    password: String,
    /// Not blank, no control characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    first_name: String,
    /// Not blank, no control characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    last_name: String,
    /// Not blank, no control characters.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    church_name: String,
    /// Where its database is to be, one of `/api/regions`; absent: anywhere.
    region: Option<String>,
}

/// Who logs in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct LoginBody {
    #[schema(min_length = 1, max_length = 1024)]
    email: String,
    #[schema(min_length = 1, max_length = 1024)]
    password: String,
    /// Of the admin's second factor: the code of the moment, or a recovery code.
    #[schema(max_length = 64)]
    code: Option<String>,
}

/// A refresh token.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct RefreshBody {
    #[schema(min_length = 1)]
    refresh_token: String,
}

/// An admin who is in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    tenant_id: String,
    /// Of a registration only.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_id: Option<String>,
    admin: Admin,
    church: Church,
    #[serde(flatten)]
    tokens: TokenSet,
}

/// A registration whose tokens were given out before.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisteredBefore {
    tenant_id: String,
    registration_id: String,
    admin: Admin,
    church: Church,
    /// What to do for tokens, for a person.
    message: &'static str,
}

/// The admin.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Admin {
    id: String,
    email: String,
    first_name: String,
    last_name: String,
    /// `PRIMARY` for the first.
    role: String,
}

/// The organisation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Church {
    name: String,
    subscription_status: String,
    trial_ends_at: Option<String>,
}

/// The tokens. The access token is also the password of a database session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenSet {
    access_token: String,
    refresh_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds until the access token ends.
    expires_in: u64,
}

/// New tokens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refreshed {
    tenant_id: String,
    #[serde(flatten)]
    tokens: TokenSet,
}

impl From<Tokens> for TokenSet {
    fn from(tokens: Tokens) -> Self {
        Self {
            // Handed to their owner: the one place where they leave.
            access_token: tokens.access.expose().to_owned(),
            refresh_token: tokens.refresh.expose().to_owned(),
            token_type: "Bearer",
            expires_in: tokens.expires_in,
        }
    }
}

impl From<AdminView> for Admin {
    fn from(view: AdminView) -> Self {
        Self {
            id: view.id,
            email: view.email,
            first_name: view.first_name,
            last_name: view.last_name,
            role: view.role,
        }
    }
}

impl From<ChurchView> for Church {
    fn from(view: ChurchView) -> Self {
        Self {
            name: view.name,
            subscription_status: view.subscription_status,
            trial_ends_at: view.trial_ends_at,
        }
    }
}

/// Registers an organisation: its database, its first admin, and the admin's tokens.
#[utoipa::path(post, path = "/api/auth/register", tag = "auth", request_body = RegisterBody,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "The same key and body give the same tenant again, its tokens only for a \
                       while"),
        ("Prefer" = Option<String>, Header,
            description = "`respond-async`: 202 at once, and the rest at `Location`")),
    responses(
        (status = 200, body = RegisteredBefore,
            description = "Registered before with this key and body, too long ago for tokens, or \
                           revoked or given a second factor since: log in"),
        (status = 201, body = Session),
        (status = 202, body = registrations::RegistrationView,
            headers(("Location" = String, description = "Where to ask how far it is"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn register(
    State(public): State<Public>,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let region = fields.text("region");
    let organisation = NewOrganisation {
        email: fields.text("email"),
        password: fields.text("password").into(),
        first_name: fields.text("firstName"),
        last_name: fields.text("lastName"),
        church_name: fields.text("churchName"),
        region: Some(region).filter(|region| !region.is_empty()),
    };
    let key = headers.get("idempotency-key").map(axum::http::HeaderValue::to_str);
    let key = key.transpose().unwrap_or_else(|_| {
        fields.problem("Idempotency-Key", "must be visible ASCII");
        None
    });
    fields.done()?;
    if registrations::prefers_async(&headers) {
        return registrations::begin(&public, organisation, key).await;
    }
    let made = public.registration.register(organisation, key).await?;
    let timings = server_timing(&made.timings);
    let (tenant_id, registration_id) = (made.tenant.to_string(), made.registration);
    let (admin, church) = (made.admin.into(), made.church.into());
    let Some(tokens) = made.tokens else {
        let message = "Registered already. Log in for new tokens.";
        let known = RegisteredBefore { tenant_id, registration_id, admin, church, message };
        return Ok((StatusCode::OK, Json(known)).into_response());
    };
    let registration_id = Some(registration_id);
    let session = Session { tenant_id, registration_id, admin, church, tokens: tokens.into() };
    let mut answer = (StatusCode::CREATED, Json(session)).into_response();
    answer.headers_mut().extend(timings.map(|value| (SERVER_TIMING, value)));
    Ok(answer)
}

/// How long the steps took (W3C Server Timing).
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

fn server_timing(timings: &Timings) -> Option<HeaderValue> {
    let entry = |(step, took): (&str, std::time::Duration)| {
        format!("{step};dur={:.3}", took.as_secs_f64() * 1000.0)
    };
    let text = timings.iter().map(entry).collect::<Vec<_>>().join(", ");
    if text.is_empty() { None } else { HeaderValue::from_str(&text).ok() }
}

/// Logs an admin in. An admin with a second factor gets 401 `urn:pgusher:mfa-required` when the
/// password is right and the code is missing, `urn:pgusher:mfa-code` when it is wrong.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = LoginBody,
    responses(
        (status = 200, body = Session),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn login(
    State(public): State<Public>,
    mut fields: Fields,
) -> Result<Json<Session>, Problem> {
    let (email, password) = (fields.text("email"), fields.text("password"));
    let code = Some(fields.text("code")).filter(|code| !code.is_empty());
    for (field, text) in [("email", &email), ("password", &password)] {
        if text.is_empty() {
            fields.problem(field, "is needed");
        }
    }
    if password.len() > 1024 {
        fields.problem("password", "must have at most 1024 bytes");
    }
    fields.done()?;
    let wanted = public.login.login(&email, password.into(), code.as_deref()).await?;
    Ok(Json(Session {
        tenant_id: wanted.tenant.to_string(),
        registration_id: None,
        admin: wanted.admin.into(),
        church: wanted.church.into(),
        tokens: wanted.tokens.into(),
    }))
}

/// New tokens for a refresh token, which is good once.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", request_body = RefreshBody,
    responses(
        (status = 200, body = Refreshed),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The tenant is not served; the token stays good",
            body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn refresh(
    State(public): State<Public>,
    fields: Fields,
) -> Result<Json<Refreshed>, Problem> {
    let token = refresh_token(fields)?;
    let (tenant, tokens) = public.login.refresh(&token.into()).await?;
    Ok(Json(Refreshed { tenant_id: tenant.to_string(), tokens: tokens.into() }))
}

/// Ends a login; with an access token, that one too.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", request_body = RefreshBody,
    security((), ("bearer" = [])),
    responses(
        (status = 204, description = "Ended, or never begun"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn logout(
    State(public): State<Public>,
    MaybeProven(caller): MaybeProven,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let token = refresh_token(fields)?;
    public.sessions.end(&token.into(), caller.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn refresh_token(mut fields: Fields) -> Result<String, Problem> {
    let token = fields.text("refreshToken");
    if token.is_empty() {
        fields.problem("refreshToken", "is needed");
    }
    fields.done()?;
    Ok(token)
}

/// The public keys that verify access tokens.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "auth",
    responses((status = 200, description = "A JWK set (RFC 7517)", body = serde_json::Value)))]
pub(super) async fn jwks(State(public): State<Public>) -> Json<serde_json::Value> {
    Json(public.mint.jwks())
}
