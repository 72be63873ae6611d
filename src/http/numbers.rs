//! `/api/tenant/phone-numbers`: a tenant's own numbers, by its primary admin.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Named, Proven};
use super::texting::Texting;
use super::{Problem, Public};
use crate::control::phone::{E164, Held, Proof};
use crate::control::seams::Caller;
use crate::control::{FieldProblem, Refused};
use crate::ident::Role;

/// A phone number of a tenant's.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Number {
    /// By E.164.
    phone_number: String,
    /// Whether it is the one to send from.
    primary: bool,
}

/// A tenant's phone numbers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NumberList {
    pub(super) tenant_id: String,
    pub(super) phone_numbers: Vec<Number>,
}

impl From<Held> for Number {
    fn from(held: Held) -> Self {
        Self { phone_number: held.number, primary: held.primary }
    }
}

/// The tenant's phone numbers: the primary admin only.
#[utoipa::path(get, path = "/api/tenant/phone-numbers", tag = "tenant",
    security(("bearer" = [])),
    responses(
        (status = 200, body = NumberList),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(public): State<Public>,
    Proven(caller): Proven,
) -> Result<Json<NumberList>, Problem> {
    let texting = permitted(&public, &caller).await?;
    let held = texting.numbers.list(&caller.tenant).await?;
    let phone_numbers = held.into_iter().map(Into::into).collect();
    Ok(Json(NumberList { tenant_id: caller.tenant.to_string(), phone_numbers }))
}

/// Takes a number the provider says is this tenant's: the primary admin only.
#[utoipa::path(put, path = "/api/tenant/phone-numbers/{e164}", tag = "tenant",
    security(("bearer" = [])),
    params(("e164" = String, Path, pattern = r"^\+[1-9][0-9]{6,14}$",
        description = "The number, such as +15551234567")),
    responses(
        (status = 204, description = "It is the tenant's"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is another's, or the tenant has as many as it may have",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn take(
    State(public): State<Public>,
    Proven(caller): Proven,
    Named(e164): Named<String>,
) -> Result<StatusCode, Problem> {
    let texting = permitted(&public, &caller).await?;
    let number = number(&e164)?;
    let proof = texting.proof.as_ref().ok_or(Refused::NumberUnproven)?;
    match proof.of(&number, &caller.tenant).await? {
        Proof::Confirmed(sid) => {
            texting.numbers.assign(&caller.tenant, &number, Some(&sid)).await?;
            Ok(StatusCode::NO_CONTENT)
        }
        Proof::Refused => Err(Refused::NumberUnproven.into()),
    }
}

/// Gives a number back: the primary admin only.
#[utoipa::path(delete, path = "/api/tenant/phone-numbers/{e164}", tag = "tenant",
    security(("bearer" = [])),
    params(("e164" = String, Path, pattern = r"^\+[1-9][0-9]{6,14}$",
        description = "The number, such as +15551234567")),
    responses(
        (status = 204, description = "It is nobody's"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn release(
    State(public): State<Public>,
    Proven(caller): Proven,
    Named(e164): Named<String>,
) -> Result<StatusCode, Problem> {
    let texting = permitted(&public, &caller).await?;
    texting.numbers.release(&caller.tenant, &number(&e164)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn permitted<'a>(public: &'a Public, caller: &Caller) -> Result<&'a Texting, Problem> {
    let Some(texting) = &public.texting else {
        return Err(super::public::missing().await);
    };
    if caller.role == Role::Owner { Ok(texting) } else { Err(Refused::NotPrimary.into()) }
}

pub(super) fn number(text: &str) -> Result<E164, Problem> {
    E164::parse(text).map_err(|_| {
        let message = "must be written like +15551234567";
        Problem::invalid(&[FieldProblem::new("e164", message)])
    })
}
