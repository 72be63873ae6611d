//! What the drivers' own suites found pgusher to do otherwise than PostgreSQL, each as a test of
//! its own.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use world::pipeline::told;
use world::wire;
use world::{Plan, World, code};

/// pg8000 parses in one transaction, describes in the next and binds in a third, however long the
/// statement is.
#[test]
fn a_long_unnamed_statement_outlives_its_transaction() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "2"));
    let (mut client, mut other) = (world.session(0), world.session(0));
    for kib in [1, 15, 16, 17, 100, 1_000, 1_100, 9_000] {
        let sql = format!("select length('{}')", "x".repeat(kib << 10));
        client.say(&[wire::parse("", &sql), wire::sync()].concat()).unwrap();
        client.rows().unwrap();
        // Somebody else uses the server, and the unnamed statement there.
        other.say(&[wire::parse("", "select 'other'"), wire::sync()].concat()).unwrap();
        other.rows().unwrap();
        let again = [wire::bind("", &[]), wire::execute(), wire::sync()].concat();
        client.say(&again).unwrap();
        let rows = client.rows().unwrap_or_else(|e| panic!("{kib} KiB: {e:?}"));
        assert_eq!(rows[0][0].as_deref(), Some(&*(kib << 10).to_string()));
    }
}

/// PostgreSQL turns an untyped literal into a constant when it reads the statement: by the time zone
/// of then. Two clients with one text have two statements.
#[test]
fn a_text_is_read_by_its_own_clients_settings() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    let (mut tokyo, mut utc) = (world.session(0), world.session(0));
    tokyo.query("set timezone = 'Asia/Tokyo'").unwrap();
    utc.query("set timezone = 'UTC'").unwrap();
    let sql = "select extract(epoch from '2024-01-01 00:00'::timestamptz)::bigint";
    for (client, epoch) in [(&mut tokyo, "1704034800"), (&mut utc, "1704067200")] {
        client.say(&[wire::parse("named", sql), wire::sync()].concat()).unwrap();
        client.rows().unwrap();
        let all = [wire::bind("named", &[]), wire::execute(), wire::sync()].concat();
        client.say(&all).unwrap();
        assert_eq!(client.rows().unwrap()[0][0].as_deref(), Some(epoch));
    }
}

/// What is longer than a client's statements may be together is not kept; it runs all the same.
#[test]
fn an_unnamed_statement_beyond_the_bound_runs_at_once() {
    let plan = Plan::tenants(1).set("session.prepared_bytes_max", "64KiB");
    let world = World::start(plan);
    let mut client = world.session(0);
    let sql = format!("select length('{}')", "x".repeat(100 << 10));
    let all = [wire::parse("", &sql), wire::bind("", &[]), wire::execute(), wire::sync()].concat();
    client.say(&all).unwrap();
    assert_eq!(client.rows().unwrap()[0][0].as_deref(), Some("102400"));
    // Behind that, who uses it is told of the limit.
    let run = [wire::bind("", &[]), wire::execute(), wire::sync()].concat();
    let describe = [wire::message(b'D', b"S\0"), wire::sync()].concat();
    let other = [wire::bind("nope", &[]), wire::bind("", &[]), wire::sync()].concat();
    for (said, state) in [(&run, "54000"), (&describe, "54000"), (&other, "26000")] {
        client.say(said).unwrap();
        assert_eq!(code(client.rows()), state);
    }
    client.say(&run).unwrap();
    let refusal = client.rows().err().unwrap();
    assert_eq!(client.one("select 1").as_deref(), Ok("1"));
    client.say(&run).unwrap();
    assert_eq!(code(client.rows()), "26000", "a simple query leaves none");
    client.say(&[wire::parse("named", &sql), wire::sync()].concat()).unwrap();
    let named = client.rows().err().unwrap();
    assert_eq!((refusal.code, refusal.message), (named.code, named.message));
}

/// A client's long unnamed statement and its named ones are bounded together.
#[test]
fn named_statements_take_the_room_of_a_long_unnamed_one() {
    let plan = Plan::tenants(1).set("session.prepared_bytes_max", "3MiB");
    let world = World::start(plan);
    let mut client = world.session(0);
    let text = |kib: usize| format!("select length('{}')", "x".repeat(kib << 10));
    let run = [wire::bind("", &[]), wire::execute(), wire::sync()].concat();
    let mut say = |said: &[u8]| {
        client.say(said).unwrap();
        client.rows().map_or_else(|e| e.code, |rows| format!("{rows:?}"))
    };
    say(&[wire::parse("", &text(2_000)), wire::sync()].concat());
    assert!(say(&run).contains("2048000"));
    say(&[wire::parse("one", &text(900)), wire::sync()].concat());
    assert!(say(&run).contains("2048000"), "there is room for both");
    say(&[wire::parse("two", &text(900)), wire::sync()].concat());
    assert_eq!(say(&run), "54000");
    say(&[wire::parse("", &text(2_000)), wire::sync()].concat());
    assert_eq!(say(&run), "54000");
    say(&[wire::message(b'C', b"Stwo\0"), wire::sync()].concat());
    say(&[wire::parse("", &text(2_000)), wire::sync()].concat());
    assert!(say(&run).contains("2048000"));
}

#[test]
fn with_own_database_names_another_database_does_not_exist() {
    let world = World::start(Plan::tenants(1).set("session.database_names", "own"));
    let tenant = &world.tenants[0];
    let mut session = world.login(&tenant.login()).unwrap();
    assert_eq!(session.one("select current_database()"), Ok(tenant.database()));
    for mode in ["transaction", "session"] {
        let login = tenant.login().database("app");
        let option = format!("-c pgusher.pool_mode={mode}");
        let refusal = world.login(&login.with("options", &option)).err().unwrap();
        assert_eq!((&*refusal.severity, &*refusal.code), ("FATAL", "3D000"), "{refusal:?}");
        assert_eq!(refusal.message, "database \"app\" does not exist");
    }
}

/// A NotificationResponse's sender, channel and payload.
fn notifications(heard: &[wire::Message]) -> Vec<(u32, String)> {
    let told = heard.iter().filter(|m| m.tag == b'A');
    told.map(|m| {
        let (pid, rest) = m.body.split_first_chunk::<4>().unwrap();
        (u32::from_be_bytes(*pid), String::from_utf8_lossy(rest).replace('\0', " "))
    })
    .collect()
}

/// Clients know themselves and each other by the process id they were told at login, and drivers
/// compare it with that of a notification: to pass over their own, say.
#[test]
fn a_notification_names_its_sender_as_the_sender_knows_itself() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "2"));
    let mut listener = world.session(0);
    let mut others = [world.session(0), world.session(0)];
    listener.query("listen news").unwrap();
    listener.say(&wire::query("notify news, 'own'")).unwrap();
    let heard = listener.hear_all().unwrap();
    assert_eq!(notifications(&heard), [(listener.pid, "news own ".to_owned())]);
    for round in 0..3 {
        for other in &mut others {
            other.query(&format!("notify news, '{round}'")).unwrap();
            listener.say(&wire::query("select 1")).unwrap();
            let heard = listener.hear_all().unwrap();
            assert_eq!(notifications(&heard), [(other.pid, format!("news {round} "))]);
        }
    }
    // In what pgusher asks the server in between, too.
    others[0].query("notify news, 'late'").unwrap();
    listener.say(&wire::query("set work_mem = '5MB'")).unwrap();
    let mut heard = listener.hear_all().unwrap();
    listener.say(&wire::query("select 1")).unwrap();
    heard.extend(listener.hear_all().unwrap());
    assert_eq!(notifications(&heard), [(others[0].pid, "news late ".to_owned())]);
}

/// `EXECUTE` of what was prepared by the protocol, itself sent by the extended protocol; in a later
/// transaction, on another server, too.
#[test]
fn a_statement_prepared_by_the_protocol_is_executed_by_name() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "2"));
    let mut client = world.session(0);
    client.say(&[wire::parse("foobar", "select 41 + 1"), wire::sync()].concat()).unwrap();
    client.rows().unwrap();
    let run = |name: &str| [wire::bind(name, &[]), wire::execute(), wire::sync()].concat();
    for name in ["", "again"] {
        let parse = [wire::parse(name, "execute foobar"), wire::sync()].concat();
        client.say(&parse).unwrap();
        client.rows().unwrap_or_else(|e| panic!("{name:?}: {e:?}"));
        client.say(&run(name)).unwrap();
        assert_eq!(client.rows().unwrap()[0][0].as_deref(), Some("42"), "{name:?}");
        // Whoever holds the server it was prepared on.
        let mut other = world.session(0);
        other.query("begin").unwrap();
        client.say(&run(name)).unwrap();
        assert_eq!(client.rows().unwrap()[0][0].as_deref(), Some("42"), "{name:?}");
        other.query("rollback").unwrap();
    }
    client.say(&[wire::parse("", "execute nosuch"), run("")].concat()).unwrap();
    assert_eq!(code(client.rows()), "26000");
}

/// sqlx asks which columns may be NULL with an EXPLAIN of what it has prepared.
#[test]
fn a_statement_prepared_by_the_protocol_is_explained_and_made_a_table_of() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "2"));
    let mut client = world.session(0);
    let parse = wire::parse("sqlx_s_1", "select $1::int + 1 as n");
    client.say(&[parse, wire::sync()].concat()).unwrap();
    client.rows().unwrap();
    let run = |name: &str| [wire::bind(name, &[]), wire::execute(), wire::sync()].concat();
    for (at, sql) in [
        "explain (verbose, format json) execute sqlx_s_1(null)",
        "EXPLAIN ANALYZE EXECUTE sqlx_s_1(41)",
        "create temp table made on commit drop as execute sqlx_s_1(41)",
        "CREATE TABLE made_too AS EXECUTE sqlx_s_1(41)",
    ]
    .iter()
    .enumerate()
    {
        // Whoever holds the server it was prepared on.
        let mut other = world.session(0);
        other.query("begin").unwrap();
        let name = format!("named{at}");
        client.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        client.query("drop table if exists made_too").unwrap();
        for name in ["", &name] {
            client.say(&[wire::parse(name, sql), run(name)].concat()).unwrap();
            client.rows().unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            if at == 3 {
                assert_eq!(client.one("select n from made_too").as_deref(), Ok("42"));
            }
            client.query("drop table if exists made_too").unwrap();
        }
        client.say(&run(&name)).unwrap();
        client.rows().unwrap_or_else(|e| panic!("{sql}, again: {e:?}"));
        client.query("drop table if exists made_too").unwrap();
        other.query("rollback").unwrap();
    }
    client.say(&wire::query("explain execute nosuch")).unwrap();
    assert_eq!(code(client.rows()), "26000");
}

/// What other clients have prepared on a shared server is not shown.
#[test]
fn a_session_sees_its_own_prepared_statements_only() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    let (mut client, mut other) = (world.session(0), world.session(0));
    let count = "select count(*) from pg_prepared_statements";
    for session in [&mut client, &mut other] {
        session.say(&[wire::parse("mine", "select 1"), wire::sync()].concat()).unwrap();
        session.rows().unwrap();
    }
    assert_eq!(other.one(count).as_deref(), Ok("1"));
    other.say(&[wire::message(b'C', b"Smine\0"), wire::sync()].concat()).unwrap();
    other.rows().unwrap();
    assert_eq!(other.one(count).as_deref(), Ok("0"));
    for session in [&mut other, &mut client] {
        let parse = wire::parse("mine", "select 1");
        let run = [wire::bind("mine", &[]), wire::execute(), wire::sync()].concat();
        session.say(&[parse, wire::sync()].concat()).unwrap();
        let _ = session.rows();
        session.say(&run).unwrap();
        assert_eq!(session.rows().unwrap()[0][0].as_deref(), Some("1"));
    }
}

/// However it is asked for, and whoever asked for something else before: no text of another
/// client's is shown, and the other client goes on with its statement.
#[test]
fn no_way_to_ask_shows_another_client_s_statements() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    let (mut client, mut other) = (world.session(0), world.session(0));
    let secret = "select 'not for others'";
    client.say(&[wire::parse("mine", secret), wire::sync()].concat()).unwrap();
    client.rows().unwrap();
    for sql in [
        "create view shown as select * from pg_prepared_statements",
        "create view shown_too as select s.statement from shown s",
        "create function told() returns setof text language sql as \
         'select statement from pg_prepared_statements'",
        "create function any_text(t text) returns setof text language plpgsql as \
         $$ begin return query execute t; end $$",
    ] {
        other.query(sql).unwrap();
    }
    let asked = "select statement from pg_prepared_statements";
    other.say(&[wire::parse("lists", asked), wire::sync()].concat()).unwrap();
    other.rows().unwrap();
    let long = format!("select '{}', statement from pg_prepared_statements", "x".repeat(40_000));
    let texts = [
        asked,
        "select statement from PG_Prepared_Statements",
        "select statement from \"pg_prepared_statements\"",
        "select statement from U&\"pg\\005fprepared_statements\"",
        "select statement from pg_prepared_statement()",
        "select statement from shown",
        "select statement from shown_too",
        "select told()",
        "select any_text('select statement from pg_prep' || 'ared_statements')",
        "select query_to_xml('select statement from pg_prep' || 'ared_statements', true, true, '')",
        "select table_to_xml('pg_prepared_statements', true, true, '')",
        "select word from ts_stat('select to_tsvector(statement) from pg_prepared_statements')",
        &long,
    ];
    let batch = |sql: &str| [wire::parse("", sql), wire::bind("", &[]), wire::execute()].concat();
    let bound = [wire::bind("lists", &[]), wire::execute()].concat();
    let mut asks = vec![[bound, wire::sync()].concat(), wire::query("execute lists")];
    asks.extend(texts.iter().map(|sql| wire::query(sql)));
    asks.extend(texts.iter().map(|sql| [batch(sql), wire::sync()].concat()));
    asks.extend(texts.iter().map(|sql| [batch("select 1"), batch(sql), wire::sync()].concat()));
    other.query("create table stale (n int)").unwrap();
    let stale = [wire::parse("stale", "select * from stale"), wire::sync()].concat();
    other.say(&stale).unwrap();
    other.rows().unwrap();
    for (n, ask) in asks.iter().enumerate() {
        for (turn, inside) in [false, true, false, true, false].into_iter().enumerate() {
            let run = [wire::bind("mine", &[]), wire::execute(), wire::sync()].concat();
            client.say(&run).unwrap();
            assert_eq!(client.rows().unwrap()[0][0].as_deref(), Some("not for others"), "{n}");
            // What makes pgusher doubt its book of what is prepared there.
            match turn {
                2 => assert_eq!(code(other.query("deallocate pgusher_x")), "26000"),
                3 => {
                    other.say(&[wire::parse("lists", "select 1"), wire::sync()].concat()).unwrap();
                    assert_eq!(code(other.rows()), "42P05");
                }
                4 => {
                    let run = [wire::bind("stale", &[]), wire::execute(), wire::sync()].concat();
                    let alter = "alter table stale alter n type bigint using n";
                    other.query("begin").unwrap();
                    other.say(&run).unwrap();
                    other.rows().unwrap();
                    other.query(&format!("savepoint a; {alter}")).unwrap();
                    other.say(&run).unwrap();
                    assert_eq!(code(other.rows()), "0A000");
                    other.query("rollback").unwrap();
                }
                _ => {}
            }
            if inside {
                other.query("begin").unwrap();
            }
            other.say(ask).unwrap();
            let rows = other.rows().unwrap_or_else(|e| panic!("{n}: {e:?}"));
            let shown = format!("{rows:?}");
            assert!(!shown.contains("for others") && !shown.contains("other'"), "{n}: {shown}");
            if inside {
                other.query("commit").unwrap();
            }
        }
    }
}

/// PostgreSQL fixes the types of parameters when it reads a statement: a column that becomes another
/// type changes nothing for who sends values of the old one.
#[test]
fn what_a_client_was_told_of_parameters_stays_true() {
    let world = World::start(Plan::tenants(1).set("limits.server_max", "2"));
    let (mut client, mut other) = (world.session(0), world.session(0));
    other.query("create table mine (a int)").unwrap();
    for (name, text) in
        [("i", "insert into mine values ($1)"), ("s", "select 'found' from mine where a = $1")]
    {
        let describe = wire::message(b'D', &[b"S", name.as_bytes(), b"\0"].concat());
        client.say(&[wire::parse(name, text), describe, wire::sync()].concat()).unwrap();
        client.rows().unwrap();
    }
    // Four bytes, as an int4.
    let run = |name: &str, value: i32| {
        let counts = [b"\0\x01\0\x01\0\x01\0\0\0\x04", &value.to_be_bytes()[..], b"\0\0"].concat();
        let bind = wire::message(b'B', &[b"\0", name.as_bytes(), b"\0", &counts].concat());
        [bind, wire::execute(), wire::sync()]
    };
    assert_eq!(told(&mut client, &run("i", 8), 1), "2 C ZI ");
    for becomes in ["bigint", "real", "int"] {
        other.query(&format!("alter table mine alter a type {becomes}")).unwrap();
        assert_eq!(told(&mut client, &run("i", 9), 1), "2 C ZI ", "{becomes}");
        assert_eq!(told(&mut client, &run("s", 8), 1), "2 Dfound C ZI ", "{becomes}");
    }
    let sum = "select sum(a)::int from mine";
    assert_eq!(other.one(sum).as_deref(), Ok("35"), "8 + 3 * 9");
    world.assert_no_panic();
}
