//! The API's description of itself.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{auth, mfa, numbers, problem, registrations, revoke, stripe, tenant, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(title = "pgusher", description = "Registers tenants and logs their admins in."),
    paths(
        auth::register, auth::login, auth::refresh, auth::logout, auth::jwks,
        registrations::show, registrations::events, registrations::regions,
        mfa::show, mfa::enroll, mfa::confirm, mfa::disable, mfa::recovery_codes,
        revoke::own_sessions, revoke::admins_sessions,
        stripe::webhook,
        tenant::show, tenant::keys, tenant::make_key, tenant::revoke_key,
        numbers::list, numbers::take, numbers::release, webhooks::telnyx,
    ),
    components(schemas(problem::Problem, problem::FieldError, registrations::StepEvent)),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_holds_a_tenants_id() {
        let document = Document::openapi();
        assert!(document.paths.paths.len() >= 15);
        for path in document.paths.paths.keys() {
            assert!(!path.to_lowercase().contains("tenantid"), "{path}");
        }
    }
}
