//! Sessions ended from outside: the caller's own, and by the primary admin those of others.

use axum::extract::State;
use axum::http::StatusCode;

use super::body::{Named, Proven};
use super::problem::CallerProblems;
use super::{Problem, Public};
use crate::control::Refused;
use crate::ident::Role;

/// The longest admin's id worth a look.
const ID_BYTES_MAX: usize = 255;

/// Ends every session of the caller, on every device: tokens issued until now, refresh tokens, and
/// live database sessions.
#[utoipa::path(delete, path = "/api/auth/sessions", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "Ended, this token with them"), CallerProblems))]
pub(super) async fn own_sessions(
    State(public): State<Public>,
    Proven(caller): Proven,
) -> Result<StatusCode, Problem> {
    public.revoker.admin(&caller.tenant, &caller.subject, &caller.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends every session of one of the tenant's admins: the primary admin only.
#[utoipa::path(delete, path = "/api/tenant/admins/{id}/sessions", tag = "tenant",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The admin's id")),
    responses((status = 204, description = "Ended"), CallerProblems))]
pub(super) async fn admins_sessions(
    State(public): State<Public>,
    Proven(caller): Proven,
    Named(id): Named<String>,
) -> Result<StatusCode, Problem> {
    if caller.role != Role::Owner {
        return Err(Refused::NotPrimary.into());
    }
    // PostgreSQL's texts hold no NUL.
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.contains('\0') {
        return Err(Refused::NotFound.into());
    }
    // One who was deleted may still hold tokens.
    if !public.revoker.knows(&caller.tenant, &id).await?
        && !public.login.has_admin(&caller.tenant, &id).await?
    {
        return Err(Refused::NotFound.into());
    }
    public.revoker.admin(&caller.tenant, &id, &caller.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}
