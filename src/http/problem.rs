//! RFC 9457 problem bodies.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::time::rfc3339_of;
use crate::control::{FieldProblem, Refused};
use crate::fault::{Blame, Fault, SqlState};

/// What every answer of 400 and above carries, as `application/problem+json`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// A name for this kind of problem, `urn:pgusher:…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What about it this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The fields that cannot be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

/// What every route that reads a body may answer.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "describes answers")]
pub(super) enum BodyProblems {
    /// The body is no JSON object.
    #[response(status = 400, content_type = "application/problem+json")]
    Unreadable(#[to_schema] Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// The body is not `application/json`.
    #[response(status = 415, content_type = "application/problem+json")]
    OfAnotherType(#[to_schema] Problem),
    /// Some fields cannot be used.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
}

/// What every route that takes an access token may answer.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "describes answers")]
pub(super) enum CallerProblems {
    /// The access token is missing or no good.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// The token does not allow it, or the tenant is not served.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Problem),
    /// There is no such thing of this tenant's.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// Too many requests, or too many tries.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(#[to_schema] Problem),
    /// Not at the moment.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// One field that cannot be used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldError {
    /// Its name.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    /// A problem of its own kind.
    pub fn new(status: StatusCode, kind: &str, title: &str) -> Self {
        Self {
            kind: format!("urn:pgusher:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: None,
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// Adds what it is about this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 422, with the fields.
    pub(super) fn invalid(fields: &[FieldProblem]) -> Self {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-fields",
            "Some fields cannot be used",
        );
        let error = |field: &FieldProblem| FieldError {
            field: field.field.to_owned(),
            message: field.message.clone().into_owned(),
        };
        problem.errors = fields.iter().map(error).collect();
        problem
    }

    /// 401.
    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A valid access token is needed")
            .detail(detail)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(fields) => Self::invalid(&fields),
            Refused::EmailTaken => {
                Self::new(StatusCode::CONFLICT, "email-taken", "This e-mail is registered already")
            }
            Refused::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "This Idempotency-Key was used with another body",
            ),
            Refused::InProgress => Self::new(
                StatusCode::CONFLICT,
                "in-progress",
                "The same registration is being worked on",
            )
            .retry_after(2),
            Refused::Credentials => {
                Self::new(StatusCode::UNAUTHORIZED, "credentials", "The credentials are not valid")
            }
            Refused::CodeNeeded => Self::new(
                StatusCode::UNAUTHORIZED,
                "mfa-required",
                "A code of the second factor is needed",
            )
            .detail("Send the login again, with the code in the field `code`."),
            Refused::CodeWrong => Self::new(
                StatusCode::UNAUTHORIZED,
                "mfa-code",
                "The code of the second factor is not valid",
            ),
            Refused::CodeRefused => {
                Self::new(StatusCode::FORBIDDEN, "mfa-code", "The code is not valid")
                    .detail("It is not the one of this moment, or was used already.")
            }
            Refused::TooMany { retry_after } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", "Too many tries")
                    .retry_after(retry_after.as_secs().saturating_add(1))
            }
            Refused::Conflict { kind, title } => Self::new(StatusCode::CONFLICT, kind, title),
            Refused::KeyOutlives { ends } => {
                let ends = rfc3339_of(ends);
                let message = format!("may reach until {ends}, when the token of this call ends");
                Self::invalid(&[FieldProblem::new("expiresIn", message)])
            }
            Refused::NotPrimary => Self::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "This takes the organisation's primary admin",
            ),
            Refused::NumberTaken => Self::new(
                StatusCode::CONFLICT,
                "number-taken",
                "This phone number belongs to another organisation",
            ),
            Refused::NumberUnproven => Self::new(
                StatusCode::FORBIDDEN,
                "number-unproven",
                "The provider does not confirm that this phone number is the organisation's",
            )
            .detail("An operator can assign it."),
            Refused::NotFound => Self::new(StatusCode::NOT_FOUND, "not-found", "Not found"),
            Refused::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many requests of this kind at the moment",
            )
            .retry_after(2),
            Refused::Failed(fault) => fault.into(),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        fault.log();
        let message = fault.message().to_owned();
        match (fault.state(), fault.blame()) {
            (SqlState::INVALID_PASSWORD, _) => Self::unauthorized(&message),
            (SqlState::INVALID_AUTHORIZATION, _) => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", "This token does not allow it")
                    .detail(message)
            }
            (SqlState::INVALID_CATALOG_NAME, _) => {
                Self::new(StatusCode::NOT_FOUND, "not-found", "No such tenant")
            }
            (SqlState::CANNOT_CONNECT_NOW, Blame::Tenant) => {
                Self::new(StatusCode::FORBIDDEN, "not-served", "The tenant is not served")
                    .detail(message)
            }
            (
                SqlState::CANNOT_CONNECT_NOW
                | SqlState::CONNECTION_FAILURE
                | SqlState::TOO_MANY_CONNECTIONS
                | SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                _,
            ) => {
                let title = "The service is not available at the moment";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title)
                    .detail(message)
                    .retry_after(2)
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "pgusher failed")
                .detail("The cause is in pgusher's log."),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
