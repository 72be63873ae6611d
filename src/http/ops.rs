//! The operators' door: metrics, health, tenants, the live page. On a listener of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::Encoder as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;

use super::body::{Named, bearer};
use super::public::{missing, panicked, wrong_method};
use super::{Problem, Texting, ops_texting, time};
use crate::auth::Power;
use crate::control::health::{Health, TenantHealth};
use crate::control::provision::DatabaseState;
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::{Directory, Registry, Tenant};

/// Live figures of tenants, from the rooms that hold them.
pub trait Figures: Send + Sync {
    /// One tenant's, if it is active here.
    fn of(&self, tenant: &TenantId) -> Option<Value>;

    /// The limits in force for a tenant: defaults, plan and row together.
    fn limits(&self, tenant: &Tenant) -> Value;

    /// Totals for the live page.
    fn totals(&self) -> Value;

    /// Why this process should get no traffic; empty when it should.
    fn unready(&self) -> Vec<String>;
}

/// Proves operators' tokens.
pub trait OperatorGate: Send + Sync {
    /// Accepts a token that opens the ops API, and tells what its holder may do there.
    ///
    /// # Errors
    /// 28P01 or 28000.
    fn admit_operator(&self, bearer: &str) -> Result<Power, Fault>;
}

/// What the ops API stands on. Cheap to clone.
#[derive(Clone)]
pub struct Ops {
    /// Every room's metrics.
    pub metrics: prometheus::Registry,
    /// Lists tenants.
    pub registry: Registry,
    /// Knows tenants.
    pub directory: Arc<Directory>,
    /// Whether servers answer.
    pub health: Health,
    /// Live figures.
    pub figures: Arc<dyn Figures>,
    /// Off loopback, all but metrics and health take an operator's token.
    pub gate: Arc<dyn OperatorGate>,
    /// Phone numbers and dead letters.
    pub texting: Option<Texting>,
}

/// How long readiness may take to be found.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
const PAGE_MAX: u32 = 1000;

impl Ops {
    /// The router, for [`super::serve`].
    pub fn router(self) -> Router {
        let guarded = Router::new()
            .route("/", get(live))
            .route("/tenants", get(tenants))
            .route("/tenants/{id}", get(tenant))
            .merge(ops_texting::routes())
            .layer(middleware::from_fn_with_state(Arc::clone(&self.gate), guard));
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .merge(guarded)
            .fallback(missing)
            .method_not_allowed_fallback(wrong_method)
            .layer(CatchPanicLayer::custom(panicked))
            .with_state(self)
    }
}

impl std::fmt::Debug for Ops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ops")
    }
}

async fn guard(
    State(gate): State<Arc<dyn OperatorGate>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) {
        if !ops_texting::is_named(request.headers()) {
            return next.run(request).await;
        }
        // A page that leads a name of its own to loopback would read everything.
        let title = "On loopback this is asked for by address or as localhost, not by a name";
        return Problem::new(StatusCode::FORBIDDEN, "not-a-browser", title).into_response();
    }
    let (parts, body) = request.into_parts();
    let admitted = match bearer(&parts) {
        Some(token) => gate.admit_operator(token).map_err(Problem::from),
        None => Err(Problem::unauthorized("Off loopback this takes an operator's token.")),
    };
    let looks = matches!(parts.method, Method::GET | Method::HEAD);
    match admitted {
        Ok(Power::Stats) if !looks => {
            let title = "Changes take an operator's token issued with \"--operator admin\"";
            Problem::new(StatusCode::FORBIDDEN, "forbidden", title).into_response()
        }
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

async fn metrics(State(ops): State<Ops>) -> Result<Response, Problem> {
    let encoder = prometheus::TextEncoder::new();
    let mut text = Vec::new();
    encoder.encode(&ops.metrics.gather(), &mut text).map_err(|error| {
        tracing::error!(error = error.to_string(), "metrics could not be written");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "pgusher failed")
    })?;
    Ok(([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response())
}

/// Ready while known tenants can be served: a registry that is away does not make it unready, and
/// is told all the same.
async fn ready(State(ops): State<Ops>) -> Response {
    let unready = ops.figures.unready();
    let pinged = tokio::time::timeout(READY_TIMEOUT, ops.registry.ping()).await;
    let registry = if matches!(pinged, Ok(Ok(()))) { "up" } else { "away" };
    let status = if unready.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": unready.is_empty(), "registry": registry, "reasons": unready });
    (status, Json(body)).into_response()
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: String,
    limit: Option<u32>,
}

async fn tenants(
    State(ops): State<Ops>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(page) = page.map_err(|_| {
        let title = "The query takes after (a tenant's id) and limit (a number)";
        Problem::new(StatusCode::BAD_REQUEST, "query", title)
    })?;
    if page.after.contains('\0') {
        return Ok(Json(json!({ "tenants": [], "next": null })));
    }
    let limit = page.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let found = ops.registry.tenants(&page.after, limit).await?;
    let views: Vec<_> = found.tenants.iter().map(|row| view(row, &ops)).collect();
    Ok(Json(json!({ "tenants": views, "next": found.next, "totals": ops.figures.totals() })))
}

async fn tenant(State(ops): State<Ops>, Named(id): Named<String>) -> Result<Json<Value>, Problem> {
    let id = TenantId::parse(&id)
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "not-found", "No such tenant"))?;
    let tenant = ops.directory.tenant(&id).await?;
    let mut shown = view(&tenant, &ops);
    shown["health"] = health(&ops.health.of(&tenant).await);
    Ok(Json(shown))
}

fn health(health: &TenantHealth) -> Value {
    let database = health.database.map(|state| match state {
        DatabaseState::Open => "open",
        DatabaseState::Closed => "closed",
        DatabaseState::Missing => "missing",
    });
    json!({
        "serverUp": health.server_up,
        "checkedAt": health.checked_at.map(time::rfc3339_of),
        "database": database,
    })
}

fn view(tenant: &Tenant, ops: &Ops) -> Value {
    json!({
        "tenantId": tenant.id.as_str(),
        "name": tenant.name,
        "status": tenant.status.as_str(),
        "server": &*tenant.server,
        "databaseName": tenant.database,
        "subscriptionPlan": tenant.plan,
        "subscriptionStatus": tenant.subscription,
        "trialEndsAt": tenant.trial_ends_at.map(time::rfc3339),
        "schemaVersion": tenant.schema_version,
        "adopted": tenant.adopted,
        "limits": {
            "serverMax": tenant.limits.server_max,
            "serverMin": tenant.limits.server_min,
            "weight": tenant.limits.weight,
            "clientMax": tenant.limits.client_max,
            "queueMax": tenant.limits.queue_max,
            "queueTimeoutMs": millis(tenant.limits.queue_timeout),
            "queryTimeoutMs": millis(tenant.limits.query_timeout),
            "transactionTimeoutMs": millis(tenant.limits.transaction_timeout),
            "idleInTransactionTimeoutMs": millis(tenant.limits.idle_in_transaction_timeout),
            "clientIdleTimeoutMs": millis(tenant.limits.client_idle_timeout),
        },
        "effectiveLimits": ops.figures.limits(tenant),
        "live": ops.figures.of(&tenant.id),
    })
}

fn millis(span: Option<std::time::Duration>) -> Option<u64> {
    span.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}

async fn live() -> Html<&'static str> {
    Html(include_str!("live.html"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::fault::{Blame, SqlState};

    struct ByName;

    impl OperatorGate for ByName {
        fn admit_operator(&self, bearer: &str) -> Result<Power, Fault> {
            let stranger = Fault::new(Blame::Client, SqlState::INVALID_PASSWORD, "no");
            Power::parse(bearer).ok_or(stranger)
        }
    }

    #[tokio::test]
    async fn off_loopback_stats_looks_and_admin_acts() {
        let gate: Arc<dyn OperatorGate> = Arc::new(ByName);
        let router = Router::new()
            .route("/", get(async || "").put(async || ""))
            .layer(middleware::from_fn_with_state(gate, guard));
        let service = TowerToHyperService::new(router);
        for (from, bearer, method, expected) in [
            ("192.0.2.1:1", None, Method::GET, 401),
            ("192.0.2.1:1", Some("somebody"), Method::GET, 401),
            ("192.0.2.1:1", Some("stats"), Method::GET, 200),
            ("192.0.2.1:1", Some("stats"), Method::PUT, 403),
            ("192.0.2.1:1", Some("admin"), Method::PUT, 200),
            ("127.0.0.1:1", None, Method::PUT, 200),
        ] {
            let from: SocketAddr = from.parse().expect("an address");
            let mut request = Request::builder().method(&method).uri("/");
            if let Some(bearer) = bearer {
                request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
            }
            let mut request = request.body(Body::empty()).expect("a request");
            request.extensions_mut().insert(ConnectInfo(from));
            let response = service.call(request).await.expect("infallible");
            assert_eq!(response.status(), expected, "{from} {bearer:?} {method}");
        }
    }
}
