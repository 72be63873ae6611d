//! Inbound messages: each in its tenant's database, once, or brought again.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use world::telnyx::{self, bring, event, fresh, inbound, receipt};
use world::wire::Conn;
use world::{Plan, World, code, eventually, http};

/// One tenant for each test: what one does to its database is no other's business.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::start(Plan::tenants(9).telnyx()))
}

/// Gives tenant `n` a number of the test's own.
fn number(n: usize, number: &str) -> String {
    world().cli(&["tenant", "phone", "assign", &world().tenants[n].id, number]);
    number.to_owned()
}

/// PostgreSQL itself, in the database of tenant `n`.
fn inside(n: usize) -> Conn {
    world().superuser(&world().tenants[n].database())
}

fn take(body: &Value) -> (u16, Value) {
    let answer = bring(world().http, &body.to_string());
    (answer.status, answer.json)
}

fn assert_taken(body: &Value, what: &str) {
    let (status, json) = take(body);
    assert_eq!((status, &json[what]), (200, &Value::from(1)), "{what}: {json}");
}

/// How often a text is among the messages of a tenant.
fn stored(conn: &mut Conn, text: &str) -> String {
    let sql = format!(r#"SELECT count(*) FROM "ConversationMessage" WHERE "content" = '{text}'"#);
    conn.one(&sql).unwrap()
}

#[test]
fn a_message_is_stored_once_with_its_member_and_conversation() {
    let to = number(0, "+15550100001");
    let mut body = inbound("+15550200001", &[&to], "first words");
    body["data"]["payload"]["media"] = serde_json::json!([
        { "url": "https://media.example/1.png", "content_type": "image/png" },
        { "url": "https://media.example/2.mp4", "content_type": "video/mp4" }]);
    assert_taken(&body, "stored");
    // The same event, and another event about the same message.
    assert_taken(&body, "duplicate");
    let mut again = body.clone();
    again["data"]["id"] = fresh("event").into();
    assert_taken(&again, "duplicate");
    assert_taken(&inbound("+15550200001", &[&to], "second words"), "stored");
    let mut conn = inside(0);
    let sql = r#"SELECT m."phone", m."source", c."status", c."unreadCount", count(*),
                     count(DISTINCT m."id"), min(x."mediaUrls"::text) FILTER
                     (WHERE x."content" = 'first words'), min(x."direction"),
                     min(x."occurredAt")::text
                 FROM "ConversationMessage" x JOIN "Conversation" c ON c."id" = x."conversationId"
                 JOIN "Member" m ON m."id" = c."memberId" AND m."id" = x."memberId"
                 WHERE m."phone" = '+15550200001' GROUP BY 1, 2, 3, 4"#;
    let rows = conn.query(sql).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row: Vec<_> = rows[0].iter().map(|field| field.as_deref().unwrap()).collect();
    assert_eq!(row[..6], ["+15550200001", "sms", "open", "2", "2", "1"]);
    assert_eq!(row[6], "{https://media.example/1.png,https://media.example/2.mp4}");
    assert!(row[7] == "inbound" && row[8].starts_with("2026-11-21 18:10:02"), "{row:?}");
    // A member the product knows already stays theirs.
    conn.query(r#"INSERT INTO "Member" ("id", "phone") VALUES ('ada', '+15550200002')"#).unwrap();
    assert_taken(&inbound("+15550200002", &[&to], "from ada"), "stored");
    let sql = r#"SELECT "memberId" FROM "ConversationMessage" WHERE "content" = 'from ada'"#;
    assert_eq!(conn.one(sql).unwrap(), "ada");
}

#[test]
fn nobody_else_can_bring_anything() {
    let to = number(0, "+15550100002");
    let body = inbound("+15550200003", &[&to], "forged").to_string();
    let at = telnyx::now();
    let call = |signature: &str, timestamp: &str, body: &str| {
        let headers = [("telnyx-signature-ed25519", signature), ("telnyx-timestamp", timestamp)];
        http::call(world().http, "POST", "/webhooks/telnyx", &headers, body)
    };
    let now = at.to_string();
    call(&telnyx::sign(&now, &body), &now, &body.replace("forged", "Forged")).assert_problem(403);
    call("", "", &body).assert_problem(403);
    for off in [at - 301, at + 330] {
        let off = off.to_string();
        call(&telnyx::sign(&off, &body), &off, &body).assert_problem(403);
    }
    http::call(world().http, "POST", "/webhooks/telnyx", &[], &body).assert_problem(403);
    http::call(world().http, "GET", "/webhooks/telnyx", &[], "").assert_problem(405);
    let long = "x".repeat(70_000);
    call(&telnyx::sign(&now, &long), &now, &long).assert_problem(413);
    for odd in ["not json", "{}", r#"{"data":{"event_type":"message.received","payload":{}}}"#] {
        call(&telnyx::sign(&now, odd), &now, odd).assert_problem(422);
    }
    assert_eq!(take(&event("call.initiated", &Value::Null)).0, 200);
    assert_eq!(stored(&mut inside(0), "forged"), "0");
}

#[test]
fn a_message_for_nobody_is_acknowledged_and_leaves_no_trace_of_itself() {
    let secret = "words nobody may read in a log";
    assert_taken(&inbound("+15550200004", &["+15550199999"], secret), "unknown");
    assert!(world().metrics().contains(
        "pgusher_control_sms_events_total{outcome=\"unknown_number\",provider=\"telnyx\"}"
    ));
    let log = world().log();
    assert!(!log.contains(secret) && !log.contains("5550199999"), "in the log");
}

#[test]
fn a_group_of_two_tenants_reaches_both_and_a_group_of_one_tenant_once() {
    let (a, b) = (number(0, "+15550100003"), number(1, "+15550100004"));
    let second = number(0, "+15550100005");
    let body = inbound("+15550200005", &[&a, "+15550177777", &b, &second], "to the group");
    let (status, json) = take(&body);
    assert_eq!((status, &json["stored"], &json["unknown"]), (200, &2.into(), &0.into()));
    let (status, json) = take(&body);
    assert_eq!((status, &json["duplicate"]), (200, &2.into()));
    for n in [0, 1] {
        assert_eq!(stored(&mut inside(n), "to the group"), "1");
    }
}

#[test]
fn a_delivery_never_goes_backwards() {
    let from = number(2, "+15550100006");
    let mut conn = inside(2);
    let steps =
        [("message.sent", "sent"), ("message.finalized", "delivered"), ("message.sent", "queued")];
    for (n, order) in
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].iter().enumerate()
    {
        let id = format!("out-{n}");
        recipient(&mut conn, &id);
        for step in order {
            let (kind, status) = steps[*step];
            let (code, json) = take(&receipt(kind, &from, &id, status));
            assert_eq!((code, &json["stored"]), (200, &1.into()), "{json}");
        }
        let sql = format!(
            r#"SELECT "status" || ("deliveredAt" IS NOT NULL)::text || ("sentAt" IS NOT NULL)::text
               FROM "MessageRecipient" WHERE "providerMessageId" = '{id}'"#
        );
        assert_eq!(conn.one(&sql).unwrap(), "deliveredtruetrue", "{order:?}");
    }
    // A word of the product's own is not overruled.
    recipient(&mut conn, "out-own");
    let sql =
        r#"UPDATE "MessageRecipient" SET "status" = 'read' WHERE "providerMessageId" = 'out-own'"#;
    conn.query(sql).unwrap();
    assert_eq!(take(&receipt("message.finalized", &from, "out-own", "delivered")).0, 200);
    let sql = r#"SELECT "status" FROM "MessageRecipient" WHERE "providerMessageId" = 'out-own'"#;
    assert_eq!(conn.one(sql).unwrap(), "read");
}

fn recipient(conn: &mut Conn, id: &str) {
    let sql = format!(
        r#"WITH m AS (INSERT INTO "Member" ("phone") VALUES ('{id}') RETURNING "id"),
               t AS (INSERT INTO "Message" ("content") VALUES ('x') RETURNING "id")
           INSERT INTO "MessageRecipient" ("messageId", "memberId", "providerMessageId")
           SELECT t."id", m."id", '{id}' FROM m, t"#
    );
    conn.query(&sql).unwrap();
}

#[test]
fn a_receipt_that_comes_before_its_recipient_waits_for_it() {
    let from = number(2, "+15550100007");
    assert_taken(&receipt("message.finalized", &from, "early", "delivered"), "stored");
    assert_taken(&receipt("message.sent", &from, "early", "sent"), "stored");
    let mut conn = inside(2);
    recipient(&mut conn, "early");
    // Whatever comes next for the tenant settles it.
    assert_taken(&inbound("+15550200006", &[&from], "next"), "stored");
    let sql = r#"SELECT "status" FROM "MessageRecipient" WHERE "providerMessageId" = 'early'"#;
    assert_eq!(conn.one(sql).unwrap(), "delivered");
    let sql = "SELECT count(*) FROM pgusher.parked_receipts WHERE message_id = 'early'";
    assert_eq!(conn.one(sql).unwrap(), "0");
    // And nothing need come: it is looked at again.
    assert_taken(&receipt("message.finalized", &from, "lonely", "delivered"), "stored");
    recipient(&mut conn, "lonely");
    let sql = r#"SELECT "status" FROM "MessageRecipient" WHERE "providerMessageId" = 'lonely'"#;
    eventually(Duration::from_secs(30), "it is settled", || {
        (conn.one(sql).unwrap() == "delivered").then_some(())
    });
}

#[test]
fn what_cannot_be_stored_waits_among_the_dead_letters_and_is_replayed() {
    let to = number(3, "+15550100008");
    let mut conn = inside(3);
    let nul = inbound("+15550200007", &[&to], "broken\0words");
    assert_taken(&nul, "dead");
    assert_taken(&nul, "duplicate");
    // The product refuses some words.
    let sql = r#"ALTER TABLE "ConversationMessage" ADD CONSTRAINT polite
                 CHECK ("content" <> 'rude words')"#;
    conn.query(sql).unwrap();
    assert_taken(&inbound("+15550200007", &[&to], "rude words"), "dead");
    let letters = |n: &str| {
        let sql = r#"SELECT count(*) FROM "DeadLetterQueue" WHERE "status" = 'pending'
                     AND "source" = 'telnyx'"#;
        assert_eq!(inside(3).one(sql).unwrap(), n);
    };
    letters("2");
    let id = &world().tenants[3].id;
    let ops = world().ops.to_string();
    let list = world::tools::pgusher(&["tenant", "letters", "list", id, "--ops", &ops]);
    assert_eq!((list.0, list.1["deadLetters"].as_array().unwrap().len()), (0, 2), "{list:?}");
    let told = list.1.to_string();
    assert!(!told.contains("words") && !told.contains("5550"), "{told}");
    // One can be mended by itself, the other not while its constraint stands.
    let replay = ["tenant", "letters", "replay", id, "--ops", &ops];
    let (status, done) = world::tools::pgusher(&replay);
    assert_eq!((status, &done["resolved"], &done["dead"]), (1, &1.into(), &1.into()), "{done}");
    letters("1");
    assert_eq!(stored(&mut conn, "broken\u{fffd}words"), "1");
    conn.query(r#"ALTER TABLE "ConversationMessage" DROP CONSTRAINT polite"#).unwrap();
    let (status, done) = world::tools::pgusher(&replay);
    assert_eq!((status, &done["resolved"]), (0, &1.into()), "{done}");
    letters("0");
    assert_eq!(stored(&mut conn, "rude words"), "1");
    // A page in a browser could send this to loopback; it is not obeyed.
    let path = format!("/tenants/{id}/dead-letters/replay");
    http::call(world().ops, "POST", &path, &[], "").assert_problem(403);
}

#[test]
fn a_tenant_that_is_away_is_brought_it_again_and_has_it_once() {
    let to = number(4, "+15550100009");
    let database = world().tenants[4].database();
    let mut admin = world().superuser("postgres");
    admin.query(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false")).unwrap();
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    admin.query(&cut).unwrap();
    let body = inbound("+15550200008", &[&to], "knock").to_string();
    let begun = Instant::now();
    let answer = bring(world().http, &body);
    answer.assert_problem(503);
    assert!(!answer.header("retry-after").is_empty());
    assert!(begun.elapsed() < Duration::from_secs(2));
    admin.query(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")).unwrap();
    eventually(Duration::from_secs(20), "the tenant is back", || {
        (bring(world().http, &body).status == 200).then_some(())
    });
    assert_eq!(bring(world().http, &body).json["duplicate"], 1);
    assert_eq!(stored(&mut inside(4), "knock"), "1");
}

#[test]
fn a_tenant_that_hangs_is_answered_for_within_two_seconds_and_holds_up_nobody() {
    let (to, other) = (number(5, "+15550100010"), number(1, "+15550100011"));
    let mut holder = inside(5);
    holder.query(r#"BEGIN; LOCK TABLE "Member" IN ACCESS EXCLUSIVE MODE"#).unwrap();
    let bodies: Vec<_> = (0..20)
        .map(|n| inbound("+15550200009", &[&to], &format!("held {n}")).to_string())
        .collect();
    std::thread::scope(|scope| {
        let held: Vec<_> = bodies
            .iter()
            .map(|body| {
                scope.spawn(move || {
                    let begun = Instant::now();
                    (bring(world().http, body).status, begun.elapsed())
                })
            })
            .collect();
        let begun = Instant::now();
        assert_taken(&inbound("+15550200010", &[&other], "passing by"), "stored");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        for thread in held {
            let (status, took) = thread.join().unwrap();
            assert_eq!(status, 503);
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    });
    holder.query("COMMIT").unwrap();
    for (n, body) in bodies.iter().enumerate() {
        eventually(Duration::from_secs(20), "it is taken", || {
            (bring(world().http, body).status == 200).then_some(())
        });
        assert_eq!(stored(&mut inside(5), &format!("held {n}")), "1");
    }
}

#[test]
fn a_corner_that_is_older_is_laid_anew_when_a_message_comes() {
    let to = number(7, "+15550100013");
    let mut conn = inside(7);
    // As a database made before messages were taken has it.
    let old = "DROP SCHEMA pgusher CASCADE; CREATE SCHEMA pgusher";
    conn.query(old).unwrap();
    eventually(Duration::from_secs(20), "it is laid and the message taken", || {
        let body = inbound("+15550200012", &[&to], "to an old house").to_string();
        (bring(world().http, &body).status == 200).then_some(())
    });
    assert_eq!(code(world().session(7).query("SELECT * FROM pgusher.webhook_inbox")), "42501");
    assert_eq!(stored(&mut conn, "to an old house"), "1");
}

#[test]
fn an_adopted_database_takes_messages_too_and_one_with_other_tables_loses_none() {
    let (good, odd) = ("+15550100014", "+15550100015");
    let world = world();
    let server = world.server_addr();
    let mut registry = world.superuser(&world.registry_database());
    let mut admin = world.superuser("postgres");
    admin.query("CREATE ROLE old_login LOGIN PASSWORD 'old'").unwrap();
    let template = world.tenants[8].database();
    let tables: String = ["0001_organisation", "0002_messaging", "0003_operations"]
        .iter()
        .map(|name| std::fs::read_to_string(format!("config/schema/tenant/{name}.sql")).unwrap())
        .collect();
    assert_ne!(template, "tenant_old_good");
    for (id, number, tables) in [
        ("old_good", good, tables.as_str()),
        ("old_odd", odd, r#"CREATE TABLE "Member" ("id" uuid PRIMARY KEY, "mobile" text)"#),
    ] {
        admin.query(&format!("CREATE DATABASE tenant_{id} OWNER old_login")).unwrap();
        let mut inside = world.superuser(&format!("tenant_{id}"));
        inside.query(&format!("SET ROLE old_login; GRANT ALL ON SCHEMA public TO old_login; {tables}"))
            .or_else(|_| inside.query(&format!("RESET ROLE; ALTER SCHEMA public OWNER TO old_login; SET ROLE old_login; {tables}")))
            .unwrap();
        let url = format!("postgresql://old_login:old@{server}/tenant_{id}?connection_limit=5");
        let port = server.port();
        registry
            .query(&format!(
                r#"INSERT INTO "Church" ("id", "name", "email") VALUES ('{id}', 'O', '{id}@o');
                   INSERT INTO "Tenant" ("id", "churchId", "name", "email", "databaseUrl",
                       "databaseHost", "databasePort", "databaseName", "telnyxPhoneNumber")
                   VALUES ('{id}', '{id}', 'O', '{id}@o', '{url}', '127.0.0.1', {port},
                       'tenant_{id}', '{number}')"#
            ))
            .unwrap();
    }
    eventually(Duration::from_secs(20), "the adopted tenant takes it", || {
        let body = inbound("+15550200013", &[good], "hello old one").to_string();
        (bring(world.http, &body).status == 200).then_some(())
    });
    assert_eq!(stored(&mut world.superuser("tenant_old_good"), "hello old one"), "1");
    // No dead letters either: it cannot be kept, so it is not taken.
    let body = inbound("+15550200013", &[odd], "hello odd one").to_string();
    bring(world.http, &body).assert_problem(503);
    let mut inside = world.superuser("tenant_old_odd");
    inside.query(r#"CREATE TABLE "DeadLetterQueue" ("id" text PRIMARY KEY DEFAULT gen_random_uuid()::text,
        "source" text, "externalId" text, "payload" jsonb, "error" text, "attempts" integer,
        "status" text DEFAULT 'pending', "createdAt" timestamptz DEFAULT now());
        GRANT ALL ON "DeadLetterQueue" TO old_login"#).unwrap();
    eventually(Duration::from_secs(20), "it is kept", || {
        let answer = bring(world.http, &body);
        (answer.status == 200).then(|| assert_eq!(answer.json["dead"], 1))
    });
    assert!(world.log().contains("the tenant's tables are not those messages can be stored in"));
    assert!(!world.log().contains("hello odd one"));
}

#[test]
fn nothing_of_all_this_is_in_the_log() {
    let to = number(1, "+15550100016");
    assert_taken(&inbound("+15550200014", &[&to], "a private matter"), "stored");
    let mut strange = inbound("+15550200014", &[&to], "another private matter");
    strange["data"]["payload"]["received_at"] = "the day before +15550200014".into();
    assert_taken(&strange, "dead");
    let log = world().log();
    for word in ["private matter", "15550200014", "15550100016"] {
        assert!(!log.contains(word), "{word} in the log");
    }
}
