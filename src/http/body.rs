//! What handlers read out of a request.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Problem;
use crate::control::seams::Caller;
use crate::control::{FieldProblem, Refused};
use crate::fault::Fault;

/// A JSON object, read field by field, so that every field that is wrong is named at once.
#[derive(Debug, Default)]
pub(super) struct Fields {
    object: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    /// A text; absent is empty.
    pub(super) fn text(&mut self, field: &'static str) -> String {
        match self.object.remove(field) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            Some(_) => {
                self.problems.push(FieldProblem::new(field, "must be a text"));
                String::new()
            }
        }
    }

    /// A text, if there is one.
    pub(super) fn optional(&mut self, field: &'static str) -> Option<String> {
        let given = self.object.get(field).is_some_and(|value| !value.is_null());
        given.then(|| self.text(field))
    }

    /// A whole number, if there is one.
    pub(super) fn number(&mut self, field: &'static str) -> Option<u64> {
        match self.object.remove(field) {
            None | Some(Value::Null) => None,
            Some(value) => {
                let number = whole(&value);
                if number.is_none() {
                    self.problem(field, "must be a whole number, not negative");
                }
                number
            }
        }
    }

    /// Notes a field that cannot be used.
    pub(super) fn problem(&mut self, field: &'static str, message: &'static str) {
        self.problems.push(FieldProblem::new(field, message));
    }

    /// Ends the reading.
    pub(super) fn done(self) -> Result<(), Problem> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problem::invalid(&self.problems)) }
    }
}

/// A whole number as JSON Schema has it: `3.0` is one.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
        format!("{number:.0}").parse().ok()
    })
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "media-type", "The body must be application/json"));
        }
        let bytes = raw(Bytes::from_request(request, state).await)?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self { object, problems: Vec::new() }),
            Ok(_) => Err(not_an_object().detail("It is JSON, but no object.")),
            Err(e) => Err(not_an_object().detail(format!(
                "It is no JSON at line {}, column {}.",
                e.line(),
                e.column()
            ))),
        }
    }
}

/// A body as it came.
pub(super) fn raw(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(rejection.status(), "too-large", "The body is too large")
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "body", "The body could not be read")
        }
    })
}

fn not_an_object() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "json", "The body must be a JSON object")
}

/// What a path names. What is no text names nothing.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::from_request_parts(parts, state).await;
        named.map(|Path(named)| Self(named)).map_err(|_| Refused::NotFound.into())
    }
}

/// What became of a request's bearer token, proven once, before the request is counted.
#[derive(Clone)]
pub(super) struct Presented(Option<Result<Caller, Problem>>);

impl Presented {
    /// What the gate said; a refusal is logged here, and so not before the request was counted.
    pub(super) fn new(admitted: Option<Result<Caller, Fault>>) -> Self {
        Self(admitted.map(|admitted| admitted.map_err(Problem::from)))
    }
}

/// The caller, proven by the bearer token.
pub(super) struct Proven(pub(super) Caller);

impl<S: Sync> FromRequestParts<S> for Proven {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let presented = parts.extensions.get::<Presented>().and_then(|p| p.0.clone());
        let none = || Err(Problem::unauthorized("Send it as `Authorization: Bearer …`."));
        presented.unwrap_or_else(none).map(Self)
    }
}

/// The bearer token of a request, if it has one.
pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// The caller, if the request has a good token; none otherwise.
pub(super) struct MaybeProven(pub(super) Option<Caller>);

impl<S: Sync> FromRequestParts<S> for MaybeProven {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(
            parts.extensions.get::<Presented>().and_then(|p| p.0.as_ref()?.as_ref().ok()).cloned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_number_may_have_a_point() {
        for (value, number) in [(json!(14934.0), 14934), (json!(1e2), 100), (json!(7), 7)] {
            assert_eq!(whole(&value), Some(number), "{value}");
        }
        for value in [json!(1.5), json!(-1), json!(-1.0), json!(1e300), json!("3"), json!([3])] {
            assert_eq!(whole(&value), None, "{value}");
        }
    }
}
