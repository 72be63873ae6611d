//! Each hint by the statements that earn it, and by those that look like it.

use super::{check, read};
use crate::session::lexer::key::{ALL, Key};
use crate::session::lexer::{Hints as H, Lexer, Verb, body_hints};

const NONE: H = H::NONE;

#[test]
fn every_known_word_is_found_in_any_case() {
    for (text, known) in ALL {
        assert_eq!(Key::of(text.as_bytes()), Key::Word(*known), "{text}");
        assert_eq!(Key::of(text.to_uppercase().as_bytes()), Key::Word(*known), "{text}");
        assert!(!Key::of(format!("{text}x").as_bytes()).is(*known), "{text}");
    }
}

#[test]
fn ordinary_statements_name_nothing() {
    check(&[
        ("", NONE),
        (" ; ;; -- nothing\n", NONE),
        ("SELECT abalance FROM pgbench_accounts WHERE aid = 1", NONE),
        ("select 1 as set, temp, hold, discard from load", NONE),
        ("INSERT INTO temp VALUES (1)", NONE),
        ("with x as (insert into temp values (1) returning *) select * from x", NONE),
        ("UPDATE t SET session = 'local', a.b = 2", NONE),
        ("MERGE INTO temp USING s ON true WHEN MATCHED THEN DELETE", NONE),
        ("CREATE TABLE temp (hold int)", NONE),
        ("CREATE UNLOGGED TABLE u ()", NONE),
        ("SELECT x.temp, y.nextval(1) FROM z", H::SEQ_NEXT),
        ("SELECT 'set_config', $$pg_advisory_lock$$, $q$pg_temp$q$, E'lastval'", NONE),
        ("ALTER ROLE r SET a.b = 1", NONE),
        ("ALTER TABLE t SET TABLESPACE x", NONE),
        ("SHOW ALL", NONE),
        ("(SELECT 1) UNION (SELECT 2)", NONE),
        ("FETCH ALL FROM c", NONE),
        ("SELECT replace(temp, 'a', 'b')", NONE),
        ("SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)", NONE),
    ]);
}

#[test]
fn a_text_that_writes_says_so_wherever_it_does() {
    for (text, writes) in [
        ("INSERT INTO t VALUES (1)", true),
        ("with x as (insert into t values (1) returning a) select a from x", true),
        ("EXPLAIN ANALYZE UPDATE t SET a = 1", true),
        ("COPY (DELETE FROM t RETURNING *) TO STDOUT", true),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", true),
        ("SELECT 'insert', inserted FROM t", false),
    ] {
        assert_eq!(read(text).hints.contains(H::WRITE), writes, "{text}");
    }
    let text = "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC INSERT INTO t VALUES (1); END";
    assert!(read(text).latent.contains(H::WRITE));
}

#[test]
fn settings_are_session_wide_unless_local() {
    check(&[
        ("SET x = 1", H::SET),
        ("SET SESSION x TO 1", H::SET),
        ("SET LOCAL x TO 1", H::SET_LOCAL),
        ("SET LOCAL ROLE r", H::SET_LOCAL | H::READ_BY),
        ("SET LOCAL TIME ZONE 'UTC'", H::SET_LOCAL | H::READ_BY),
        ("SET LOCAL SCHEMA 'a'", H::SET_LOCAL | H::READ_BY),
        ("SET LOCAL \"Search_Path\" = a", H::SET_LOCAL | H::READ_BY),
        ("SELECT set_config('role', 'b', true)", H::SET_LOCAL | H::READ_BY),
        ("SET LOCAL SESSION AUTHORIZATION r", H::SET_LOCAL | H::READ_BY),
        ("SET local.x = 1", H::SET),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", H::SET_LOCAL),
        ("SET CONSTRAINTS ALL DEFERRED", H::SET_LOCAL),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", H::SET),
        ("SET ROLE NONE", H::SET),
        ("SET SESSION AUTHORIZATION DEFAULT", H::SET),
        ("RESET ALL", H::SET),
        ("RESET ROLE", H::SET),
        ("SET search_path = public, pg_temp", H::SET | H::TEMP),
        ("SET search_path = 'pg_temp'", H::SET | H::TEMP),
        ("SET LOCAL a = 1; SET b = 1", H::SET_LOCAL | H::SET),
        ("SELECT set_config('a', 'b', false)", H::SET),
        ("SELECT pg_catalog.\"set_config\"('a', 'b', false)", H::SET),
        ("SELECT SET_CONFIG('a', $1, TRUE)", H::SET_LOCAL),
        ("SELECT set_config('a.b', x(1, (2)), true), set_config('c', 'd', true)", H::SET_LOCAL),
        ("SELECT set_config('a', 'b', true), set_config('a', 'b', $1)", H::SET_LOCAL | H::SET),
        ("SELECT set_config('a', 'b', true and false)", H::SET),
        ("SELECT set_config('a', set_config('b', 'c', true), false)", H::SET | H::SET_LOCAL),
        ("SELECT set_config($1, 'b', true)", H::SET_LOCAL | H::READ_BY),
        ("SELECT set_config($1, 'b', false)", H::SET | H::UNSURE | H::COMPUTED),
        ("SELECT set_config('search_path', 'pg_temp', false)", H::SET | H::TEMP),
    ]);
}

#[test]
fn what_a_session_keeps_is_named() {
    check(&[
        ("PREPARE p (int) AS SELECT $1", H::PREPARE),
        ("PREPARE transaction AS SELECT 1", H::PREPARE),
        ("EXECUTE p(1)", H::EXECUTE),
        ("EXPLAIN (ANALYZE, COSTS off) EXECUTE p(1)", H::EXECUTE),
        ("EXPLAIN ANALYZE VERBOSE EXECUTE p", H::EXECUTE),
        ("CREATE TABLE t AS EXECUTE p", H::EXECUTE),
        ("DEALLOCATE p", H::DEALLOCATE),
        ("LISTEN c", H::LISTEN),
        ("UNLISTEN *", H::UNLISTEN),
        ("NOTIFY c, 'x'", H::NOTIFY),
        ("SELECT pg_notify('a', 'b')", H::NOTIFY),
        ("DECLARE c CURSOR FOR SELECT 1", H::CURSOR),
        ("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1", H::CURSOR | H::HOLD),
        ("DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", H::CURSOR),
        ("CLOSE c", H::CLOSE),
        ("LOAD 'auto_explain'", H::LOAD),
        ("DISCARD ALL", H::DISCARD | H::NO_BLOCK),
        ("DISCARD TEMP", H::DISCARD),
        ("CALL p()", H::CALL),
        ("SELECT currval('s'), lastval()", H::SEQ_READ),
        ("SELECT nextval('s')", H::SEQ_NEXT),
        ("SELECT setval('s', 1)", H::SEQ_NEXT),
        ("SELECT setseed(0.5)", H::SETSEED),
        ("SET seed = 0.5", H::SET | H::SETSEED),
        ("SET LOCAL \"Seed\" TO 0.5", H::SET_LOCAL | H::SETSEED),
        ("SELECT set_config('seed', $1, false)", H::SET | H::SETSEED),
        ("SELECT set_config('seed', $1, true)", H::SET_LOCAL | H::SETSEED),
        ("SELECT seed, seed() FROM seeds WHERE seed = 'seed'", NONE),
        ("SELECT set_limit(0.5)", H::SET),
        ("DROP TABLE t", H::DROP),
        ("SELECT dblink_connect('c', 'dbname=x')", H::SESSION_FUNCTION),
        ("SELECT pg_create_physical_replication_slot('a', false, true)", H::SESSION_FUNCTION),
        ("COPY t FROM STDIN", H::COPY),
        ("LOCK TABLE t", H::LOCK),
        ("SELECT * FROM PG_Prepared_Statements", H::LISTS),
        ("SELECT * FROM \"pg_prepared_statements\", pg_catalog.pg_prepared_statement()", H::LISTS),
        ("TABLE pg_prepared_xacts", NONE),
        ("SELECT * FROM pg_settings", H::SETTINGS),
        ("SELECT * FROM pg_settings_too", NONE),
        ("UPDATE t SET a = 1; TABLE pg_settings", H::SETTINGS),
        ("UPDATE pg_catalog.\"pg_settings\" SET a = 1", H::SETTINGS | H::SET),
        ("UPDATE PG_SETTINGS AS s SET a = 1", H::SETTINGS | H::SET),
        ("SELECT query_to_xml($1, true, true, ''), xpath('a', x)", H::DYNAMIC | H::READ_BY),
        ("SELECT table_to_xml_and_xmlschema('t', true, true, '')", H::DYNAMIC | H::READ_BY),
        ("SELECT * FROM ts_stat('SELECT v FROM t')", H::DYNAMIC | H::READ_BY),
    ]);
}

#[test]
fn temporary_things_are_named() {
    check(&[
        ("CREATE TEMP TABLE t ()", H::TEMP),
        ("create temporary view v as select 1", H::TEMP),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", H::TEMP),
        ("CREATE LOCAL TEMPORARY TABLE t ()", H::TEMP),
        ("CREATE GLOBAL TEMP SEQUENCE s", H::TEMP),
        ("CREATE/**/TEMP--\nTABLE t ()", H::TEMP),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", H::TEMP),
        ("SELECT 1 INTO TEMP t", H::TEMP),
        ("SELECT 1 INTO LOCAL TEMPORARY TABLE t", H::TEMP),
        ("CREATE TABLE pg_temp.t ()", H::TEMP),
        ("CREATE TABLE \"pg_temp\".t ()", H::TEMP),
        ("CREATE TABLE PG_TEMP_3.t ()", H::TEMP),
        ("SELECT pg_temp.f()", H::TEMP),
    ]);
}

#[test]
fn what_others_see_is_changed_by_what_is_not_plainly_temporary() {
    for (text, changes) in [
        ("CREATE TEMP TABLE t AS SELECT 1", false),
        ("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1", false),
        ("CREATE LOCAL TEMP SEQUENCE s; SELECT 1", false),
        ("SELECT 1 AS create INTO TEMP t", false),
        ("CREATE TABLE t ()", true),
        ("CREATE TABLE temp ()", true),
        ("CREATE TABLE pg_temp.t ()", true),
        ("CREATE TEMP TABLE t (); CREATE TABLE u ()", true),
        ("CREATE TABLE u (); CREATE TEMP TABLE t ()", true),
        ("CREATE TABLE u (); CREATE TEMP TABLE t (", true),
        ("ALTER TABLE t ADD temp int", true),
        ("DROP TABLE IF EXISTS temp", true),
    ] {
        assert_eq!(read(text).hints.contains(H::DDL), changes, "{text}");
    }
}

#[test]
fn advisory_locks_are_named_but_for_those_of_the_transaction() {
    for function in [
        "pg_advisory_lock",
        "pg_advisory_lock_shared",
        "pg_advisory_unlock",
        "pg_advisory_unlock_all",
        "pg_try_advisory_lock",
        "PG_TRY_ADVISORY_LOCK_SHARED",
        "my_pg_advisory_thing",
        "\"pg_advisory_lock\"",
    ] {
        assert_eq!(read(&format!("SELECT pg_catalog.{function}(1)")).hints, H::ADVISORY);
    }
    assert_eq!(read("SELECT school_advisory_board()").hints, NONE);
}

#[test]
fn transactions_are_told_apart() {
    check(&[
        ("BEGIN", H::BEGIN),
        ("START TRANSACTION READ ONLY", H::BEGIN),
        ("COMMIT WORK", H::COMMIT),
        ("END", H::COMMIT),
        ("ROLLBACK AND CHAIN", H::ROLLBACK),
        ("ABORT", H::ROLLBACK),
        ("SAVEPOINT s", H::SAVEPOINT),
        ("RELEASE SAVEPOINT s", H::RELEASE),
        ("ROLLBACK TO s", H::ROLLBACK_TO),
        ("ROLLBACK TRANSACTION TO SAVEPOINT s", H::ROLLBACK_TO),
        ("PREPARE TRANSACTION 'x'", H::TWO_PHASE | H::NO_BLOCK),
        ("COMMIT PREPARED 'x'", H::TWO_PHASE | H::NO_BLOCK),
        ("ROLLBACK PREPARED 'x'", H::TWO_PHASE | H::NO_BLOCK),
        ("COMMIT; COMMIT PREPARED 'x'", H::COMMIT | H::TWO_PHASE | H::NO_BLOCK),
        ("BEGIN; SELECT 1; COMMIT", H::BEGIN | H::COMMIT),
    ]);
}

#[test]
fn what_no_transaction_block_may_hold_is_named() {
    check(&[
        ("VACUUM t", H::NO_BLOCK),
        ("CREATE DATABASE d", H::NO_BLOCK),
        ("DROP DATABASE IF EXISTS d", H::NO_BLOCK | H::DROP),
        ("ALTER DATABASE d SET TABLESPACE t", H::NO_BLOCK),
        ("ALTER DATABASE d SET a.b = 1", NONE),
        ("ALTER SYSTEM RESET ALL", H::NO_BLOCK),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", H::NO_BLOCK),
        ("DROP INDEX CONCURRENTLY i", H::NO_BLOCK | H::DROP),
        ("REINDEX (VERBOSE) DATABASE d", H::NO_BLOCK),
        ("REINDEX TABLE t", NONE),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", NONE),
        ("CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", H::NO_BLOCK),
    ]);
}

#[test]
fn a_body_is_read_for_what_it_names() {
    let body = H::DO | H::IN_BODY;
    let computed = body | H::SET | H::DYNAMIC;
    check(&[
        ("DO $$ BEGIN UPDATE t\nSET x = 1; END $$", body),
        ("DO $$ BEGIN UPDATE pg_settings s\nSET x = 1; END $$", body | H::SETTINGS | H::SET),
        ("DO $$ BEGIN PERFORM * FROM pg_settings; END $$", body | H::SETTINGS),
        ("DO $$ BEGIN -- set up\n PERFORM 1; END $$", H::DO),
        ("DO $$ BEGIN -- so\n SET a = 1; END $$", body | H::SET),
        ("DO $$ BEGIN /* so */ SET LOCAL a = 1; END $$", body | H::SET_LOCAL),
        ("DO $$ BEGIN SET LOCAL TIME ZONE 1; END $$", body | H::SET_LOCAL | H::READ_BY),
        ("DO $$ BEGIN SET LOCAL \"role\" = x; END $$", body | H::SET_LOCAL | H::READ_BY),
        ("DO $$ BEGIN PERFORM set_config('a', 'b', false); END $$", body | H::SET),
        ("DO 'BEGIN PERFORM pg_advisory_lock(1); END' LANGUAGE plpgsql", body | H::ADVISORY),
        ("DO LANGUAGE plpgsql $x$ BEGIN CREATE TEMP TABLE t (); END $x$", body | H::TEMP),
        ("DO $$ BEGIN EXECUTE 'LISTEN c'; END $$", body | H::LISTEN | H::DYNAMIC | H::READ_BY),
        ("DO $$ BEGIN EXECUTE 'set ' || x; END $$", computed | H::READ_BY),
        ("DO $$ BEGIN EXECUTE format($q$SET %I = 1$q$, a); END $$", computed | H::READ_BY),
        ("DO E'BEGIN\\nPERFORM set_config(''a'', ''b'', false); END'", body | H::SET),
        ("DO E'BEGIN \\x73et_config(); END'", H::DO | H::UNSURE),
        ("DO 'BEGIN PERFORM set_'\n'config(a, b, c); END'", computed),
        ("DO LANGUAGE plperl $$ $_SHARED{x} = 1 $$", H::DO | H::FOREIGN | H::READ_BY),
        ("DO $$ GD['x'] = 1 $$ LANGUAGE \"plpython3u\"", H::DO | H::FOREIGN | H::READ_BY),
        ("DO $$ BEGIN SET seed = 1; END $$", body | H::SET | H::SETSEED),
        ("DO $$ BEGIN SET LOCAL seed = 1; END $$", body | H::SET_LOCAL | H::SETSEED),
        ("DO 'BEGIN set_config(''seed'', x, false); END'", body | H::SET | H::SETSEED),
        ("DO $$ BEGIN set_config('a', seed, false); END $$", body | H::SET),
        ("DO $$ BEGIN DISCARD TEMP; END $$", body | H::DISCARD),
        ("DO $$ DECLARE c CURSOR FOR SELECT 1; BEGIN OPEN c; CLOSE c; COMMIT; END $$", H::DO),
        ("DO $a$ $b$ set_config $b$ $$ $a $a$", body | H::SET),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT lastval()::int'",
            H::CREATE_FUNCTION | H::SEQ_READ | H::IN_BODY,
        ),
        (
            "CREATE OR REPLACE PROCEDURE p() SET search_path = x AS $$ $$ LANGUAGE sql",
            H::CREATE_FUNCTION,
        ),
        ("CREATE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()", NONE),
    ]);
    assert_eq!(body_hints(b"SELECT pg_advisory_lock(1)"), H::ADVISORY | H::IN_BODY);
    assert_eq!(body_hints(b"SET a.b = 1"), H::SET | H::IN_BODY);
    assert_eq!(body_hints(b"SELECT 1; DEALLOCATE"), H::DEALLOCATE | H::IN_BODY);
    assert_eq!(body_hints(b"SELECT 1"), NONE);
}

#[test]
fn statements_are_counted_and_named() {
    for (text, statements, first) in [
        ("", 0, Verb::None),
        (";", 0, Verb::None),
        ("select 1", 1, Verb::Select),
        ("select 1;", 1, Verb::Select),
        (";; analyse t ; ; select ';' ; ", 2, Verb::Analyze),
        ("(select 1)", 1, Verb::Select),
        ("select \";\", $$;$$, $a$;$a$, E'\\';' /* ; */ -- ;\n", 1, Verb::Select),
        ("CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); SELECT 3", 2, Verb::Create),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; \
             SELECT 2 AS end, t.end FROM t; END; SELECT 3",
            2,
            Verb::Create,
        ),
        ("CREATE FUNCTION f() BEGIN ATOMIC END", 1, Verb::Create),
        ("BEGIN; SELECT 1; END; SELECT 2", 4, Verb::Begin),
    ] {
        let facts = read(text);
        assert_eq!((facts.statements, facts.first), (statements, first), "{text}");
        assert_eq!(facts.single, statements == 1, "{text}");
        assert!(!facts.hints.contains(H::UNSURE), "{text}");
    }
}

#[test]
fn an_sql_standard_body_is_a_body() {
    let text = "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC SELECT pg_advisory_lock(1); END";
    assert_eq!(read(text).hints, H::CREATE_FUNCTION | H::ADVISORY | H::IN_BODY | H::DDL);
}

#[test]
fn what_cannot_be_read_is_unsure() {
    for text in [
        "SELECT 'a",
        "SELECT E'a\\'",
        "SELECT \"a",
        "SELECT $$a$",
        "SELECT $a$ $b$ $a",
        "/* /* */",
        "'x'",
        "1",
        "frobnicate",
        "SELECT U&\"\\0073et_config\"('a', 'b', false)",
        "SELECT U&\"!0073et_config\" UESCAPE '!' ('a', 'b', false)",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;",
        "SELECT (1",
    ] {
        assert!(read(text).hints.contains(H::UNSURE), "{text}");
    }
}

#[test]
fn a_lexer_is_as_new_after_each_text() {
    let mut lexer = Lexer::default();
    for text in ["SELECT 'a", "SET a.b = 'c", "DO $x$ set_config", "PREPARE p", "/* ("] {
        let facts = lexer.read(text.as_bytes());
        assert_eq!(facts, read(text), "{text}");
        lexer.feed(text.as_bytes());
        lexer.reset();
        assert_eq!(lexer.read(b"SELECT 1; SELECT 2"), read("SELECT 1; SELECT 2"), "{text}");
    }
}
