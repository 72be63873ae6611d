//! What lies outside the text: encodings, the tenant's own names, statements that run nothing.

use std::sync::Arc;

use super::read;
use crate::session::lexer::{Hints as H, Lexer, Words, body_settings};

fn facts_with(words: &[(&str, H)], text: &str) -> super::Facts {
    let mut known = Words::default();
    for (name, hints) in words {
        known.insert(name, *hints);
    }
    let mut lexer = Lexer::default();
    lexer.words(Some(Arc::new(known)));
    let facts = lexer.read(text.as_bytes());
    text.as_bytes().chunks(1).for_each(|byte| lexer.feed(byte));
    assert_eq!(lexer.finish(), facts, "byte by byte: {text}");
    facts
}

#[test]
fn the_tenant_s_own_names_are_known_however_they_are_written() {
    let words = [("f", H::ROUTINE), ("Do It", H::FOREIGN), ("orders", H::ROUTINE)];
    for (text, wanted) in [
        ("SELECT f(1)", H::ROUTINE),
        ("SELECT a.F(1)", H::ROUTINE),
        ("SELECT \"f\"(1)", H::ROUTINE),
        ("SELECT \"Do It\"()", H::FOREIGN),
        ("INSERT INTO Orders VALUES (1)", H::ROUTINE),
        ("TABLE orders", H::ROUTINE),
        ("SELECT f2(1), 'f', $$f$$ /* f */ -- f", H::NONE),
        ("SELECT ff FROM order_s", H::NONE),
    ] {
        assert_eq!(facts_with(&words, text).hints.without(H::WRITE), wanted, "{text}");
    }
    let long = "x".repeat(63);
    assert_eq!(facts_with(&[(&long, H::ROUTINE)], &format!("SELECT {long}y()")).hints, H::ROUTINE);
    // To replace a function is not to call it.
    let text = "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    let facts = facts_with(&words, text);
    assert_eq!(facts.hints.without(facts.latent), H::CREATE_FUNCTION | H::DDL);
}

#[test]
fn text_whose_bytes_shift_is_unsure() {
    // In SJIS the second byte of 表 is a backslash.
    let text = b"SELECT '\x95\\', $$x$$";
    let mut lexer = Lexer::default();
    assert_eq!(lexer.read(text).hints, H::NONE);
    lexer.shifting_encoding(true);
    assert_eq!(lexer.read(text).hints, H::UNSURE);
    assert_eq!(lexer.read(b"SELECT 'plain'").hints, H::NONE);
    text.chunks(1).for_each(|byte| lexer.feed(byte));
    assert_eq!(lexer.finish().hints, H::UNSURE);
}

#[test]
fn what_a_new_function_would_do_is_not_done_yet() {
    for text in [
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$SELECT set_config('a', 'b', false)$$",
        "CREATE OR REPLACE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN EXECUTE x; END'",
        "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC SELECT pg_advisory_lock(1); END",
        "BEGIN; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT lastval()::int'; COMMIT",
    ] {
        let facts = read(text);
        assert!(facts.hints.intersects(H::STATE), "{text}");
        assert!(!facts.hints.without(facts.latent).intersects(H::STATE), "{text}");
        assert!(!facts.runs, "{text}");
    }
    for (text, hints) in [
        ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", H::TEMP),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SET a = 1", H::SET),
        ("SET a = 1; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SET a = 1'", H::SET),
        ("DO $$BEGIN PERFORM set_config('a', 'b', false); END$$", H::SET),
    ] {
        let facts = read(text);
        assert!(facts.hints.without(facts.latent).contains(hints), "{text}");
    }
    assert!(read("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT f()").runs);
    assert!(read("CREATE TABLE t (a int)").runs);
}

#[test]
fn dotted_settings_of_a_body_are_collected() {
    for (text, names, computed) in [
        ("BEGIN PERFORM set_config('App.User', x, false); END", &["app.user"][..], false),
        (
            "BEGIN SET app.user = 1; RESET a.b; SET SESSION c.d.e TO 2; END",
            &["app.user", "a.b", "c.d.e"],
            false,
        ),
        ("BEGIN EXECUTE 'SET app.x = ' || quote_literal(v); END", &["app.x"], false),
        ("SET \"app\".\"user\" = 1", &["app.user"], false),
        ("BEGIN PERFORM set_config(name, x, false); END", &[], true),
        ("BEGIN PERFORM set_config ( $1, x, false); END", &[], true),
        ("BEGIN EXECUTE 'SET ' || name; END", &[], true),
        ("BEGIN EXECUTE format('SET %I = 1', name); END", &[], true),
        ("BEGIN NEW.at = now(); UPDATE a.b SET x = 1; END", &[], false),
    ] {
        let (hints, found) = body_settings(text.as_bytes());
        assert_eq!(found, names, "{text}");
        let dynamic = computed || text.contains("EXECUTE");
        assert_eq!(hints.contains(H::DYNAMIC), dynamic, "{text}: {hints:?}");
        let whole = format!("DO $do${text}$do$");
        assert_eq!(read(&whole).settings, names, "{whole}");
    }
    let many = (0..40).fold(String::new(), |all, n| all + &format!("SET a.b{n} = 1;"));
    let (hints, found) = body_settings(many.as_bytes());
    assert!(hints.contains(H::DYNAMIC) && found.len() == 16);
}

/// Found by the fuzzer: a long word of which PostgreSQL would leave one letter opened a literal
/// with escapes, where it came in pieces.
#[test]
fn a_word_cut_short_is_no_prefix() {
    let text = [b"set et", &[0xAE; 70][..], b"'\\'"].concat();
    let mut lexer = Lexer::default();
    let whole = lexer.read(&text);
    text.chunks(30).for_each(|chunk| lexer.feed(chunk));
    assert_eq!(lexer.finish(), whole);
}
