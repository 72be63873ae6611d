//! What a tenant can do to the hand that writes its messages: no more than to its own data.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use serde_json::Value;
use world::http::call;
use world::served::Served;
use world::telnyx::{bring, inbound, public_key};
use world::{Plan, World, code};

const NUMBER: &str = "+15550300001";

fn outcome(world: &World, text: &str) -> (u16, Value) {
    let answer = bring(world.http, &inbound("+15550400001", &[NUMBER], text).to_string());
    (answer.status, answer.json)
}

#[test]
fn a_trigger_of_the_tenants_runs_with_no_more_than_the_tenants_powers() {
    let world = World::start(Plan::tenants(2).telnyx());
    world.cli(&["tenant", "phone", "assign", &world.tenants[0].id, NUMBER]);
    let mut owner = world.session(0);
    let mut run = |sql: &str| owner.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    run("CREATE TABLE spy (who text, super boolean, doors bigint, stranger boolean)");
    run("CREATE FUNCTION peep() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
             INSERT INTO public.spy SELECT current_user, r.rolsuper OR r.rolcreatedb
                 OR r.rolcreaterole, (SELECT count(*) FROM pg_database WHERE datallowconn
                     AND has_database_privilege(current_user, oid, 'CONNECT')),
                 pg_has_role('pgusher_owner', 'MEMBER') FROM pg_roles r
                 WHERE rolname = current_user;
             RETURN NEW; END $f$");
    run(r#"CREATE TRIGGER peep BEFORE INSERT ON "ConversationMessage"
           FOR EACH ROW EXECUTE FUNCTION peep()"#);
    let (status, json) = outcome(&world, "watched");
    assert_eq!((status, &json["stored"]), (200, &1.into()), "{json}");
    let seen = run("SELECT who, super, doors, stranger FROM spy");
    let seen: Vec<_> = seen[0].iter().map(|field| field.clone().unwrap()).collect();
    // Its own sidecar's login: no powers, one door, and not the owner's group.
    assert!(seen[0].ends_with("_sys") && seen[0].contains(&world.tenants[0].id), "{seen:?}");
    assert_eq!(seen[1..], ["f", "1", "f"]);
    // A trigger that swallows the row, and one that raises: neither loses the message.
    for body in ["RETURN NULL;", "RAISE EXCEPTION 'no' USING ERRCODE = '23514';"] {
        run(&format!(
            "CREATE OR REPLACE FUNCTION peep() RETURNS trigger LANGUAGE plpgsql AS \
             $f$ BEGIN {body} END $f$"
        ));
        let (status, json) = outcome(&world, "kept all the same");
        assert_eq!((status, &json["dead"]), (200, &1.into()), "{body} {json}");
    }
    // One that says the disk is full: nothing is promised, nothing is left behind.
    run("CREATE OR REPLACE FUNCTION peep() RETURNS trigger LANGUAGE plpgsql AS \
         $f$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $f$");
    let body = inbound("+15550400001", &[NUMBER], "later").to_string();
    bring(world.http, &body).assert_problem(503);
    run(r#"DROP TRIGGER peep ON "ConversationMessage""#);
    assert_eq!(bring(world.http, &body).json["stored"], 1);
    let letters = run(r#"SELECT count(*) FROM "DeadLetterQueue" WHERE "status" = 'pending'"#);
    assert_eq!(letters[0][0].as_deref(), Some("2"));
    // What a trigger leaves set in the sidecar's session is met by the tenant's own only.
    run("CREATE OR REPLACE FUNCTION peep() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN \
         PERFORM set_config('search_path', 'nowhere', false); \
         PERFORM set_config('default_transaction_read_only', 'on', false); RETURN NEW; END $f$");
    run(r#"CREATE TRIGGER peep BEFORE INSERT ON "ConversationMessage"
           FOR EACH ROW EXECUTE FUNCTION peep()"#);
    assert_eq!(outcome(&world, "poison").0, 200);
    run(r#"DROP TRIGGER peep ON "ConversationMessage""#);
    let other = "+15550300002";
    world.cli(&["tenant", "phone", "assign", &world.tenants[1].id, other]);
    let to_other = inbound("+15550400001", &[other], "unharmed").to_string();
    assert_eq!(bring(world.http, &to_other).json["stored"], 1);
}

#[test]
fn no_role_of_the_tenants_reaches_the_inbox() {
    let world = World::start(Plan::tenants(2).telnyx());
    world.cli(&["tenant", "phone", "assign", &world.tenants[0].id, NUMBER]);
    assert_eq!(outcome(&world, "theirs").1["stored"], 1);
    for sql in [
        "SELECT * FROM pgusher.webhook_inbox",
        "DELETE FROM pgusher.webhook_inbox",
        "INSERT INTO pgusher.webhook_inbox VALUES ('telnyx', 'e', 'm', 'message')",
        "SELECT pgusher.take_message('telnyx', 'e', 'm', '{}', NULL)",
        "CREATE OR REPLACE FUNCTION pgusher.is_final(state text) RETURNS boolean LANGUAGE sql \
         AS 'SELECT true'",
        "CREATE TRIGGER mine BEFORE INSERT ON pgusher.webhook_inbox FOR EACH ROW \
         EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP SCHEMA pgusher CASCADE",
    ] {
        // The owner, who may most.
        assert_eq!(code(world.session(0).query(sql)), "42501", "{sql}");
    }
    assert_eq!(outcome(&world, "theirs still").1["stored"], 1);
}

#[test]
fn whatever_class_a_trigger_raises_the_message_is_kept_or_brought_again() {
    let world = World::start(Plan::tenants(1).telnyx());
    world.cli(&["tenant", "phone", "assign", &world.tenants[0].id, NUMBER]);
    assert_eq!(outcome(&world, "before").1["stored"], 1);
    let mut owner = world.session(0);
    let mut run = |sql: &str| owner.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let trigger = |body: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION rage() RETURNS trigger LANGUAGE plpgsql AS \
             $f$ BEGIN {body} RETURN NEW; END $f$"
        )
    };
    let raise = |state: &str| trigger(&format!("RAISE EXCEPTION 'no' USING ERRCODE = '{state}';"));
    run(&raise("21000"));
    run(r#"CREATE TRIGGER rage BEFORE INSERT ON "ConversationMessage"
           FOR EACH ROW EXECUTE FUNCTION rage()"#);
    let finals = ["21000", "0A000", "38001", "2F002", "39P01", "HV000", "ZZ123", "P0001", "P0004"];
    for state in finals {
        run(&raise(state));
        let (status, json) = outcome(&world, state);
        assert_eq!((status, &json["dead"]), (200, &1.into()), "{state}: {json}");
    }
    run(&trigger("ASSERT false;"));
    assert_eq!(outcome(&world, "an assertion").1["dead"], 1);
    for state in ["08006", "25001", "40001", "53100", "55P03", "57P03", "58030", "XX001"] {
        run(&raise(state));
        assert_eq!(outcome(&world, state).0, 503, "{state}");
    }
    run(r#"DROP TRIGGER rage ON "ConversationMessage""#);
    // What is checked only at the end of the transaction.
    run(&raise("23514"));
    run(r#"CREATE CONSTRAINT TRIGGER rage AFTER INSERT ON "ConversationMessage"
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rage()"#);
    assert_eq!(outcome(&world, "at the end").1["dead"], 1);
    let letters = |n: usize| {
        let sql = r#"SELECT count(*) FROM "DeadLetterQueue" WHERE "status" = 'pending'"#;
        assert_eq!(world.superuser(&world.tenants[0].database()).one(sql), Ok(n.to_string()));
    };
    letters(finals.len() + 2);
    let (id, ops) = (&world.tenants[0].id, world.ops.to_string());
    let replay = ["tenant", "letters", "replay", id, "--ops", &ops];
    let (status, done) = world::tools::pgusher(&replay);
    assert_eq!((status, &done["resolved"]), (1, &0.into()), "{done}");
    run(r#"DROP TRIGGER rage ON "ConversationMessage""#);
    let (status, done) = world::tools::pgusher(&replay);
    assert_eq!((status, &done["dead"]), (0, &0.into()), "{done}");
    letters(0);
}

#[test]
fn forged_webhooks_are_counted_against_who_brings_them_whatever_proxy_stands_between() {
    let world = World::start(Plan::default());
    let more = format!(
        "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n[http.rate]\nall_per_minute = 3\n\
         [sms.telnyx]\npublic_key = \"{}\"\n[stripe]\nwebhook_secret = \"whsec_test\"\n",
        public_key()
    );
    let served = Served::beside(&world, &more);
    for (path, address) in [("/webhooks/telnyx", "9.9.9.9"), ("/webhooks/stripe", "8.8.8.8")] {
        let forge = |headers: &[(&str, &str)]| call(served.http, "POST", path, headers, "{}");
        let theirs = [("x-forwarded-for", address)];
        for _ in 0..3 {
            forge(&theirs).assert_problem(403);
        }
        forge(&theirs).assert_problem(429);
        // They are known everywhere; who comes without is somebody else.
        call(served.http, "GET", "/api/regions", &theirs, "").assert_problem(429);
        assert_eq!(call(served.http, "GET", "/api/regions", &[], "").status, 200);
    }
}
