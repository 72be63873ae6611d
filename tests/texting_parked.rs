//! Receipts that came too early: none is lost, and none costs a message.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use world::telnyx::{bring, inbound, receipt};
use world::wire::Conn;
use world::{Plan, World, eventually};

/// One tenant for each test.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::start(Plan::tenants(6).telnyx()))
}

/// Tenant `n` with a number of its own, and PostgreSQL itself in its database.
fn office(n: usize) -> (String, Conn) {
    let number = format!("+1555050000{n}");
    world().cli(&["tenant", "phone", "assign", &world().tenants[n].id, &number]);
    (number, inside(n))
}

fn inside(n: usize) -> Conn {
    world().superuser(&world().tenants[n].database())
}

fn take(body: &Value, what: &str) {
    let answer = bring(world().http, &body.to_string());
    assert_eq!((answer.status, &answer.json[what]), (200, &1.into()), "{what}: {answer:?}");
}

/// Whatever comes in does a little for the receipts.
fn nudge(number: &str) {
    take(&inbound("+15550600001", &[number], "a nudge"), "stored");
}

fn park(number: &str, message: &str) {
    take(&receipt("message.finalized", number, message, "delivered"), "stored");
}

fn parked(conn: &mut Conn, message: &str) -> String {
    let sql =
        format!("SELECT count(*) FROM pgusher.parked_receipts WHERE message_id = '{message}'");
    conn.one(&sql).unwrap()
}

fn recipient(conn: &mut Conn, message: &str) {
    let sql = format!(
        r#"WITH m AS (INSERT INTO "Member" ("phone") VALUES ('{message}')
                ON CONFLICT ("phone") DO UPDATE SET "phone" = excluded."phone" RETURNING "id"),
               t AS (INSERT INTO "Message" ("content") VALUES ('x') RETURNING "id")
           INSERT INTO "MessageRecipient" ("messageId", "memberId", "providerMessageId")
           SELECT t."id", m."id", '{message}' FROM m, t"#
    );
    conn.query(&sql).unwrap();
}

fn status(conn: &mut Conn, message: &str) -> String {
    let sql = format!(
        r#"SELECT "status" FROM "MessageRecipient" WHERE "providerMessageId" = '{message}'"#
    );
    conn.one(&sql).unwrap()
}

#[test]
fn a_receipt_whose_recipient_is_held_costs_no_message() {
    let (number, mut conn) = office(0);
    park(&number, "held");
    recipient(&mut conn, "held");
    let mut holder = inside(0);
    holder
        .query(r#"BEGIN; SELECT FROM "MessageRecipient" WHERE "providerMessageId" = 'held' FOR UPDATE"#)
        .unwrap();
    let begun = Instant::now();
    nudge(&number);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(parked(&mut conn, "held"), "1");
    holder.query("COMMIT").unwrap();
    eventually(Duration::from_secs(10), "it is settled", || {
        nudge(&number);
        (status(&mut conn, "held") == "delivered").then_some(())
    });
    assert_eq!(parked(&mut conn, "held"), "0");
}

#[test]
fn a_receipt_is_settled_however_old_it_is_and_however_many_others_wait() {
    let (number, mut conn) = office(1);
    park(&number, "old");
    conn.query("UPDATE pgusher.parked_receipts SET parked_at = now() - interval '23 hours'")
        .unwrap();
    // What comes later for the same message begins the day anew.
    park(&number, "old");
    let young = "SELECT count(*) FROM pgusher.parked_receipts
                 WHERE parked_at > now() - interval '1 minute'";
    assert_eq!(conn.one(young).unwrap(), "1");
    conn.query("UPDATE pgusher.parked_receipts SET parked_at = now() - interval '2 hours'")
        .unwrap();
    conn.query(
        "INSERT INTO pgusher.parked_receipts (provider, message_id, body, parked_at)
         SELECT 'telnyx', 'nobody-' || n, '{\"status\": \"sent\"}', now() - n * interval '1 second'
         FROM generate_series(1, 1000) n",
    )
    .unwrap();
    recipient(&mut conn, "old");
    nudge(&number);
    assert_eq!(
        (status(&mut conn, "old"), parked(&mut conn, "old")),
        ("delivered".into(), "0".into())
    );
    let left = "SELECT count(*) FROM pgusher.parked_receipts";
    assert_eq!(conn.one(left).unwrap(), "1000");
}

#[test]
fn a_receipt_the_product_refuses_is_a_dead_letter_and_the_others_are_settled() {
    let (number, mut conn) = office(2);
    conn.query(
        r#"CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
               IF NEW."providerMessageId" = 'refused' THEN
                   RAISE EXCEPTION 'no' USING ERRCODE = '23514';
               ELSIF NEW."providerMessageId" = 'passing' THEN
                   RAISE EXCEPTION 'not now' USING ERRCODE = '40001';
               END IF;
               RETURN NEW; END $f$;
           CREATE CONSTRAINT TRIGGER picky AFTER UPDATE ON "MessageRecipient"
               DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION picky()"#,
    )
    .unwrap();
    let body = receipt("message.finalized", &number, "refused", "delivered");
    take(&body, "stored");
    for message in ["fine", "passing"] {
        park(&number, message);
    }
    for message in ["refused", "fine", "passing"] {
        recipient(&mut conn, message);
    }
    nudge(&number);
    assert_eq!(status(&mut conn, "fine"), "delivered");
    let left = ["refused", "fine", "passing"].map(|message| parked(&mut conn, message));
    assert_eq!(left, ["0", "0", "1"]);
    let sql = r#"SELECT "source", "externalId", "payload" ->> 'kind', "payload" ->> 'messageId',
                     "payload" -> 'body' ->> 'status', "error" FROM "DeadLetterQueue""#;
    let letters = conn.query(sql).unwrap();
    let letter: Vec<_> = letters[0].iter().map(|field| field.as_deref().unwrap()).collect();
    let event = body["data"]["id"].as_str().unwrap();
    assert_eq!(letter, ["telnyx", event, "receipt", "refused", "delivered", "no"]);
    assert_eq!(letters.len(), 1);
}

/// A dead letter of a receipt whose recipient is not there any more.
fn dead(number: &str, conn: &mut Conn, message: &str) {
    recipient(conn, message);
    let polite =
        r#"ALTER TABLE "MessageRecipient" ADD CONSTRAINT polite CHECK ("status" <> 'delivered')"#;
    conn.query(polite).unwrap();
    take(&receipt("message.finalized", number, message, "delivered"), "dead");
    conn.query(&format!(
        r#"DELETE FROM "MessageRecipient" WHERE "providerMessageId" = '{message}';
           ALTER TABLE "MessageRecipient" DROP CONSTRAINT polite"#
    ))
    .unwrap();
}

fn replayed(tenant: usize) {
    let (id, ops) = (&world().tenants[tenant].id, world().ops.to_string());
    let replay = ["tenant", "letters", "replay", id, "--ops", &ops];
    let (code, done) = world::tools::pgusher(&replay);
    assert_eq!((code, &done["resolved"]), (0, &1.into()), "{done}");
}

#[test]
fn a_dead_receipt_replayed_before_its_recipient_waits_for_it() {
    let (number, mut conn) = office(3);
    dead(&number, &mut conn, "replayed");
    replayed(3);
    assert_eq!(parked(&mut conn, "replayed"), "1");
    recipient(&mut conn, "replayed");
    nudge(&number);
    assert_eq!(status(&mut conn, "replayed"), "delivered");
}

#[test]
fn the_corner_of_the_version_before_is_brought_to_this_one_by_a_replay() {
    let (number, mut conn) = office(5);
    dead(&number, &mut conn, "old");
    put_back(&mut conn);
    replayed(5);
    assert_eq!(parked(&mut conn, "old"), "1");
}

/// Leaves pgusher's corner as the version before did.
fn put_back(conn: &mut Conn) {
    let files: String = ["0002_sms", "0003_final"]
        .iter()
        .map(|name| std::fs::read_to_string(format!("config/schema/pgusher/{name}.sql")).unwrap())
        .collect();
    conn.query(&format!(
        "CREATE TABLE public.before AS TABLE pgusher.tenant_mark;
         CREATE TABLE public.history AS TABLE pgusher._pgusher_migrations;
         DROP SCHEMA pgusher CASCADE; CREATE SCHEMA pgusher;
         {}
         {files}
         INSERT INTO pgusher.tenant_mark TABLE public.before;
         CREATE TABLE pgusher._pgusher_migrations (LIKE public.history INCLUDING ALL);
         INSERT INTO pgusher._pgusher_migrations SELECT * FROM public.history WHERE number < 4;
         DROP TABLE public.before, public.history;
         GRANT USAGE ON SCHEMA pgusher TO pgusher_sidecar;
         GRANT ALL ON ALL TABLES IN SCHEMA pgusher TO pgusher_sidecar;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgusher TO pgusher_sidecar",
        std::fs::read_to_string("config/schema/pgusher/0001_mark.sql").unwrap()
    ))
    .unwrap();
}

#[test]
fn the_corner_of_the_version_before_is_brought_to_this_one_by_a_message() {
    let (number, mut conn) = office(4);
    put_back(&mut conn);
    eventually(Duration::from_secs(20), "it is laid and the message taken", || {
        let body = inbound("+15550600001", &[&number], "to the version before").to_string();
        (bring(world().http, &body).status == 200).then_some(())
    });
    let newest = "SELECT max(number) FROM pgusher._pgusher_migrations";
    assert_eq!(conn.one(newest).unwrap(), "4");
    park(&number, "after");
    recipient(&mut conn, "after");
    nudge(&number);
    assert_eq!(status(&mut conn, "after"), "delivered");
}
