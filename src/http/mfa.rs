//! `/api/auth/mfa`: the caller's own second factor.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Fields, Proven};
use super::problem::{BodyProblems, CallerProblems};
use super::{Problem, Public};

/// How the second factor stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MfaStatus {
    tenant_id: String,
    /// Whether a login takes a code.
    enabled: bool,
    /// Recovery codes that were not used yet.
    recovery_codes_left: i64,
}

/// A second factor that waits for its first code. Shown here and never again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enrolled {
    tenant_id: String,
    /// In base 32, for typing in.
    secret: String,
    /// The same for an authenticator app, mostly as a QR code.
    otpauth_uri: String,
}

/// A code.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct CodeBody {
    /// Of the authenticator app; except to confirm, a recovery code will do.
    #[schema(min_length = 1, max_length = 64)]
    code: String,
}

/// Recovery codes, each good once. Shown here and never again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecoveryCodes {
    tenant_id: String,
    recovery_codes: Vec<String>,
}

/// How the caller's second factor stands.
#[utoipa::path(get, path = "/api/auth/mfa", tag = "mfa", security(("bearer" = [])),
    responses((status = 200, body = MfaStatus), CallerProblems))]
pub(super) async fn show(
    State(public): State<Public>,
    Proven(caller): Proven,
) -> Result<Json<MfaStatus>, Problem> {
    let view = public.login.mfa.look(&public.login.road(), &caller).await?;
    Ok(Json(MfaStatus {
        tenant_id: caller.tenant.to_string(),
        enabled: view.enabled,
        recovery_codes_left: view.recovery_codes_left,
    }))
}

/// Makes a shared secret. It counts when `confirm` has seen a code of it.
#[utoipa::path(post, path = "/api/auth/mfa/enroll", tag = "mfa", security(("bearer" = [])),
    responses((status = 200, body = Enrolled), CallerProblems,
        (status = 409, description = "There is a second factor already", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn enroll(
    State(public): State<Public>,
    Proven(caller): Proven,
) -> Result<Json<Enrolled>, Problem> {
    let enrolment = public.login.mfa.enrol(&public.login.road(), &caller).await?;
    Ok(Json(Enrolled {
        tenant_id: caller.tenant.to_string(),
        // Shown to its owner, once.
        secret: enrolment.secret.expose().to_owned(),
        otpauth_uri: enrolment.uri.expose().to_owned(),
    }))
}

/// Confirms the shared secret with a first code: from now on a login takes one.
#[utoipa::path(post, path = "/api/auth/mfa/confirm", tag = "mfa", request_body = CodeBody,
    security(("bearer" = [])),
    responses((status = 200, body = RecoveryCodes), CallerProblems, BodyProblems,
        (status = 409, description = "Nothing waits for a code", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn confirm(
    State(public): State<Public>,
    Proven(caller): Proven,
    fields: Fields,
) -> Result<Json<RecoveryCodes>, Problem> {
    let code = code(fields)?;
    let recovery_codes = public.login.mfa.confirm(&public.login.road(), &caller, &code).await?;
    Ok(Json(RecoveryCodes { tenant_id: caller.tenant.to_string(), recovery_codes }))
}

/// Takes the second factor away. Needs a code.
#[utoipa::path(post, path = "/api/auth/mfa/disable", tag = "mfa", request_body = CodeBody,
    security(("bearer" = [])),
    responses((status = 204, description = "Gone"), CallerProblems, BodyProblems,
        (status = 409, description = "There is no second factor", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn disable(
    State(public): State<Public>,
    Proven(caller): Proven,
    fields: Fields,
) -> Result<StatusCode, Problem> {
    let code = code(fields)?;
    public.login.mfa.disable(&public.login.road(), &caller, &code).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// New recovery codes; those before are void. Needs a code.
#[utoipa::path(post, path = "/api/auth/mfa/recovery-codes", tag = "mfa", request_body = CodeBody,
    security(("bearer" = [])),
    responses((status = 200, body = RecoveryCodes), CallerProblems, BodyProblems,
        (status = 409, description = "There is no second factor", body = Problem,
            content_type = "application/problem+json")))]
pub(super) async fn recovery_codes(
    State(public): State<Public>,
    Proven(caller): Proven,
    fields: Fields,
) -> Result<Json<RecoveryCodes>, Problem> {
    let code = code(fields)?;
    let recovery_codes = public.login.mfa.renew(&public.login.road(), &caller, &code).await?;
    Ok(Json(RecoveryCodes { tenant_id: caller.tenant.to_string(), recovery_codes }))
}

fn code(mut fields: Fields) -> Result<String, Problem> {
    let code = fields.text("code");
    if code.is_empty() {
        fields.problem("code", "is needed");
    }
    fields.done()?;
    Ok(code)
}
