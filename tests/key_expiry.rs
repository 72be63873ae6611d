//! API keys end when their maker does: with the token of an issuer whose tokens pgusher cannot renew.
#![allow(clippy::unwrap_used, clippy::format_push_string, unreachable_pub, missing_docs)]

mod world;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use world::http::{self, Answer};
use world::served::Served;
use world::wire::{Conn, Login};
use world::{Plan, World, bare};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const ISSUER: &str = "[[auth.tokens.issuers]]\nissuer = 'https://id.example'\n\
                      audiences = ['app']\n\
                      [[auth.tokens.issuers.keys]]\nalgorithm = 'HS256'\n\
                      secret = '0123456789abcdef0123456789abcdef'\n";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An owner's token of that issuer, until `exp`.
fn token(tenant: &str, exp: u64) -> String {
    let claims = json!({ "iss": "https://id.example", "aud": "app", "sub": "somebody",
        "tenantId": tenant, "role": "owner", "exp": exp });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

fn make(to: SocketAddr, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    http::call(to, "POST", "/api/tenant/keys", &[("authorization", &bearer)], &body.to_string())
}

#[test]
fn a_key_never_outlives_a_token_that_pgusher_cannot_renew() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let served = Served::beside(&world, ISSUER);
    let tenant = &world.tenants[0];
    let exp = now() + 3600;
    let theirs = token(&tenant.id, exp);
    let ends = pgusher::http::rfc3339(i64::try_from(exp).unwrap());

    let made = make(served.http, &theirs, &json!({ "name": "ci" }));
    assert_eq!((made.status, &made.json["expiresAt"]), (201, &json!(ends)), "{}", made.text);
    let (user, secret) = (&made.json["user"], &made.json["secret"]);
    let login = Login::new(user.as_str().unwrap(), secret.as_str().unwrap(), &tenant.database());
    let mut session = Conn::login(served.listen, &login).unwrap();
    assert_eq!(session.one("select 1").as_deref(), Ok("1"), "until then it opens sessions");

    let made = make(served.http, &theirs, &json!({ "name": "ci", "expiresIn": 60 }));
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(made.json["expiresAt"].as_str().is_some_and(|at| *at < *ends), "{}", made.text);

    let refused = make(served.http, &theirs, &json!({ "name": "ci", "expiresIn": 3700 }));
    refused.assert_problem(422);
    let error = &refused.json["errors"][0];
    assert_eq!(error["field"], "expiresIn", "{}", refused.text);
    assert!(error["message"].as_str().unwrap().contains(&ends), "{}", refused.text);
    // Believed for `auth.tokens.leeway`, and yet over.
    let over = token(&tenant.id, now() - 2);
    make(served.http, &over, &json!({ "name": "ci" })).assert_problem(422);
}

#[test]
fn a_key_made_with_a_token_of_pgushers_own_ends_when_its_maker_says() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let tenant = &world.tenants[0];
    let login = json!({ "email": tenant.email, "password": tenant.password }).to_string();
    let login = http::call(world.http, "POST", "/api/auth/login", &[], &login);
    let ours = login.json["accessToken"].as_str().unwrap();
    let made = make(world.http, ours, &json!({ "name": "app" }));
    assert_eq!((made.status, &made.json["expiresAt"]), (201, &Value::Null), "{}", made.text);
    let year = 365 * 86_400;
    let made = make(world.http, ours, &json!({ "name": "app", "expiresIn": year }));
    assert_eq!(made.status, 201, "it lives longer than 15 minutes: {}", made.text);
}
