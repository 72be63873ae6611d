//! `/api/tenant`: the caller's own tenant and its API keys.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Fields, Named, Proven};
use super::time::{rfc3339, rfc3339_of};
use super::{Problem, Public};
use crate::control::keys::{KeyView, NewKey};
use crate::ident::Role;
use crate::tenant::Permits;

/// A tenant, as its admins may see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TenantView {
    tenant_id: String,
    name: String,
    /// `active`, `suspended`, `moving` or `provisioning`.
    status: String,
    subscription_status: String,
    subscription_plan: String,
    trial_ends_at: Option<String>,
    /// What its sessions may do now, by how it pays: `full` or `readonly`.
    access: &'static str,
    schema_version: String,
    database_name: String,
}

/// The caller's tenant.
#[utoipa::path(get, path = "/api/tenant", tag = "tenant", security(("bearer" = [])),
    responses(
        (status = 200, body = TenantView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(public): State<Public>,
    Proven(caller): Proven,
) -> Result<Json<TenantView>, Problem> {
    let tenant = public.directory.tenant(&caller.tenant).await?;
    Ok(Json(TenantView {
        tenant_id: tenant.id.to_string(),
        name: tenant.name.to_string(),
        status: tenant.status.as_str().to_owned(),
        subscription_status: tenant.subscription.to_string(),
        subscription_plan: tenant.plan.to_string(),
        trial_ends_at: tenant.trial_ends_at.map(rfc3339),
        access: match tenant.permits(SystemTime::now()) {
            Permits::Allow => "full",
            Permits::Readonly => "readonly",
            // Of a tenant that is on its way out: nobody else gets here.
            Permits::Suspend => "none",
        },
        schema_version: tenant.schema_version.to_string(),
        database_name: tenant.database.to_string(),
    }))
}

/// What a key should be.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct KeyBody {
    /// No control characters.
    #[schema(max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: Option<String>,
    /// `app` when absent.
    role: Option<KeyRole>,
    /// Seconds until it ends; absent: it does not. With a token of an issuer other than pgusher no
    /// key ends later than the token: absent then means that time, and more is refused.
    #[schema(minimum = 1, maximum = 315_360_000)]
    expires_in: Option<u64>,
}

/// What a key may do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a field of the body")]
enum KeyRole {
    Owner,
    App,
    Readonly,
}

/// A key just made. The secret is shown here and never again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyMade {
    tenant_id: String,
    id: String,
    /// The user to log in as.
    user: String,
    /// The password to log in with.
    secret: String,
    role: String,
    name: String,
    expires_at: Option<String>,
}

/// The tenant's keys.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyList {
    tenant_id: String,
    keys: Vec<Key>,
}

/// A key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Key {
    id: String,
    user: String,
    role: String,
    name: String,
    created_at: String,
    expires_at: Option<String>,
}

/// Makes an API key: the primary admin only.
#[utoipa::path(post, path = "/api/tenant/keys", tag = "tenant", request_body = KeyBody,
    security(("bearer" = [])),
    responses(
        (status = 201, body = KeyMade),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There are as many as a tenant may have", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn make_key(
    State(public): State<Public>,
    Proven(caller): Proven,
    mut fields: Fields,
) -> Result<(StatusCode, Json<KeyMade>), Problem> {
    let (name, role) = (fields.text("name"), fields.optional("role"));
    let expires_in = fields.number("expiresIn");
    let role = match role {
        None => Role::App,
        Some(text) => text.parse().unwrap_or_else(|_| {
            fields.problem("role", "must be owner, app or readonly");
            Role::Readonly
        }),
    };
    fields.done()?;
    let key = NewKey { name, role, expires_in };
    let made = public.keys.make(&caller, &key).await?;
    let view = KeyMade {
        tenant_id: caller.tenant.to_string(),
        id: made.id,
        user: made.user,
        // Shown to its maker, once.
        secret: made.secret.expose().to_owned(),
        role: key.role.to_string(),
        name: key.name.trim().to_owned(),
        expires_at: made.expires_at.map(rfc3339_of),
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// The tenant's keys, without their secrets: the primary admin only.
#[utoipa::path(get, path = "/api/tenant/keys", tag = "tenant", security(("bearer" = [])),
    responses(
        (status = 200, body = KeyList),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn keys(
    State(public): State<Public>,
    Proven(caller): Proven,
) -> Result<Json<KeyList>, Problem> {
    let keys = public.keys.list(&caller).await?;
    let key = |view: KeyView| Key {
        user: format!("key_{}", view.id),
        id: view.id,
        role: view.role,
        name: view.name,
        created_at: view.created_at,
        expires_at: view.expires_at,
    };
    let keys = keys.into_iter().map(key).collect();
    Ok(Json(KeyList { tenant_id: caller.tenant.to_string(), keys }))
}

/// Revokes a key; sessions it opened are cut.
#[utoipa::path(delete, path = "/api/tenant/keys/{id}", tag = "tenant", security(("bearer" = [])),
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn revoke_key(
    State(public): State<Public>,
    Proven(caller): Proven,
    Named(id): Named<String>,
) -> Result<StatusCode, Problem> {
    // PostgreSQL's texts hold no NUL; no key's id is this long.
    if id.len() > 64 || id.contains('\0') {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found"));
    }
    public.keys.revoke(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
