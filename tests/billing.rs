//! Who pays, as Stripe tells it, and what who does not pay may still do.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use world::http::{Answer, call};
use world::stripe::{MockStripe, Mood, signature};
use world::wire::{Conn, Refusal};
use world::{Plan, World, bare, code, eventually, report};

const SECRET: &str = "whsec_test";
const BOUND: Duration = Duration::from_secs(3);

fn deliver(world: &World, event: &Value) -> Answer {
    let body = event.to_string();
    let signed = signature(SECRET, &body);
    call(world.http, "POST", "/webhooks/stripe", &[("stripe-signature", &signed)], &body)
}

/// An event about the one subscription of a customer.
fn event(
    id: &str,
    (kind, at): (&str, i64),
    customer: &str,
    status: &str,
    before: Option<&str>,
) -> Value {
    json!({
        "id": id, "type": format!("customer.subscription.{kind}"), "created": at,
        "data": {
            "object": {
                "id": format!("sub_of_{customer}"), "customer": customer, "status": status,
                "items": { "data": [{ "price": { "id": "price_pro" } }] },
            },
            "previous_attributes": before.map(|status| json!({ "status": status })),
        },
    })
}

fn tenant_row(world: &World, id: &str, column: &str) -> String {
    let mut registry = world.superuser(&world.registry_database());
    registry.one(&format!(r#"select "{column}" from "Tenant" where id = '{id}'"#)).unwrap()
}

fn customer(world: &World, id: &str) -> Option<String> {
    let mut registry = world.superuser(&world.registry_database());
    let sql = format!(r#"select coalesce("stripeCustomerId", '') from "Church" where id = '{id}'"#);
    Some(registry.one(&sql).unwrap()).filter(|id| !id.is_empty())
}

fn why_cut(session: &mut Conn) -> Option<String> {
    let last = session.farewell();
    last.iter().find(|m| m.tag == b'E').map(|m| Refusal::parse(&m.body).code)
}

#[test]
fn tenants_become_customers_whatever_stripe_does() {
    if bare::wanted() {
        return;
    }
    let moods = [Mood::Mute, Mood::Failing, Mood::Failing, Mood::Mute, Mood::Failing];
    let stripe = MockStripe::start(&moods);
    let world = World::start(
        Plan::default()
            .set("stripe.secret_key", "sk_test_mock")
            .set("stripe.api_url", &format!("http://{}", stripe.address))
            .set("stripe.retry_min", "20ms")
            .set("stripe.breaker_failures", "3")
            .set("stripe.breaker_pause", "200ms"),
    );
    let ids: Vec<_> = world.tenants.iter().map(|tenant| tenant.id.clone()).collect();
    let mut made: Vec<_> = ids
        .iter()
        .map(|id| eventually(Duration::from_secs(20), "a customer", || customer(&world, id)))
        .collect();
    made.sort();
    made.dedup();
    assert_eq!((made.len(), stripe.customers()), (2, 2), "one each, though answers were lost");
    let calls = stripe.calls();
    assert_eq!(calls.len(), moods.len() + 2, "{calls:?}");
    for (key, body) in &calls {
        let id = ids.iter().find(|id| key.ends_with(id.as_str())).expect("its own key");
        assert!(body.contains(&format!("metadata%5BtenantId%5D={id}")), "{body}");
    }
    let mut registry = world.superuser(&world.registry_database());
    assert_eq!(registry.one("select count(*) from pgusher.outbox").as_deref(), Ok("0"));
    let metrics = world.metrics();
    assert!(
        metrics.contains("pgusher_control_stripe_calls_total{result=\"again\"} 5"),
        "{metrics}"
    );
    // One that is refused for good is left for the operator, and keeps nobody else waiting.
    stripe.next(Mood::Refusing);
    for name in ["refused", "fine"] {
        let body = json!({ "email": format!("{name}@example.org"), "password": "correct horse",
            "firstName": "A", "lastName": "B", "churchName": name });
        let answer = call(world.http, "POST", "/api/auth/register", &[], &body.to_string());
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = answer.json["tenantId"].as_str().unwrap();
        let settled = eventually(Duration::from_secs(20), "it is settled", || {
            let sql = format!(
                "select coalesce(failure, '') from pgusher.outbox \
                 where tenant_id = '{id}' and failed_at is not null"
            );
            let failure = registry.query(&sql).unwrap().first().and_then(|row| row[0].clone());
            failure.or_else(|| customer(&world, id))
        });
        let wanted = if name == "refused" { "answered 402 email_invalid" } else { "cus_2" };
        assert_eq!(settled, wanted);
    }
    world.assert_no_panic();
}

#[test]
fn a_subscription_moves_its_tenant_and_its_live_sessions() {
    if bare::wanted() {
        return;
    }
    let world = World::start(
        Plan::default()
            .set("stripe.webhook_secret", SECRET)
            .set("stripe.plans.price_pro", "pro")
            .set("billing.on_unpaid", "suspend"),
    );
    let tenant = &world.tenants[0];
    let mut registry = world.superuser(&world.registry_database());
    let assign = |id: &str, customer: &str| {
        format!(r#"update "Church" set "stripeCustomerId" = '{customer}' where id = '{id}'"#)
    };
    registry.query(&assign(&tenant.id, "cus_a")).unwrap();
    registry.query(&assign(&world.tenants[1].id, "cus_b")).unwrap();

    // Forged, stale, of another's secret, and no event at all.
    let active = event("evt_1", ("created", 100), "cus_a", "active", None);
    let body = active.to_string();
    let forged = signature("whsec_other", &body);
    for (headers, body) in [
        (vec![], &*body),
        (vec![("stripe-signature", "t=1,v1=00")], &*body),
        (vec![("stripe-signature", &*forged)], &*body),
    ] {
        call(world.http, "POST", "/webhooks/stripe", &headers, body).assert_problem(403);
    }
    deliver(&world, &json!({ "hello": 1 })).assert_problem(400);
    assert_eq!(tenant_row(&world, &tenant.id, "subscriptionStatus"), "trial");

    assert_eq!(deliver(&world, &active).status, 204);
    assert_eq!(tenant_row(&world, &tenant.id, "subscriptionStatus"), "active");
    assert_eq!(tenant_row(&world, &tenant.id, "subscriptionPlan"), "pro");
    let mut session = world.session(0);
    session.query("create table paid (n int); insert into paid values (1)").unwrap();

    // Readonly takes effect on who is at work, and a neighbour notices nothing.
    let mut neighbour = world.session(1);
    let begun = Instant::now();
    let gone = event("evt_9", ("deleted", 900), "cus_a", "canceled", None);
    assert_eq!(deliver(&world, &gone).status, 204);
    assert_eq!(why_cut(&mut session).as_deref(), Some("57P01"));
    report(&format!("cancelled: cut after {} ms", begun.elapsed().as_millis()));
    assert!(begun.elapsed() < BOUND);
    let mut reader = world.session(0);
    assert_eq!(reader.one("select n from paid").as_deref(), Ok("1"));
    assert_eq!(code(reader.query("insert into paid values (2)")), "42501");
    assert_eq!(
        code(reader.query("set default_transaction_read_only = off; insert into paid values (2)")),
        "42501"
    );
    assert_eq!(neighbour.one("select 1").as_deref(), Ok("1"));

    // What is older, or the same once more, moves nothing.
    let late = event("evt_5", ("updated", 500), "cus_a", "active", Some("past_due"));
    assert_eq!(deliver(&world, &late).status, 204);
    assert_eq!(deliver(&world, &active).status, 204);
    assert_eq!(tenant_row(&world, &tenant.id, "subscriptionStatus"), "cancelled");
    let mut outcomes = world.superuser(&world.registry_database());
    let sql =
        "select string_agg(id || ' ' || outcome, ', ' order by id) from pgusher.stripe_events";
    assert_eq!(outcomes.one(sql).as_deref(), Ok("evt_1 applied, evt_5 outdated, evt_9 applied"));

    // A second subscription: it pays again, and may write again.
    let mut second = event("evt_10", ("created", 950), "cus_a", "active", None);
    second["data"]["object"]["id"] = json!("sub_second");
    assert_eq!(deliver(&world, &second).status, 204);
    assert_eq!(why_cut(&mut reader).as_deref(), Some("57P01"), "to come back as who it is");
    let mut writer = world.session(0);
    writer.query("insert into paid values (2)").unwrap();

    // Unpaid, which this installation suspends.
    let mut unpaid = event("evt_11", ("updated", 960), "cus_a", "unpaid", Some("active"));
    unpaid["data"]["object"]["id"] = json!("sub_second");
    assert_eq!(deliver(&world, &unpaid).status, 204);
    assert_eq!(why_cut(&mut writer).as_deref(), Some("57P01"));
    assert_eq!(code(world.login(&tenant.login())), "57P03");

    // A customer nobody knows yet is remembered until it is somebody's.
    let early = event("evt_20", ("created", 100), "cus_new", "active", None);
    assert_eq!(deliver(&world, &early).status, 204);
    let known = "select outcome from pgusher.stripe_events where id = 'evt_20'";
    assert_eq!(outcomes.one(known).as_deref(), Ok("stranger"));
    assert_eq!(neighbour.one("select 1").as_deref(), Ok("1"));
    world.assert_no_panic();
}

#[test]
fn a_trial_that_ends_takes_effect_on_live_sessions() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default().set("billing.enforce", "always"));
    let tenant = &world.tenants[0];
    let mut session = world.session(0);
    session.query("create table mine (n int)").unwrap();
    let mut neighbour = world.session(1);
    let mut registry = world.superuser(&world.registry_database());
    let ends = |what: &str| {
        let now = "now() at time zone 'utc'";
        format!(r#"update "Tenant" set "trialEndsAt" = {now} + {what} where id = '{}'"#, tenant.id)
    };
    let days = r#"select round(extract(epoch from "trialEndsAt" - "createdAt") / 86400) from "Tenant" limit 1"#;
    assert_eq!(registry.one(days).as_deref(), Ok("14"));
    // Nobody writes the registry when the time has come: the clock alone decides.
    registry.query(&ends("interval '2 seconds'")).unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    assert_eq!(session.one("select 1").as_deref(), Ok("1"));
    assert_eq!(why_cut(&mut session).as_deref(), Some("57P01"));
    let late = Instant::now().saturating_duration_since(end);
    report(&format!("trial over: cut {} ms after its end", late.as_millis()));
    // Ends are kept in whole seconds, rounded down.
    assert!(late < BOUND, "{late:?}");
    let mut reader = world.session(0);
    assert_eq!(code(reader.query("insert into mine values (1)")), "42501");
    // The sidecar is not bound: an admin logs in.
    let body = json!({ "email": tenant.email, "password": tenant.password }).to_string();
    assert_eq!(call(world.http, "POST", "/api/auth/login", &[], &body).status, 200);

    registry.query(&ends("interval '1 day'")).unwrap();
    assert_eq!(why_cut(&mut reader).as_deref(), Some("57P01"));
    let mut writer = world.session(0);
    writer.query("insert into mine values (1)").unwrap();
    assert_eq!(neighbour.one("select 1").as_deref(), Ok("1"));
    world.assert_no_panic();
}
