//! The HTTP API from outside: answers without a wrapper, problems for everything else.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use std::net::SocketAddr;
use std::sync::Arc;

use cluster::office::{FakeMint, Office};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use pgusher::auth::Power;
use pgusher::control::fleet::Fleet;
use pgusher::control::keys::Keys;
use pgusher::fault::Fault;
use pgusher::http::{Figures, HttpSettings, OperatorGate, Ops, Public, RateSettings};
use pgusher::ident::TenantId;
use pgusher::tenant::Tenant;
use pgusher::units::Size;
use serde_json::{Value, json};

struct Answer {
    status: StatusCode,
    kind: String,
    headers: hyper::HeaderMap,
    body: Value,
    text: String,
}

struct Api {
    office: Office,
    address: SocketAddr,
    ops: SocketAddr,
}

struct NoFigures;

impl Figures for NoFigures {
    fn of(&self, _tenant: &TenantId) -> Option<Value> {
        None
    }
    fn limits(&self, _tenant: &Tenant) -> Value {
        Value::Null
    }
    fn totals(&self) -> Value {
        json!({ "clients": 0 })
    }
    fn unready(&self) -> Vec<String> {
        Vec::new()
    }
}

impl OperatorGate for NoFigures {
    fn admit_operator(&self, _bearer: &str) -> Result<Power, Fault> {
        Ok(Power::Admin)
    }
}

async fn serve(router: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

async fn api(rate: RateSettings) -> Api {
    let office = Office::open().await;
    let settings = HttpSettings { body_max: Size::kib(4), rate, ..HttpSettings::default() };
    let public = Public::new(
        &settings,
        office.registration.clone(),
        office.login.clone(),
        Keys::new(office.registry.clone()),
        Arc::new(FakeMint),
    );
    let ops = Ops {
        metrics: prometheus::Registry::new(),
        registry: office.registry.clone(),
        directory: office.directory.clone(),
        health: office.health.clone(),
        figures: Arc::new(NoFigures),
        gate: Arc::new(NoFigures),
        texting: None,
    };
    let (address, ops) = (serve(public.router()).await, serve(ops.router()).await);
    Api { office, address, ops }
}

fn unlimited() -> RateSettings {
    RateSettings { enabled: false, ..RateSettings::default() }
}

async fn send(
    to: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Answer {
    let mut request = hyper::Request::builder().method(method).uri(format!("http://{to}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client: Client<_, Full<axum::body::Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let kind = parts.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    Answer {
        status: parts.status,
        kind: kind.to_owned(),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(&bytes).into_owned(),
        headers: parts.headers,
    }
}

impl Api {
    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body).await
    }

    async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        send(self.address, Method::POST, path, &all, body.to_string()).await
    }

    async fn with(&self, method: Method, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        send(self.address, method, path, &[("authorization", &bearer)], String::new()).await
    }
}

fn problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.kind, "application/problem+json");
    assert_eq!(answer.body["type"], format!("urn:pgusher:{kind}"));
    assert_eq!(answer.body["status"], status);
    assert!(answer.body["title"].is_string());
}

fn ada() -> Value {
    json!({ "email": "ada@example.org", "password": "correct horse", "firstName": "Ada",
            "lastName": "Lovelace", "churchName": "St. Example" })
}

#[tokio::test]
async fn an_admin_registers_and_manages_keys_over_http() {
    let api = api(unlimited()).await;
    let made = api.post_with("/api/auth/register", &[("idempotency-key", "k1")], &ada()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let tenant = made.body["tenantId"].as_str().unwrap();
    assert_eq!(tenant.len(), 24);
    assert_eq!(made.body["admin"]["role"], "PRIMARY");
    assert_eq!(made.body["church"]["subscriptionStatus"], "trial");
    assert!(made.body["church"]["trialEndsAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&made.body["tokenType"], &made.body["expiresIn"]), (&json!("Bearer"), &json!(900)));
    assert!(made.body.get("success").is_none());
    let again = api.post_with("/api/auth/register", &[("idempotency-key", "k1")], &ada()).await;
    assert_eq!(
        (again.status, again.body["tenantId"].as_str()),
        (StatusCode::CREATED, Some(tenant))
    );
    let client = api.office.registry.client().await.unwrap();
    let aged = "UPDATE pgusher.registrations SET changed_at = now() - interval '61 minutes'";
    client.batch_execute(aged).await.unwrap();
    drop(client);
    let late = api.post_with("/api/auth/register", &[("idempotency-key", "k1")], &ada()).await;
    assert_eq!((late.status, late.body["tenantId"].as_str()), (StatusCode::OK, Some(tenant)));
    assert!(late.body.get("accessToken").is_none() && late.body.get("refreshToken").is_none());

    let login = json!({ "email": "ada@example.org", "password": "correct horse" });
    let wanted = api.post("/api/auth/login", &login).await;
    assert_eq!((wanted.status, wanted.body["tenantId"].as_str()), (StatusCode::OK, Some(tenant)));
    let token = wanted.body["accessToken"].as_str().unwrap();
    let shown = api.with(Method::GET, "/api/tenant", token).await;
    assert_eq!(shown.body["tenantId"].as_str(), Some(tenant));
    assert_eq!(shown.body["trialEndsAt"], made.body["church"]["trialEndsAt"]);

    let bearer = format!("Bearer {token}");
    let auth: &[(&str, &str)] = &[("authorization", &bearer)];
    let body = json!({ "name": "ci", "role": "readonly", "expiresIn": 3600 });
    let key = api.post_with("/api/tenant/keys", auth, &body).await;
    assert_eq!(key.status, StatusCode::CREATED, "{}", key.text);
    let id = key.body["id"].as_str().unwrap();
    assert_eq!(key.body["user"], format!("key_{id}"));
    let row = api.office.directory.api_key(id).await.unwrap().unwrap();
    assert!(row.verifier.starts_with("SCRAM-SHA-256$4096:") && !row.revoked);
    let listed = api.with(Method::GET, "/api/tenant/keys", token).await;
    assert_eq!(listed.body["keys"].as_array().unwrap().len(), 1);
    assert!(!listed.text.contains("secret") && !listed.text.contains("SCRAM"));
    // Another tenant's admin, and one who is not primary.
    let other = api.with(Method::DELETE, &format!("/api/tenant/keys/{id}"), "other/x/owner").await;
    problem(&other, 404, "not-found");
    let app = format!("{tenant}/x/app");
    problem(&api.with(Method::GET, "/api/tenant/keys", &app).await, 403, "forbidden");
    let gone = api.with(Method::DELETE, &format!("/api/tenant/keys/{id}"), token).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);

    let refresh = json!({ "refreshToken": wanted.body["refreshToken"] });
    let next = api.post("/api/auth/refresh", &refresh).await;
    assert_eq!((next.status, next.body["tenantId"].as_str()), (StatusCode::OK, Some(tenant)));
    problem(&api.post("/api/auth/refresh", &refresh).await, 401, "credentials");
    let end = json!({ "refreshToken": next.body["refreshToken"] });
    assert_eq!(api.post_with("/api/auth/logout", auth, &end).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.office.count("SELECT count(*) FROM pgusher.revocations").await, 1);
    let document = api.with(Method::GET, "/openapi.json", "").await;
    assert!(document.body["paths"]["/api/auth/register"]["post"].is_object());
    assert!(api.with(Method::GET, "/.well-known/jwks.json", "").await.body["keys"].is_array());

    let ops = |path: &'static str| send(api.ops, Method::GET, path, &[], String::new());
    assert_eq!(ops("/healthz").await.status, StatusCode::OK);
    assert_eq!(ops("/readyz").await.body["registry"], "up");
    assert_eq!(ops("/tenants").await.body["tenants"][0]["tenantId"].as_str(), Some(tenant));
    assert!(ops("/").await.text.contains("<title>pgusher</title>"));
    assert_eq!(ops("/metrics").await.status, StatusCode::OK);
    problem(&ops("/tenants/none").await, 404, "not-found");
    // As a page would ask that leads its own name to loopback.
    for (path, status) in [("/tenants", 403), ("/", 403), ("/metrics", 200), ("/healthz", 200)] {
        let named: &[(&str, &str)] = &[("host", "rebound.example.org:9432")];
        let answer = send(api.ops, Method::GET, path, named, String::new()).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
    problem(&ops("/tenants?limit=x").await, 400, "query");
}

#[tokio::test]
async fn a_refresh_token_outlives_what_its_tenant_is_not_served_for() {
    let api = api(unlimited()).await;
    let made = api.post("/api/auth/register", &ada()).await;
    let body = json!({ "refreshToken": made.body["refreshToken"] });
    let tenant = TenantId::parse(made.body["tenantId"].as_str().unwrap()).unwrap();
    let fleet = Fleet::new(api.office.registry.clone());
    let refused = async || problem(&api.post("/api/auth/refresh", &body).await, 403, "not-served");
    api.office.directory.tenant(&tenant).await.unwrap();
    fleet.suspend(&tenant, "unpaid").await.unwrap();
    refused().await;
    // Now the directory hears of it, and not of its end.
    api.office.directory.forget(&tenant);
    refused().await;
    fleet.resume(&tenant).await.unwrap();
    refused().await;
    api.office.directory.forget(&tenant);
    assert_eq!(api.post("/api/auth/refresh", &body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_tenant_has_a_hundred_keys_and_those_of_a_month_ago_are_forgotten() {
    let api = api(unlimited()).await;
    let token = "ada/x/owner";
    let auth: &[(&str, &str)] = &[("authorization", "Bearer ada/x/owner")];
    let body = json!({ "name": "ci", "expiresIn": 3600 });
    let key = api.post_with("/api/tenant/keys", auth, &body).await;
    assert_eq!(key.status, StatusCode::CREATED, "{}", key.text);
    let id = key.body["id"].as_str().unwrap();
    // What has ended does not count.
    let client = api.office.registry.client().await.unwrap();
    let copied = "INSERT INTO pgusher.api_keys
                      (id, tenant_id, role, name, verifier, created_by, expires_at)
                  SELECT 'copy' || n, tenant_id, role, name, verifier, created_by,
                      now() + CASE n WHEN 1 THEN -interval '1 second' ELSE '1 day' END
                  FROM pgusher.api_keys, generate_series(1, 100) n WHERE id = $1";
    client.execute(copied, &[&id]).await.unwrap();
    problem(&api.post_with("/api/tenant/keys", auth, &body).await, 409, "too-many-keys");
    let gone = api.with(Method::DELETE, &format!("/api/tenant/keys/{id}"), token).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(api.post_with("/api/tenant/keys", auth, &body).await.status, StatusCode::CREATED);
    problem(&api.post_with("/api/tenant/keys", auth, &body).await, 409, "too-many-keys");
    // Nobody asks for them a month later.
    let aged = "UPDATE pgusher.api_keys SET expires_at = expires_at - interval '30 days',
                    revoked_at = revoked_at - interval '29 days' WHERE id IN ('copy1', $1)";
    client.execute(aged, &[&id]).await.unwrap();
    api.office.janitor.pass().await.unwrap();
    let left = api.office.count("SELECT count(*) FROM pgusher.api_keys").await;
    assert_eq!(left, 100 + 1, "the revoked one is kept for a day more");
    let aged = "UPDATE pgusher.api_keys SET revoked_at = revoked_at - interval '1 day'";
    client.execute(aged, &[]).await.unwrap();
    api.office.janitor.pass().await.unwrap();
    assert_eq!(api.office.count("SELECT count(*) FROM pgusher.api_keys").await, 100);
}

#[tokio::test]
async fn every_refusal_is_a_problem_body() {
    let api = api(unlimited()).await;
    let register = "/api/auth/register";
    let json_type: &[(&str, &str)] = &[("content-type", "application/json")];
    let raw = |headers, body: &str| send(api.address, Method::POST, register, headers, body.into());
    problem(&api.with(Method::GET, "/nowhere", "").await, 404, "not-found");
    problem(&api.with(Method::GET, register, "").await, 405, "method");
    problem(&raw(&[("content-type", "text/plain")], "{}").await, 415, "media-type");
    problem(&raw(json_type, "{").await, 400, "json");
    problem(&raw(json_type, "[]").await, 400, "json");
    problem(&raw(json_type, &format!("\"{}\"", "x".repeat(5000))).await, 413, "too-large");
    let none = raw(json_type, "{}").await;
    problem(&none, 422, "invalid-fields");
    let fields: Vec<_> = none.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["email", "password", "firstName", "lastName", "churchName"]);
    let mut wrong = ada();
    wrong["firstName"] = json!(7);
    let wrong = api.post(register, &wrong).await;
    problem(&wrong, 422, "invalid-fields");
    assert_eq!(wrong.body["errors"][0]["field"], "firstName");
    assert_eq!(api.post(register, &ada()).await.status, StatusCode::CREATED);
    problem(&api.post(register, &ada()).await, 409, "email-taken");
    let key: &[(&str, &str)] = &[("idempotency-key", "k")];
    let mut bob = ada();
    bob["email"] = json!("bob@example.org");
    assert_eq!(api.post_with(register, key, &bob).await.status, StatusCode::CREATED);
    bob["password"] = json!("another one");
    problem(&api.post_with(register, key, &bob).await, 422, "idempotency-key-reused");
    let login = json!({ "email": "ada@example.org", "password": "wrong" });
    problem(&api.post("/api/auth/login", &login).await, 401, "credentials");
    let none = api.with(Method::GET, "/api/tenant", "").await;
    problem(&none, 401, "unauthorized");
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    problem(&api.with(Method::GET, "/api/tenant", "garbage").await, 401, "unauthorized");
    problem(&api.with(Method::GET, "/api/tenant", "nobody/x/owner").await, 404, "not-found");
    // What is no text names nothing.
    for path in ["GET registrations/%FF", "DELETE tenant/keys/%FF"] {
        let (method, path) = path.split_once(' ').unwrap();
        let answer = api.with(method.parse().unwrap(), &format!("/api/{path}"), "a/x/owner").await;
        problem(&answer, 404, "not-found");
    }
    for path in ["/tenants/%FF", "/tenants/%FF/phone-numbers", "/tenants/%FF/dead-letters"] {
        problem(&send(api.ops, Method::GET, path, &[], String::new()).await, 404, "not-found");
    }
    api.office.cluster.down();
    bob["email"] = json!("carol@example.org");
    let away = api.post(register, &bob).await;
    problem(&away, 503, "unavailable");
    assert!(away.headers.contains_key("retry-after"));
    assert!(!away.text.contains("127.0.0.1"), "{}", away.text);
    api.office.cluster.up();
    assert_eq!(api.post(register, &bob).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits() {
    let rate = RateSettings { login_per_minute: 2, ..RateSettings::default() };
    let api = api(rate).await;
    let body = json!({ "refreshToken": "x" });
    for _ in 0..2 {
        problem(&api.post("/api/auth/refresh", &body).await, 401, "credentials");
    }
    let limited = api.post("/api/auth/refresh", &body).await;
    problem(&limited, 429, "rate-limit");
    assert!(limited.headers.contains_key("retry-after"));
    assert_eq!(api.with(Method::GET, "/openapi.json", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_addresss_failures_refuse_no_valid_token() {
    let all_per_minute = 12;
    let rate = RateSettings { login_per_minute: 2, all_per_minute, ..RateSettings::default() };
    let api = api(rate).await;
    let made = api.post("/api/auth/register", &ada()).await;
    let field = |name: &str| made.body[name].as_str().unwrap().to_owned();
    let (token, refresh) = (field("accessToken"), json!({ "refreshToken": field("refreshToken") }));
    let wrong = json!({ "email": "ada@example.org", "password": "wrong" });
    for _ in 0..2 {
        problem(&api.post("/api/auth/login", &wrong).await, 401, "credentials");
    }
    problem(&api.post("/api/auth/login", &wrong).await, 429, "rate-limit");
    assert_eq!(api.with(Method::GET, "/api/auth/mfa", &token).await.status, StatusCode::OK);
    // The address is used up altogether; a forged token is refused like none.
    while api.with(Method::GET, "/api/tenant", "forged").await.status != 429 {}
    problem(&api.post("/api/auth/logout", &refresh).await, 429, "rate-limit");

    let bearer = format!("Bearer {token}");
    let known = [("authorization", bearer.as_str())];
    let ours = [(Method::GET, "/api/tenant", 200), (Method::DELETE, "/api/auth/sessions", 204)];
    for (method, path, status) in ours {
        assert_eq!(api.with(method, path, &token).await.status, status, "{path}");
    }
    let out = api.post_with("/api/auth/logout", &known, &refresh).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{}", out.text);
    // It buys no tries at the secrets of others.
    problem(&api.post_with("/api/auth/login", &known, &wrong).await, 429, "rate-limit");

    // Whoever floods with a token of his own is counted alone.
    let flood = async || api.with(Method::GET, "/api/auth/mfa", &token).await.status;
    let (mut last, mut passed) = (flood().await, 0);
    while last == StatusCode::OK {
        (last, passed) = (flood().await, passed + 1);
    }
    assert!(last == 429 && passed <= all_per_minute, "{last} after {passed}");
    let other = format!("{}/another/owner", made.body["tenantId"].as_str().unwrap());
    assert_eq!(api.with(Method::GET, "/api/tenant", &other).await.status, StatusCode::OK);
}
