//! A registration that is answered before it is done, followed by its events, and placed where
//! there is a server for it.
#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use std::net::SocketAddr;
use std::sync::Arc;

use cluster::office::{FakeMint, Office, Wish, organisation};
use cluster::{Cluster, until};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use pgusher::control::Refused;
use pgusher::control::keys::Keys;
use pgusher::control::registration::Step;
use pgusher::http::{ConnectionSettings, HttpSettings, Public, RateSettings};
use serde_json::{Value, json};

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    body: Value,
}

struct Api {
    office: Office,
    address: SocketAddr,
}

async fn api(wish: Wish, change: impl FnOnce(&mut HttpSettings)) -> Api {
    let office = Office::over(Cluster::start(), wish).await;
    office.presence.beat().await.unwrap();
    over(office, change).await
}

async fn over(office: Office, change: impl FnOnce(&mut HttpSettings)) -> Api {
    let mut settings = HttpSettings {
        rate: RateSettings { enabled: false, ..RateSettings::default() },
        connection: ConnectionSettings {
            host: "db.example".into(),
            port: 6432,
            ..Default::default()
        },
        ..HttpSettings::default()
    };
    change(&mut settings);
    let (registration, login) = (office.registration.clone(), office.login.clone());
    let keys = Keys::new(office.registry.clone());
    let public = Public::new(&settings, registration, login, keys, Arc::new(FakeMint));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = public.router().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Api { office, address }
}

impl Api {
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let uri = format!("http://{}{path}", self.address);
        let mut request = hyper::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    async fn ask(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], String::new()).await
    }

    async fn begin(&self, email: &str, more: &[(&str, &str)]) -> Answer {
        let mut headers = vec![("content-type", "application/json"), ("prefer", "respond-async")];
        headers.extend(more);
        let body = json!({ "email": email, "password": "correct horse", "firstName": "Ada",
            "lastName": "Lovelace", "churchName": "St. Example" });
        self.send(Method::POST, "/api/auth/register", &headers, body.to_string()).await
    }
}

/// Name and percentage of every event of a stream that ended.
fn steps(stream: &str) -> Vec<(String, u64)> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let told = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
    told.map(|told| (told["step"].as_str().unwrap().to_owned(), told["percent"].as_u64().unwrap()))
        .collect()
}

fn names(stream: &str) -> Vec<String> {
    steps(stream).into_iter().map(|(name, _)| name).collect()
}

fn problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["type"], format!("urn:pgusher:{kind}"));
}

#[tokio::test]
async fn it_is_followed_to_its_end_and_its_secrets_are_handed_out_once() {
    let api = api(Wish::default(), |_| {}).await;
    let begun = api.begin("ada@example.org", &[]).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let place = begun.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(begun.headers["preference-applied"], "respond-async");
    let id = begun.body["registrationId"].as_str().unwrap();
    assert_eq!((place.as_str(), id.len()), (format!("/api/registrations/{id}").as_str(), 22));
    assert!(begun.body.get("session").is_none() && !begun.text.contains("tenantId"));
    // One event per step, to the end; and a clone is told of.
    let events = api.ask(&format!("{place}/events")).await;
    assert_eq!(events.headers["content-type"], "text/event-stream");
    assert_eq!(names(&events.text), ["claimed", "cloned", "written", "done"]);
    assert!(steps(&events.text).windows(2).all(|pair| pair[0].1 < pair[1].1), "{}", events.text);
    assert!(events.text.contains("No database was ready ahead of time"));
    // Whoever comes back hears the rest, and then that there is none.
    let since = [("last-event-id", "3")];
    let rest = api.send(Method::GET, &format!("{place}/events"), &since, String::new()).await;
    assert_eq!(names(&rest.text), ["done"]);
    let since = [("last-event-id", "4")];
    let none = api.send(Method::GET, &format!("{place}/events"), &since, String::new()).await;
    assert_eq!(none.status, 204);
    // A HEAD takes nothing; of two who ask at once one gets it, and after that nobody.
    assert_eq!(api.send(Method::HEAD, &place, &[], String::new()).await.status, 200);
    let (a, b) = tokio::join!(api.ask(&place), api.ask(&place));
    let handed: Vec<_> =
        [&a, &b].into_iter().filter(|one| !one.body["session"].is_null()).collect();
    assert_eq!(handed.len(), 1, "{} {}", a.text, b.text);
    let (tenant, session) = (&handed[0].body["tenantId"], &handed[0].body["session"]);
    let token = session["accessToken"].as_str().unwrap();
    let url =
        format!("postgresql://app:{token}@db.example:6432/tenant_{}", tenant.as_str().unwrap());
    assert_eq!(session["connectionString"], url);
    assert_eq!(
        (&session["admin"]["email"], &session["expiresIn"]),
        (&json!("ada@example.org"), &json!(900))
    );
    assert!(session["church"]["trialEndsAt"].as_str().unwrap().ends_with('Z'));
    let later = api.ask(&place).await;
    assert_eq!((&later.body["status"], &later.body["session"]), (&json!("done"), &Value::Null));
    let refresh = session["refreshToken"].as_str().unwrap().into();
    assert_eq!(
        api.office.login.refresh(&refresh).await.unwrap().0.as_str(),
        tenant.as_str().unwrap()
    );
    // The registry keeps nothing of it.
    let kept =
        "SELECT count(*) FROM pgusher.registrations WHERE sealed IS NOT NULL OR email IS NOT NULL";
    assert_eq!(api.office.count(kept).await, 0);
    for unknown in [
        "/api/registrations/x",
        "/api/registrations/x/events",
        "/api/registrations/aaaaaaaaaaaaaaaaaaaaaa",
        "/api/registrations/%00aaaaaaaaaaaaaaaaaaaaa",
    ] {
        problem(&api.ask(unknown).await, 404, "not-found");
    }
}

#[tokio::test]
async fn a_warm_one_has_no_clone_and_refusals_come_at_once() {
    let api = api(Wish { warm: 1, ..Wish::default() }, |_| {}).await;
    assert_eq!(api.office.warm.fill().await.unwrap(), 1);
    let key = [("idempotency-key", "k")];
    let begun = api.begin("ada@example.org", &key).await;
    let place = begun.headers["location"].to_str().unwrap().to_owned();
    let events = api.ask(&format!("{place}/events")).await;
    assert_eq!(names(&events.text), ["claimed", "written", "done"]);
    assert_eq!(
        api.office.count("SELECT count(*) FROM pgusher.registrations WHERE was_warm").await,
        1
    );
    // Repeated with its key and body it is the same, and hands out once more.
    assert!(!api.ask(&place).await.body["session"].is_null());
    assert!(api.ask(&place).await.body["session"].is_null());
    let again = api.begin("ada@example.org", &key).await;
    assert_eq!((again.status, again.headers["location"].to_str().unwrap()), (202, &*place));
    assert!(!api.ask(&place).await.body["session"].is_null());
    let client = api.office.registry.client().await.unwrap();
    let revoked = "INSERT INTO pgusher.revocations (kind, value, tenant_id, expires_at)
        SELECT 'tenant', tenant_id, tenant_id, '9999-12-31' FROM pgusher.registrations";
    client.batch_execute(revoked).await.unwrap();
    api.begin("ada@example.org", &key).await;
    assert!(api.ask(&place).await.body["session"].is_null(), "not after a revocation");
    drop(client);
    problem(&api.begin("ada@example.org", &[]).await, 409, "email-taken");
    problem(&api.begin("bob@example.org", &key).await, 422, "idempotency-key-reused");
    problem(&api.begin("nobody", &[]).await, 422, "invalid-fields");
    assert_eq!(api.office.census().await, (1, 1, 1));
}

#[tokio::test]
async fn a_caller_who_leaves_stops_nothing() {
    let api = api(Wish::default(), |_| {}).await;
    let begun = api.office.registration.begin(organisation("a@example.org"), None).await.unwrap();
    let mut watch = api.office.registration.watch(&begun, 0).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().step, "claimed");
    drop(watch);
    let registration = &api.office.registration;
    until("it is done", || async {
        registration.status(&begun).await.unwrap().progress.reached == Step::Done
    })
    .await;
    assert_eq!(api.office.census().await, (1, 1, 1));
}

const REGIONS: &[(&str, &str, bool)] = &[
    ("east1", "east", false),
    ("east2", "east", true),
    ("north", "north", false),
    ("south", "south", true),
];

#[tokio::test]
async fn tenants_are_placed_where_they_asked_and_where_somebody_answers() {
    let api = api(Wish { servers: REGIONS, ..Wish::default() }, |_| {}).await;
    let registration = &api.office.registration;
    let wish = |email: &str, region: &str| {
        let mut wish = organisation(email);
        wish.region = Some(region.to_owned()).filter(|region| !region.is_empty());
        wish
    };
    let Err(Refused::Invalid(wrong)) =
        registration.register(wish("x@example.org", "west"), None).await
    else {
        panic!("there is no west")
    };
    assert_eq!(
        (wrong[0].field, &*wrong[0].message),
        ("region", "must be one of east, north, south")
    );
    // A server that goes away while it is being used is left for another of the region.
    let made = registration.register(wish("e@example.org", "east"), None).await.unwrap();
    let server = api.office.directory.tenant(&made.tenant).await.unwrap().server.to_string();
    assert_eq!(server, "east2");
    // What was written for the database it did not get there is gone, and its tokens are its own.
    let of_others = format!(
        "SELECT count(*) FROM pgusher.refresh_families WHERE tenant_id <> '{}'",
        made.tenant
    );
    assert_eq!(api.office.count(&of_others).await, 0);
    let refreshed = api.office.login.refresh(&made.tokens.unwrap().refresh).await.unwrap();
    assert_eq!(refreshed.0, made.tenant);
    // In the north nobody answers, and nobody is placed elsewhere instead; the e-mail stays free.
    for _ in 0..2 {
        let refused = registration.register(wish("n@example.org", "north"), None).await;
        assert!(matches!(refused, Err(Refused::Failed(_))), "{refused:?}");
    }
    let made = registration.register(wish("n@example.org", "south"), None).await.unwrap();
    assert_eq!(
        api.office.directory.tenant(&made.tenant).await.unwrap().server.to_string(),
        "south"
    );
    for n in 0..4 {
        let made = registration.register(wish(&format!("any{n}@example.org"), ""), None).await;
        made.unwrap();
    }
    assert_eq!(api.office.census().await, (6, 6, 6));
    let regions = api.ask("/api/regions").await;
    let open: Vec<_> = regions.body["regions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|region| (region["name"].as_str().unwrap(), region["open"].as_bool().unwrap()))
        .collect();
    assert_eq!(open, [("east", true), ("north", false), ("south", true)]);
    // Over HTTP the choices are named.
    let body = json!({ "email": "w@example.org", "password": "correct horse", "firstName": "A",
        "lastName": "B", "churchName": "C", "region": "west" });
    let headers = [("content-type", "application/json")];
    let refused = api.send(Method::POST, "/api/auth/register", &headers, body.to_string()).await;
    problem(&refused, 422, "invalid-fields");
    assert!(refused.text.contains("must be one of east, north, south"), "{}", refused.text);
}

#[tokio::test]
async fn a_full_server_takes_no_more_and_a_tenants_health_is_told() {
    let office = Office::over(Cluster::start(), Wish { tenants_max: 1, ..Wish::default() }).await;
    let made = office.registration.register(organisation("a@example.org"), None).await.unwrap();
    let health = office.health.clone();
    let watching = tokio::spawn(async move { health.run().await });
    until("it is counted", || async { !office.health.has_room(&office.servers["main"]) }).await;
    let refused = office.registration.register(organisation("b@example.org"), None).await;
    assert!(matches!(refused, Err(Refused::Failed(_))), "{refused:?}");
    let tenant = office.directory.tenant(&made.tenant).await.unwrap();
    let state = || async {
        let found = office.health.of(&tenant).await;
        (found.server_up, found.database.map(|state| format!("{state:?}")))
    };
    assert_eq!(state().await, (Some(true), Some("Open".into())));
    let admin = office.cluster.connect("postgres").await;
    let name = made.tenant.database();
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    assert_eq!(state().await, (Some(true), Some("Closed".into())));
    admin.batch_execute(&format!("ALTER DATABASE {name} RENAME TO lost")).await.unwrap();
    assert_eq!(state().await, (Some(true), Some("Missing".into())));
    drop(admin);
    // Nothing is held in the tenant's database for any of this.
    office.cluster.down();
    assert_eq!(state().await, (Some(false), None));
    office.cluster.up();
    until("it answers again", || async { state().await.0 == Some(true) }).await;
    watching.abort();
}

#[tokio::test]
async fn the_page_has_a_policy_and_an_off_switch_and_forwarded_addresses_are_counted() {
    let api = api(Wish::default(), |settings| {
        settings.rate = RateSettings { all_per_minute: 3, ..RateSettings::default() };
        settings.trusted_proxies = vec!["127.0.0.0/8".into()];
    })
    .await;
    let there = &api;
    let from = |address: &'static str| async move {
        let headers = [("x-forwarded-for", address)];
        there.send(Method::GET, "/signup", &headers, String::new()).await
    };
    let page = from("1.1.1.1").await;
    assert_eq!((page.status, page.headers["x-frame-options"].to_str().unwrap()), (200, "DENY"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // Three a minute of each client behind the proxy, whatever it claims itself.
    assert_eq!(from("1.1.1.1").await.status, 200);
    assert_eq!(from("9.9.9.9, 1.1.1.1").await.status, 200);
    problem(&from("1.1.1.1").await, 429, "rate-limit");
    assert_eq!(from("2.2.2.2").await.status, 200);
    let off = over(api.office, |settings| settings.signup = false).await;
    problem(&off.ask("/signup").await, 404, "not-found");
}

#[tokio::test]
async fn a_refill_that_fails_waits_longer_and_leaves_nothing() {
    let office = Office::over(Cluster::start(), Wish { warm: 2, ..Wish::default() }).await;
    office.presence.beat().await.unwrap();
    office.servers["main"].ensure_server().await.unwrap();
    let admin = office.cluster.connect("postgres").await;
    admin.batch_execute("ALTER DATABASE pgusher_template_v3 RENAME TO elsewhere").await.unwrap();
    let warm = office.warm.clone();
    let filling = tokio::spawn(async move { warm.run().await });
    // What failed counts as there until it is swept: no more rows than the target.
    let tried = "SELECT count(*) FROM pgusher.warm_databases WHERE held_by IS NULL";
    until("both were tried", || async { office.count(tried).await == 2 }).await;
    admin.batch_execute("ALTER DATABASE elsewhere RENAME TO pgusher_template_v3").await.unwrap();
    office.janitor.pass().await.unwrap();
    let ready = "SELECT count(*) FROM pgusher.warm_databases WHERE state = 'ready'";
    until("both are made", || async { office.count(ready).await == 2 }).await;
    filling.abort();
    assert_eq!(office.census().await, (0, 2, 2));
    // Those of an older schema are dropped, those of a newer one left to the newer pgusher.
    let change = |version: &str| {
        format!(
            "UPDATE pgusher.warm_databases SET schema_version = '{version}' WHERE tenant_id =
             (SELECT max(tenant_id) FROM pgusher.warm_databases)"
        )
    };
    let client = office.registry.client().await.unwrap();
    client.batch_execute(&change("99.1")).await.unwrap();
    assert_eq!(office.janitor.pass().await.unwrap().dropped, 0);
    client.batch_execute(&change("2.9")).await.unwrap();
    assert_eq!(office.janitor.pass().await.unwrap().dropped, 1);
    assert_eq!(office.census().await, (0, 1, 1));
}
