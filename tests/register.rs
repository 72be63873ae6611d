//! Registration and login over HTTP: what they answer, and that nothing half-made is left.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use world::http::{self, Answer};
use world::wire::Login;
use world::{World, code, eventually, report};

const PASSWORD: &str = "correct horse battery staple";

fn email() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("admin{}@register.example", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn body(email: &str) -> Value {
    json!({
        "email": email, "password": PASSWORD,
        "firstName": "Ada", "lastName": "Lovelace", "churchName": "St. Ada's",
    })
}

fn register(body: &Value, headers: &[(&str, &str)]) -> Answer {
    http::call(World::shared().http, "POST", "/api/auth/register", headers, &body.to_string())
}

fn log_in(email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password}).to_string();
    http::call(World::shared().http, "POST", "/api/auth/login", &[], &body)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

fn assert_opens(token: &str, tenant: &str) {
    let world = World::shared();
    let login = Login::new("app", token, "app");
    let mut session = world.login(&login).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(session.one("select current_database()"), Ok(format!("tenant_{tenant}")));
}

/// What exists per tenant, and what only looks as if: tenants without a database, and the other
/// way round, by the registry and by PostgreSQL.
fn assert_nothing_half_made() {
    let world = World::shared();
    let mut registry = world.superuser(&world.registry_database());
    let mut list = |sql: &str| -> BTreeSet<String> {
        let rows = registry.query(sql).unwrap();
        rows.into_iter().filter_map(|mut row| row.remove(0)).collect()
    };
    eventually(Duration::from_secs(30), "every tenant is whole", || {
        let tenants = list("select \"databaseName\" from \"Tenant\"");
        let databases = list("select datname from pg_database where datname like 'tenant\\_%'");
        let active = list("select \"databaseName\" from \"Tenant\" where status = 'active'");
        let orphans = list(
            "select c.id from \"Church\" c left join \"Tenant\" t on t.\"churchId\" = c.id \
             where t.id is null",
        );
        let indexed = list(
            "select t.\"databaseName\" from \"AdminEmailIndex\" i \
             join \"Tenant\" t on t.id = i.\"tenantId\"",
        );
        let whole = orphans.is_empty()
            && tenants == active
            && tenants.is_subset(&databases)
            && tenants == indexed;
        whole.then_some(())
    });
}

#[test]
fn a_registration_answers_with_a_tenant_that_works_at_once() {
    let email = email();
    let started = Instant::now();
    let answer = register(&body(&email), &[]);
    let took = started.elapsed();
    assert_eq!(answer.status, 201, "{answer:?}");
    report(&format!("a registration took {took:?}"));
    assert!(answer.json.get("success").is_none(), "no wrapper: {answer:?}");
    let tenant = text(&answer.json, "tenantId");
    assert!(tenant.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    assert_opens(&text(&answer.json, "accessToken"), &tenant);
    let admin = &answer.json["admin"];
    assert_eq!((text(admin, "email"), text(admin, "role")), (email.clone(), "PRIMARY".into()));
    assert!(!answer.text.contains(PASSWORD) && !answer.text.contains("$argon2"), "{answer:?}");
    // A refresh token never opens a session.
    let refresh = Login::new("app", &text(&answer.json, "refreshToken"), "app");
    assert_eq!(code(World::shared().login(&refresh)), "28P01");
    let mut session = World::shared()
        .login(&Login::new("app", &text(&answer.json, "accessToken"), "app"))
        .unwrap();
    let tables = "select count(*) from information_schema.tables where table_schema = 'public'";
    assert_eq!(session.one(tables).as_deref(), Ok("25"));
    assert_eq!(session.one("select email from \"Admin\""), Ok(email));
    assert_nothing_half_made();
}

#[test]
fn the_registered_log_in_and_nobody_else_does() {
    let email = email();
    let registered = register(&body(&email), &[]);
    assert_eq!(registered.status, 201, "{registered:?}");
    let tenant = text(&registered.json, "tenantId");
    for spelling in [email.clone(), email.to_uppercase(), format!("  {email} ")] {
        let answer = log_in(&spelling, PASSWORD);
        assert_eq!(answer.status, 200, "{spelling}: {answer:?}");
        assert_eq!(text(&answer.json, "tenantId"), tenant);
        assert_opens(&text(&answer.json, "accessToken"), &tenant);
    }
    let wrong = log_in(&email, "wrong");
    wrong.assert_problem(401);
    let unknown = log_in("nobody@register.example", PASSWORD);
    unknown.assert_problem(401);
    let without_id = |answer: &Answer| {
        let mut json = answer.json.clone();
        json.as_object_mut().unwrap().retain(|k, _| !["instance", "requestId"].contains(&&**k));
        json
    };
    assert_eq!(without_id(&wrong), without_id(&unknown), "no admin can be enumerated");
}

#[test]
fn bad_fields_are_named_each() {
    let good = body(&email());
    let long = "x".repeat(300);
    let cases = [
        ("email", json!("")),
        ("email", json!("no at sign")),
        ("email", json!("two@at@signs")),
        ("email", json!(format!("{long}@example.org"))),
        ("email", json!("a@b\u{0}.org")),
        ("password", json!("short")),
        ("password", json!("x".repeat(5000))),
        ("firstName", json!("")),
        ("lastName", json!(long)),
        ("churchName", json!("   ")),
        ("churchName", json!("a\u{0}b")),
    ];
    for (field, value) in cases {
        let mut body = good.clone();
        body[field] = value.clone();
        let answer = register(&body, &[]);
        answer.assert_problem(422);
        assert!(names(&answer).contains(field), "{field}={value}: {answer:?}");
        let others = ["email", "password", "firstName", "lastName", "churchName"];
        for other in others.iter().filter(|other| **other != field) {
            assert!(!names(&answer).contains(*other), "{field}={value}: {answer:?}");
        }
    }
    let all = register(&json!({}), &[]);
    all.assert_problem(422);
    for field in ["email", "password", "firstName", "lastName", "churchName"] {
        assert!(names(&all).contains(field), "{field} is missing: {all:?}");
    }
    let mut wrong_type = good;
    wrong_type["email"] = json!(7);
    assert!([400, 422].contains(&register(&wrong_type, &[]).status));
    assert_nothing_half_made();
}

/// The fields a problem names, wherever it keeps them.
fn names(answer: &Answer) -> BTreeSet<String> {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    found.insert(key.clone());
                    if let (true, Some(text)) =
                        (["field", "pointer", "name"].contains(&&**key), value.as_str())
                    {
                        found.insert(text.trim_start_matches(['#', '/']).to_owned());
                    }
                    walk(value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(&answer.json, &mut found);
    found
}

#[test]
fn what_is_no_request_is_a_problem_and_not_a_crash() {
    let world = World::shared();
    let post = |body: &str| http::call(world.http, "POST", "/api/auth/register", &[], body).status;
    for body in ["{", "[]", "null", "\"x\"", "{\"email\":", "\u{1}", &"[".repeat(10_000)] {
        let status = post(body);
        assert!([400, 422].contains(&status), "{status} for {}", &body[..body.len().min(30)]);
    }
    let flood = format!("{{\"email\":\"{}\"}}", "x".repeat(4 << 20));
    let answer = http::try_call(world.http, "POST", "/api/auth/register", &[], &flood);
    assert!(answer.map_or(true, |a| a.status == 413), "four megabytes are not a registration");
    for (method, path, status) in [
        ("GET", "/api/auth/register", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/api/auth/nowhere", 404),
        ("GET", "/metrics", 404),
        ("GET", "/api/tenant", 401),
    ] {
        let answer = http::call(world.http, method, path, &[], "");
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    world.assert_no_panic();
}

#[test]
fn a_taken_email_is_409_and_leaves_nothing() {
    let world = World::shared();
    let email = email();
    assert_eq!(register(&body(&email), &[]).status, 201);
    let mut registry = world.superuser(&world.registry_database());
    let mine = format!("select count(*) from \"Tenant\" where lower(email) = '{email}'");
    for spelling in [email.clone(), email.to_uppercase()] {
        register(&body(&spelling), &[]).assert_problem(409);
        assert_eq!(registry.one(&mine).as_deref(), Ok("1"));
    }
    // Many at once for one new address: one wins, the others are told.
    let contested = self::email();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let all: Vec<_> =
            (0..8).map(|_| scope.spawn(|| register(&body(&contested), &[]).status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let won = statuses.iter().filter(|s| **s == 201).count();
    let told = statuses.iter().filter(|s| **s == 409).count();
    assert_eq!((won, told), (1, 7), "{statuses:?}");
    let mine = format!("select count(*) from \"Tenant\" where email = '{contested}'");
    assert_eq!(registry.one(&mine).as_deref(), Ok("1"));
    assert_nothing_half_made();
}

#[test]
fn an_idempotency_key_makes_a_retry_the_same_registration() {
    let body = body(&email());
    let key = [("Idempotency-Key", "1f0e-first")];
    let first = register(&body, &key);
    assert_eq!(first.status, 201, "{first:?}");
    let again = register(&body, &key);
    assert!([200, 201].contains(&again.status), "{again:?}");
    assert_eq!(text(&first.json, "tenantId"), text(&again.json, "tenantId"));
    let mut other = body.clone();
    other["password"] = json!("another good password");
    register(&other, &key).assert_problem(422);
    other["email"] = json!(email());
    register(&other, &key).assert_problem(422);
}

/// What the system before this one crashed of.
#[test]
fn five_quick_ones_and_then_fifty_are_so_many_tenants() {
    let world = World::shared();
    let mut answers: Vec<Answer> = (0..5).map(|_| register(&body(&email()), &[])).collect();
    let started = Instant::now();
    answers.extend(thread::scope(|scope| {
        let all: Vec<_> = (0..50).map(|_| scope.spawn(|| register(&body(&email()), &[]))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    }));
    report(&format!("fifty registrations at once took {:?}", started.elapsed()));
    let mut tenants = BTreeSet::new();
    for answer in &answers {
        assert_eq!(answer.status, 201, "{answer:?}");
        let tenant = text(&answer.json, "tenantId");
        assert_opens(&text(&answer.json, "accessToken"), &tenant);
        tenants.insert(tenant);
    }
    assert_eq!(tenants.len(), 55);
    assert_nothing_half_made();
    world.assert_no_panic();
}

#[test]
fn a_tenant_made_on_the_command_line_is_like_any_other() {
    let world = World::shared();
    let registry = &world.tenants[0];
    let listed = world.cli(&["tenant", "list", "--json"]);
    assert!(listed.contains(&registry.id), "{listed}");
    let shown = world.cli(&["tenant", "show", &registry.id, "--json"]);
    assert!(shown.contains(&registry.database()), "{shown}");
    assert!(!shown.contains("password") || !shown.contains("SCRAM-SHA-256$"), "{shown}");
}
