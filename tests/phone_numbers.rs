//! A phone number has one tenant, and everybody knows within a moment whose it is.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use world::telnyx::{self, Api, bring, inbound};
use world::{Plan, World, eventually, http, tools};

/// A world whose Telnyx is the test's.
fn world() -> &'static (World, Api) {
    static WORLD: OnceLock<(World, Api)> = OnceLock::new();
    WORLD.get_or_init(|| {
        let api = Api::start();
        let plan = Plan::tenants(11)
            .telnyx()
            .set("sms.telnyx.api_url", &format!("http://{}", api.address))
            .set("sms.telnyx.api_key", telnyx::API_KEY);
        (World::start(plan), api)
    })
}

fn as_admin(n: usize, method: &str, number: &str) -> http::Answer {
    let bearer = format!("Bearer {}", world().0.tenants[n].token);
    let path = format!("/api/tenant/phone-numbers/{number}");
    http::call(
        world().0.http,
        method,
        path.trim_end_matches('/'),
        &[("authorization", &bearer)],
        "",
    )
}

/// (rows of the number, its tenant there, tenants that send from it).
fn registered(number: &str) -> (String, String, String) {
    let mut conn = world().0.superuser(&world().0.registry_database());
    let mut one = |sql: &str| conn.one(&sql.replace('$', number)).unwrap();
    (
        one(r#"SELECT count(*) FROM "PhoneNumberRegistry" WHERE "phoneNumber" = '$'"#),
        one(r#"SELECT coalesce(max("tenantId"), '') FROM "PhoneNumberRegistry"
               WHERE "phoneNumber" = '$'"#),
        one(r#"SELECT coalesce(string_agg("id", ','), '') FROM "Tenant"
               WHERE "telnyxPhoneNumber" = '$'"#),
    )
}

#[test]
fn an_operator_assigns_and_releases_and_nobody_gets_what_is_taken() {
    let (world, _) = world();
    let (a, b) = (&world.tenants[0].id, &world.tenants[1].id);
    let registry = ["--registry", &world.registry];
    let phone = |verb: &str, id: &str, number: &str| {
        tools::pgusher(&[&["tenant", "phone", verb, id, number][..], &registry].concat())
    };
    let (status, json) = phone("assign", a, "+15551000001");
    assert_eq!((status, &json["phoneNumbers"][0]["primary"]), (0, &true.into()), "{json}");
    let audited = format!("SELECT count(*) FROM pgusher.audit WHERE tenant_id = '{a}'");
    let audited = || world.superuser(&world.registry_database()).one(&audited).unwrap();
    assert_eq!(audited(), "1");
    assert_eq!(phone("assign", a, "+15551000001").0, 0, "twice is once");
    assert_eq!(audited(), "1", "nothing changed");
    assert_eq!(registered("+15551000001"), ("1".into(), a.clone(), a.clone()));
    assert_eq!(phone("assign", b, "+15551000001").0, 1, "taken");
    assert_eq!(phone("release", b, "+15551000001").0, 1, "not theirs");
    let bad = std::process::Command::new(env!("CARGO_BIN_EXE_pgusher"))
        .args(["tenant", "phone", "assign", b, "15551000001"])
        .output();
    assert_eq!(bad.unwrap().status.code(), Some(2), "no number");
    assert_eq!(phone("assign", "nobody", "+15551000002").0, 1, "no tenant");
    // A second number: the first stays the one to send from, until it goes.
    assert_eq!(phone("assign", a, "+15551000002").0, 0);
    assert_eq!(registered("+15551000002"), ("1".into(), a.clone(), String::new()));
    assert_eq!(phone("release", a, "+15551000001").0, 0);
    assert_eq!(registered("+15551000001"), ("0".into(), String::new(), String::new()));
    assert_eq!(registered("+15551000002"), ("1".into(), a.clone(), a.clone()));
    // The same through the ops API.
    let path = format!("/tenants/{b}/phone-numbers/+15551000002");
    let put = |path: &str| http::call(world.ops, "PUT", path, &[], "{}");
    put(&path).assert_problem(409);
    put(&format!("/tenants/{b}/phone-numbers/+1")).assert_problem(422);
    put("/tenants/nobody/phone-numbers/+15551000003").assert_problem(404);
    let path = format!("/tenants/{b}/phone-numbers/%2B15551000003");
    assert_eq!(put(&path).status, 204);
    http::call(world.ops, "PUT", &path, &[], "").assert_problem(403);
    let list = http::call(world.ops, "GET", &format!("/tenants/{b}/phone-numbers"), &[], "");
    assert_eq!(list.json["phoneNumbers"][0]["phoneNumber"], "+15551000003");
    assert_eq!(http::call(world.ops, "DELETE", &path, &[], "{}").status, 204);
    http::call(world.ops, "DELETE", &path, &[], "{}").assert_problem(404);
}

#[test]
fn a_tenant_takes_a_number_where_the_provider_says_it_is_theirs() {
    let (world, api) = world();
    let (mine, tagged, pending, theirs, stranger) =
        ("+15552000001", "+15552000002", "+15552000003", "+15552000004", "+15552000009");
    let id = &world.tenants[2].id;
    api.list(mine, id, "active", &[]);
    api.list(tagged, "", "active", &["vip", id]);
    api.list(pending, id, "port_pending", &[]);
    api.list(theirs, &world.tenants[3].id, "active", &[]);
    // One that holds the other's digits.
    api.list("+155520000099", id, "active", &[]);
    assert_eq!(as_admin(2, "PUT", mine).status, 204);
    assert_eq!(as_admin(2, "PUT", tagged).status, 204);
    for number in [pending, theirs, stranger] {
        as_admin(2, "PUT", number).assert_problem(403);
        assert_eq!(registered(number).0, "0");
    }
    as_admin(2, "PUT", "5552000001").assert_problem(422);
    let sid =
        r#"SELECT "telnyxNumberSid" FROM "Tenant" WHERE "telnyxPhoneNumber" = '+15552000001'"#;
    let mut registry = world.superuser(&world.registry_database());
    assert_eq!(registry.one(sid).unwrap(), "sid-+15552000001");
    let list = as_admin(2, "GET", "");
    assert_eq!(list.json["tenantId"], *id);
    assert_eq!(list.json["phoneNumbers"].as_array().unwrap().len(), 2, "{list:?}");
    // An operator gave it away before the provider's mark was read.
    world.cli(&["tenant", "phone", "assign", id, theirs]);
    as_admin(3, "PUT", theirs).assert_problem(409);
    as_admin(3, "DELETE", mine).assert_problem(404);
    assert_eq!(as_admin(2, "DELETE", mine).status, 204);
    as_admin(2, "DELETE", mine).assert_problem(404);
    // Only the primary admin.
    let path = "/api/tenant/phone-numbers/+15552000002";
    http::call(world.http, "DELETE", path, &[], "").assert_problem(401);
    assert_eq!(registered(tagged).1, *id);
}

#[test]
fn a_tenant_has_a_hundred_numbers() {
    let (world, api) = world();
    let id = &world.tenants[10].id;
    let mut registry = world.superuser(&world.registry_database());
    let given = format!(
        r#"INSERT INTO "PhoneNumberRegistry" ("phoneNumber", "tenantId")
           SELECT '+1555800' || lpad(n::text, 4, '0'), '{id}' FROM generate_series(1, 100) n"#
    );
    registry.query(&given).unwrap();
    let (held, one_more) = ("+15558000001", "+15558000101");
    for number in [held, one_more] {
        api.list(number, id, "active", &[]);
    }
    let refused = as_admin(10, "PUT", one_more);
    refused.assert_problem(409);
    assert_eq!(refused.json["type"], "urn:pgusher:too-many-numbers");
    assert_eq!(as_admin(10, "PUT", held).status, 204, "it has that one");
    assert_eq!(as_admin(10, "DELETE", held).status, 204);
    assert_eq!(as_admin(10, "PUT", one_more).status, 204);
}

#[test]
fn a_number_that_changes_hands_is_the_others_at_once() {
    let (world, _) = world();
    let number = "+15553000001";
    let tenants = [4, 5];
    let mut counts = [0, 0];
    for round in 0..6 {
        let owner = tenants[round % 2];
        world.cli(&["tenant", "phone", "assign", &world.tenants[owner].id, number]);
        // The command is another process: the running one hears of it.
        let text = format!("round {round}");
        let body = inbound("+15559000001", &[number], &text).to_string();
        eventually(Duration::from_secs(1), "the running pgusher knows", || {
            let answer = bring(world.http, &body);
            assert_eq!(answer.status, 200);
            (answer.json["stored"] == json!(1)).then_some(())
        });
        counts[owner - 4] += 1;
        world.cli(&["tenant", "phone", "release", &world.tenants[owner].id, number]);
        let gone = inbound("+15559000001", &[number], "to nobody").to_string();
        eventually(Duration::from_secs(1), "it is nobody's", || {
            (bring(world.http, &gone).json["unknown"] == json!(1)).then_some(())
        });
    }
    for owner in tenants {
        let mut inside = world.superuser(&world.tenants[owner].database());
        let sql = r#"SELECT count(*) FROM "ConversationMessage" WHERE "content" LIKE 'round %'"#;
        assert_eq!(inside.one(sql).unwrap(), counts[owner - 4].to_string());
    }
}

#[test]
fn the_same_number_for_two_at_once_goes_to_one() {
    let (world, _) = world();
    for round in 0..5 {
        let number = format!("+1555400000{round}");
        let results: Vec<u16> = std::thread::scope(|scope| {
            let tries: Vec<_> = (6..10)
                .map(|n| {
                    let path = format!("/tenants/{}/phone-numbers/{number}", world.tenants[n].id);
                    scope.spawn(move || http::call(world.ops, "PUT", &path, &[], "{}").status)
                })
                .collect();
            tries.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|s| **s == 204).count(), 1, "{results:?}");
        assert_eq!(results.iter().filter(|s| **s == 409).count(), 3, "{results:?}");
        assert_eq!(registered(&number).0, "1");
    }
}
