//! Second factors over HTTP, against a running pgusher and tenants' real databases.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use world::http::{Answer, call};
use world::wire::Login;
use world::{Plan, World, bare, operator, tools};

/// The code of the step `off` steps from now, as an authenticator app computes it.
fn code(secret: &str, off: i64) -> String {
    let step = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30;
    let step = step.checked_add_signed(off).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &unbase32(secret));
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

fn unbase32(text: &str) -> Vec<u8> {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bit = |at: usize| {
        let letter = text.as_bytes()[at / 5];
        (letters.bytes().position(|known| known == letter).unwrap() >> (4 - at % 5)) & 1
    };
    let byte = |n: usize| (0..8).fold(0, |byte, at| byte << 1 | bit(n * 8 + at));
    (0..text.len() * 5 / 8).map(|n| u8::try_from(byte(n)).unwrap()).collect()
}

struct Admin<'a> {
    world: &'a World,
    email: &'a str,
    password: &'a str,
    bearer: String,
}

impl Admin<'_> {
    fn post(&self, path: &str, body: &Value) -> Answer {
        let auth = ("authorization", self.bearer.as_str());
        let kind = ("content-type", "application/json");
        // `call` sends the type with a body of its own accord.
        let headers: &[(&str, &str)] = if body.is_null() { &[auth, kind] } else { &[auth] };
        let text = if body.is_null() { String::new() } else { body.to_string() };
        call(self.world.http, "POST", path, headers, &text)
    }

    fn login(&self, code: Option<&str>) -> Answer {
        let body = json!({ "email": self.email, "password": self.password, "code": code });
        call(self.world.http, "POST", "/api/auth/login", &[], &body.to_string())
    }

    fn status(&self) -> Value {
        let auth = ("authorization", self.bearer.as_str());
        call(self.world.http, "GET", "/api/auth/mfa", &[auth], "").json
    }
}

fn problem(answer: &Answer, status: u16, kind: &str) {
    answer.assert_problem(status);
    assert_eq!(answer.json["type"], format!("urn:pgusher:{kind}"), "{answer:?}");
}

/// Not in the last seconds of a step: the codes below are of one and the same.
fn within_a_step() {
    let left = || 30 - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 30;
    while left() < 5 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// What the manual has for who does not trust `app` tokens: logins are decided as before below.
fn take_logins_away(world: &World) {
    let tenant = &world.tenants[0];
    let manual = std::fs::read_to_string(tools::root().join("docs/OPERATING.md")).unwrap();
    let recipe = manual.split("```sql\n-- Logins are decided by these").nth(1).unwrap();
    let recipe = format!("--{}", recipe.split("```").next().unwrap());
    let config = operator::config(world, "");
    let session = |role: &str| {
        let issue = ["token", "issue", "--config", &config, "--tenant", &tenant.id, "--role", role];
        let (_, issued) = tools::pgusher(&issue);
        let token = issued["token"].as_str().unwrap();
        world.login(&Login::new("x", token, &tenant.database())).unwrap()
    };
    let taken = [
        r#"UPDATE "Admin" SET "role" = "role""#,
        r#"INSERT INTO "Admin" SELECT FROM "Admin" WHERE false"#,
        r#"DELETE FROM "AdminMFA""#,
        r#"DELETE FROM "MFARecoveryCode""#,
    ];
    for sql in taken {
        session("app").query(sql).unwrap();
    }
    session("owner").query(&recipe).unwrap();
    for role in ["app", "readonly"] {
        let mut inside = session(role);
        for sql in [&taken[..], &[r#"SELECT "password" FROM "Admin""#]].concat() {
            assert_eq!(world::code(inside.query(sql)), "42501", "{role}: {sql}");
        }
        assert_eq!(inside.one(r#"SELECT "email" FROM "Admin""#).unwrap(), tenant.email);
    }
}

#[test]
fn a_second_factor_from_enrolment_to_its_end() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let tenant = &world.tenants[0];
    take_logins_away(&world);
    let admin = Admin {
        world: &world,
        email: &tenant.email,
        password: &tenant.password,
        bearer: format!("Bearer {}", tenant.token),
    };
    assert_eq!(admin.login(None).status, 200, "no second factor yet");
    assert_eq!(admin.status()["enabled"], false);
    problem(
        &admin.post("/api/auth/mfa/confirm", &json!({"code": "123456"})),
        409,
        "mfa-not-enrolled",
    );
    problem(
        &admin.post("/api/auth/mfa/disable", &json!({"code": "123456"})),
        409,
        "mfa-not-enabled",
    );

    let enrolled = admin.post("/api/auth/mfa/enroll", &Value::Null);
    assert_eq!(enrolled.status, 200, "{enrolled:?}");
    let secret = enrolled.json["secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 32);
    let uri = enrolled.json["otpauthUri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/pgusher:") && uri.contains(&secret), "{uri}");
    assert_eq!(admin.login(None).status, 200, "not confirmed: it does not count");
    problem(&admin.post("/api/auth/mfa/confirm", &json!({"code": "x"})), 403, "mfa-code");
    within_a_step();
    let first = code(&secret, -1);
    let confirmed = admin.post("/api/auth/mfa/confirm", &json!({ "code": first }));
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    let codes = confirmed.json["recoveryCodes"].as_array().unwrap().clone();
    assert_eq!(codes.len(), 10);
    problem(&admin.post("/api/auth/mfa/enroll", &Value::Null), 409, "mfa-enabled");

    let mut inside = world.superuser(&tenant.database());
    let stored = inside.one(r#"select secret from "AdminMFA""#).unwrap();
    assert!(stored.starts_with("v1:") && !stored.contains(&secret), "{stored}");
    let hashed = inside.one(r#"select min("codeHash") from "MFARecoveryCode""#).unwrap();
    assert_eq!(hashed.len(), 64);

    problem(&admin.login(None), 401, "mfa-required");
    let stranger = Admin { password: "wrong", bearer: String::new(), ..admin };
    problem(&stranger.login(None), 401, "credentials");
    problem(&stranger.login(Some(&code(&secret, 0))), 401, "credentials");
    let admin = Admin {
        password: &tenant.password,
        bearer: format!("Bearer {}", tenant.token),
        ..stranger
    };
    problem(&admin.login(Some("000000")), 401, "mfa-code");
    problem(&admin.login(Some(&first)), 401, "mfa-code");
    within_a_step();
    let now = code(&secret, 0);
    assert_eq!(admin.login(Some(&now)).status, 200);
    problem(&admin.login(Some(&now)), 401, "mfa-code");

    let recovery = codes[3].as_str().unwrap();
    assert_eq!(admin.login(Some(&recovery.to_lowercase())).status, 200);
    problem(&admin.login(Some(recovery)), 401, "mfa-code");
    assert_eq!(
        admin.status(),
        json!({ "tenantId": tenant.id, "enabled": true, "recoveryCodesLeft": 9 })
    );
    let renewed = admin.post("/api/auth/mfa/recovery-codes", &json!({ "code": codes[4] }));
    assert_eq!(renewed.status, 200, "{renewed:?}");
    problem(&admin.login(codes[5].as_str()), 401, "mfa-code");
    let fresh = renewed.json["recoveryCodes"][0].as_str().unwrap();
    problem(&admin.post("/api/auth/mfa/disable", &json!({"code": "000000"})), 403, "mfa-code");
    assert_eq!(admin.post("/api/auth/mfa/disable", &json!({ "code": fresh })).status, 204);
    assert_eq!(admin.login(None).status, 200);
    world.assert_no_panic();
}

#[test]
fn a_registration_repeated_gives_no_tokens_past_a_factor_whose_confirmation_broke_off() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let organisation = json!({
        "email": "ada@repeated.example", "password": "correct horse battery staple",
        "firstName": "Ada", "lastName": "Lovelace", "churchName": "St. Ada's",
    });
    let register = || {
        let key = [("idempotency-key", "k")];
        call(world.http, "POST", "/api/auth/register", &key, &organisation.to_string())
    };
    let made = register();
    assert_eq!(made.status, 201, "{made:?}");
    let admin = Admin {
        world: &world,
        email: "ada@repeated.example",
        password: "correct horse battery staple",
        bearer: format!("Bearer {}", made.json["accessToken"].as_str().unwrap()),
    };
    let enrolled = admin.post("/api/auth/mfa/enroll", &Value::Null);
    let secret = enrolled.json["secret"].as_str().unwrap().to_owned();
    let again = register();
    assert!(again.json["accessToken"].is_string(), "it is no factor yet: {again:?}");
    // The registry fails between two statements of the confirmation.
    let away = "create function pgusher.away() returns trigger language plpgsql as $$
            begin raise exception 'away'; end $$;
        create trigger away before delete on pgusher.mfa_attempts
            for each row execute function pgusher.away()";
    world.superuser(&world.registry_database()).query(away).unwrap();
    within_a_step();
    admin.post("/api/auth/mfa/confirm", &json!({ "code": code(&secret, 0) }));
    problem(&admin.login(None), 401, "mfa-required");
    let again = register();
    assert_eq!((again.status, &again.json["tenantId"]), (200, &made.json["tenantId"]));
    assert!(again.json["accessToken"].is_null(), "{again:?}");
}

#[test]
fn codes_are_tried_ten_times_and_no_more() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let world = &world;
    let admin = move |n: usize| Admin {
        world,
        email: &world.tenants[n].email,
        password: &world.tenants[n].password,
        bearer: format!("Bearer {}", world.tenants[n].token),
    };
    for n in [0, 1] {
        let enrolled = admin(n).post("/api/auth/mfa/enroll", &Value::Null);
        let secret = enrolled.json["secret"].as_str().unwrap().to_owned();
        within_a_step();
        let body = json!({ "code": code(&secret, -1) });
        assert_eq!(admin(n).post("/api/auth/mfa/confirm", &body).status, 200);
    }
    // Side by side: each try is counted before it is looked at.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..30)
            .map(|n| scope.spawn(move || admin(0).login(Some(&format!("{n:06}")))))
            .collect();
        all.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    let tried = answers.iter().filter(|a| a.status == 401).count();
    assert_eq!(tried, 10, "the rest is refused unseen");
    let refused = answers.iter().find(|a| a.status == 429).unwrap();
    problem(refused, 429, "too-many-tries");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 3000);
    problem(&admin(1).login(Some("000000")), 401, "mfa-code");
    world.assert_no_panic();
}

#[test]
fn an_unknown_e_mail_is_told_from_a_wrong_password_by_nothing() {
    if bare::wanted() {
        return;
    }
    let world = World::shared();
    let ask = |email: &str| {
        let body = json!({ "email": email, "password": "wrong" }).to_string();
        let begun = Instant::now();
        let answer = call(world.http, "POST", "/api/auth/login", &[], &body);
        problem(&answer, 401, "credentials");
        (begun.elapsed().as_millis(), answer.text)
    };
    let (mut known, mut unknown): (Vec<_>, Vec<_>) = (0..9)
        .map(|n| (ask(&world.tenants[0].email), ask(&format!("nobody{n}@example.org"))))
        .unzip();
    assert!(known.iter().chain(&unknown).all(|(_, text)| *text == known[0].1));
    known.sort();
    unknown.sort();
    let (known, unknown) = (known[4].0, unknown[4].0);
    world::report(&format!("refused after: known {known} ms, unknown {unknown} ms (medians)"));
    // Where no password is hashed it is a hundredth of that.
    assert!(known < 2 * unknown && unknown < 2 * known, "{known} {unknown}");
}
