//! The public door.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use super::body::{Presented, bearer};
use super::connection::Connection;
use super::limits::Limits;
use super::proxies::Proxies;
use super::{HttpSettings, Problem, Texting, auth, mfa, numbers, openapi, registrations};
use super::{revoke, signup, stripe, tenant, webhooks};
use crate::control::Sessions;
use crate::control::keys::Keys;
use crate::control::login::Login;
use crate::control::registration::Registration;
use crate::control::revocations::Revoker;
use crate::control::seams::{Gate, SharedMint};
use crate::control::stripe::StripeHook;
use crate::tenant::Directory;
use crate::units::Span;

/// What the public API stands on. Cheap to clone.
#[derive(Clone)]
pub struct Public {
    pub(super) registration: Registration,
    pub(super) login: Arc<Login>,
    pub(super) sessions: Sessions,
    pub(super) keys: Keys,
    pub(super) revoker: Revoker,
    pub(super) stripe: Option<StripeHook>,
    pub(super) directory: Arc<Directory>,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) mint: SharedMint,
    pub(super) limits: Arc<Limits>,
    pub(super) texting: Option<Texting>,
    pub(super) connection: Arc<Connection>,
    /// Streams of events that may still be opened.
    pub(super) streams: Arc<Semaphore>,
    /// What the sign-up page may do; `None`: there is no such page.
    pub(super) signup: Option<HeaderValue>,
    pub(super) proxies: Arc<Proxies>,
    settings: Arc<HttpSettings>,
    timeout: Span,
    body_max: usize,
}

impl Public {
    /// The public API over its parts.
    pub fn new(
        settings: &HttpSettings,
        registration: Registration,
        login: Arc<Login>,
        keys: Keys,
        gate: Arc<dyn Gate>,
    ) -> Self {
        Self {
            registration,
            sessions: login.sessions.clone(),
            revoker: Revoker::new(login.registry.clone()),
            stripe: None,
            directory: Arc::clone(&login.directory),
            mint: Arc::clone(&login.mint),
            login,
            keys,
            gate,
            limits: Arc::new(Limits::new(&settings.rate)),
            texting: None,
            connection: Arc::new(Connection::new(&settings.connection, None, false)),
            streams: Arc::new(Semaphore::new(settings.streams_max.min(Semaphore::MAX_PERMITS))),
            signup: signup::policy().filter(|_| settings.signup),
            // The configuration was judged before.
            proxies: Arc::new(Proxies::parse(&settings.trusted_proxies).unwrap_or_default()),
            settings: Arc::new(settings.clone()),
            timeout: settings.request_timeout,
            body_max: settings.body_max.get(),
        }
    }

    /// With phone numbers and inbound messages.
    #[must_use]
    pub fn with_texting(self, texting: Texting) -> Self {
        Self { texting: Some(texting), ..self }
    }

    /// Hands out connection strings to this listener, where the settings name no other place.
    #[must_use]
    pub fn reached_at(mut self, listener: Option<SocketAddr>, has_tls: bool) -> Self {
        let connection = Connection::new(&self.settings.connection, listener, has_tls);
        self.connection = Arc::new(connection);
        self
    }

    /// The same, with a door for Stripe's webhooks.
    #[must_use]
    pub fn with_stripe(mut self, hook: Option<StripeHook>) -> Self {
        self.stripe = hook;
        self
    }

    /// The router, for [`super::serve`]: the limits count by address.
    pub fn router(self) -> Router {
        let body_max = self.body_max;
        Router::new()
            .route("/api/auth/register", post(auth::register))
            .route("/api/auth/login", post(auth::login))
            .route("/api/auth/refresh", post(auth::refresh))
            .route("/api/auth/logout", post(auth::logout))
            .route("/api/auth/sessions", delete(revoke::own_sessions))
            .route("/api/auth/mfa", get(mfa::show))
            .route("/api/auth/mfa/enroll", post(mfa::enroll))
            .route("/api/auth/mfa/confirm", post(mfa::confirm))
            .route("/api/auth/mfa/disable", post(mfa::disable))
            .route("/api/auth/mfa/recovery-codes", post(mfa::recovery_codes))
            .route("/api/registrations/{id}", get(registrations::show))
            .route("/api/registrations/{id}/events", get(registrations::events))
            .route("/api/regions", get(registrations::regions))
            .route("/signup", get(signup::page))
            .route("/api/tenant", get(tenant::show))
            .route("/api/tenant/admins/{id}/sessions", delete(revoke::admins_sessions))
            .route("/api/tenant/keys", get(tenant::keys).post(tenant::make_key))
            .route("/api/tenant/keys/{id}", delete(tenant::revoke_key))
            .route("/api/tenant/phone-numbers", get(numbers::list))
            .route("/api/tenant/phone-numbers/{e164}", put(numbers::take).delete(numbers::release))
            .route("/webhooks/telnyx", post(webhooks::telnyx))
            .route(
                "/webhooks/stripe",
                post(stripe::webhook).layer(DefaultBodyLimit::max(stripe::BODY_BYTES_MAX)),
            )
            .route("/.well-known/jwks.json", get(auth::jwks))
            .route("/openapi.json", get(openapi::document))
            .fallback(missing)
            .method_not_allowed_fallback(wrong_method)
            .layer(DefaultBodyLimit::max(body_max))
            .layer(middleware::from_fn_with_state(self.clone(), around))
            .layer(CatchPanicLayer::custom(panicked))
            .with_state(self)
    }
}

impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Public")
    }
}

/// The client's address, where the listener has one.
fn address(parts: &Parts, proxies: &Proxies) -> Option<IpAddr> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(proxies.client(peer.0.ip(), &parts.headers))
}

/// Limits, the deadline, and headers every answer has.
async fn around(State(public): State<Public>, request: Request, next: Next) -> Response {
    let answer = async {
        match counted(&public, request).await {
            Ok(request) => next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    };
    let in_time = tokio::time::timeout(public.timeout.get(), answer).await;
    let mut response = in_time.unwrap_or_else(|_| {
        let title = "The request took too long";
        let late = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", title);
        late.retry_after(2).into_response()
    });
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Counts a request and proves its token, which is cheap and comes first: what others behind the
/// same address did never refuses a valid one.
async fn counted(public: &Public, request: Request) -> Result<Request, Problem> {
    // A provider sends as much as there is from a few addresses; whoever cannot sign is counted
    // where the signature is judged.
    if request.uri().path().starts_with("/webhooks/") {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let admitted = match bearer(&parts) {
        Some(token) => Some(public.gate.admit(token).await),
        None => None,
    };
    let (limits, from) = (&public.limits, address(&parts, &public.proxies));
    let is_proven = matches!(admitted, Some(Ok(_)));
    match &admitted {
        Some(Ok(caller)) => limits.all.count_admin(caller)?,
        _ => limits.all.count(from)?,
    }
    match parts.uri.path() {
        "/api/auth/register" => limits.register.count(from)?,
        // A token of one's own buys no tries at the secrets of others.
        "/api/auth/login" | "/api/auth/refresh" => limits.login.count(from)?,
        "/api/auth/logout" if !is_proven => limits.login.count(from)?,
        _ => {}
    }
    parts.extensions.insert(Presented::new(admitted));
    Ok(Request::from_parts(parts, body))
}

pub(super) async fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "No such page")
}

pub(super) async fn wrong_method() -> Problem {
    let title = "This page has no such method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", title)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape the layer asks for")]
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "pgusher failed").into_response()
}
