//! The traps of PostgreSQL's lexical rules: each text says TEMP if, and only if, the trap is
//! stepped over as PostgreSQL steps over it.

use super::{Hints, read};
use crate::session::lexer::Lexer;

const SEEN: &str = "; CREATE TEMP TABLE t ()";

/// What follows `text` is code.
fn open(text: &str) {
    let whole = format!("SELECT {text}{SEEN}");
    let facts = read(&whole);
    assert_eq!((facts.hints, facts.statements), (Hints::TEMP, 2), "{whole}");
}

/// What follows `text` is not code.
fn shut(text: &str) {
    let whole = format!("SELECT {text}{SEEN}");
    assert!(!read(&whole).hints.contains(Hints::TEMP), "{whole}");
}

#[test]
fn plain_literals() {
    open("'a'");
    open("''");
    open("''''");
    open("'a''b'");
    open(r"'\'");
    open(r"'a\'''");
    shut(r"'\''");
    open(r"n'\'");
    open(r"N'\'");
    open(r"b'\', X'\'");
    open("'a' 'b'");
}

#[test]
fn literals_with_backslashes() {
    open(r"E'\''");
    open(r"e'\\'");
    open(r"E'\n\\\'x'");
    shut(r"E'\'");
    open("E''''");
    // `abcE` is one identifier.
    open(r"abcE'\'");
    open(r"a.e'\''");
}

#[test]
fn literals_go_on_after_a_line_end_as_they_began() {
    open("E'a'\n'\\''");
    open("E'a' \t\r '\\''");
    open("E'a' -- c\n '\\''");
    open("E'a'\n--c\n--d\n'\\''");
    open("E'a'\n'b'\n'\\''");
    // Here the second literal is one of its own, and plain.
    open("E'a' '\\'");
    open("E'a'\n/* */'\\'");
    open("E'a'\n-'\\'");
    open("'a'\n'\\'");
}

#[test]
fn unicode_literals_and_identifiers() {
    open(r"U&'\'");
    open(r#"u&"a""b""#);
    open(r#"U&"\""#.replace('\\', "a").as_str());
    open("u & 'a'");
    open("u&a");
    open("'é', \"ü\", ñ");
    // A no-break space is a letter: these are one word each.
    shut_pair("CREATE\u{a0}TEMP TABLE t ()");
    shut_pair("SELECT 1; CREATE\u{3000}TEMP TABLE t ()");
}

fn shut_pair(text: &str) {
    assert!(!read(text).hints.contains(Hints::TEMP), "{text}");
}

#[test]
fn quoted_identifiers() {
    open(r#""a""#);
    open(r#""a""b""#);
    open(r#""'""#);
    open(r#""\""#);
    open(r#""$$""#);
    shut(r#""a"""#);
    shut_pair("CREATE \"TEMP\" TABLE t ()");
}

#[test]
fn dollar_quotes() {
    open("$$a$$");
    open("$$'$$");
    open("$a$ $b$ $$ $a $aa$ $a$");
    open("$ab$ $ab1$ab$");
    open("$a$ $$a$");
    open("$a$$a$");
    open("$$$$");
    open("$é$ x $é$");
    open("a$b$c");
    open("a$$");
    open("1$$;$$");
    open("$1$$;$$");
    open("$1");
    open("$a b");
    shut("$a$ $A$");
    shut("$$");
    shut("$a$ $a");
    let tag = "t".repeat(60);
    open(&format!("${tag}$ ; ${tag}x$ ${tag}$"));
    let long = "t".repeat(99);
    let facts = read(&format!("SELECT ${long}$ x"));
    assert!(facts.hints.contains(Hints::UNSURE));
}

#[test]
fn comments() {
    shut("1 --");
    open("1 -- ' \n");
    open("1 -- ' \r");
    open("/* ' */ 1");
    open("/* /* */ ' */ 1");
    open("/*/* */ */ 1");
    open("/*/ */ 1");
    open("/***/ 1");
    open("/* **/ 1");
    open("/*//* */*/ 1");
    shut("/* /* */");
    open("*/ 1");
    open("1 //* */ 1");
    open("1 @-- '\n 2");
    open("1 +/* ' */ 2");
    open("1 - - 2");
    open("a->'b'->>'c'");
    open("'a'--'\n");
    open("'a'/*'*/");
}

#[test]
fn numbers_and_operators() {
    open("1_000, 0x1F, 1e5, 1.5E-3, .5, 1..2");
    open("1::int, a#>>'{b}', a@>'c', a ? 'b'");
    open("a[1:2]");
    // Before PostgreSQL 15 a word could touch a number.
    open(r"1e'\''");
    assert_eq!(read("SELECT 1INTO TEMP t").hints, Hints::TEMP);
}

#[test]
fn a_line_comment_is_no_trap() {
    assert_eq!(read("SELECT 1 -- x\n, 2").hints, Hints::NONE);
    assert_eq!(read("-- set a.b = 1").statements, 0);
}

#[test]
fn a_nul_ends_the_text() {
    assert_eq!(read("SELECT 1\0; CREATE TEMP TABLE t ()").hints, Hints::NONE);
    assert_eq!(read("SELECT 'a\0'").hints, Hints::UNSURE);
    assert_eq!(read("DISCARD temp\0all").hints, Hints::DISCARD);
}

#[test]
fn plain_literals_escape_when_they_do_not_conform() {
    let mut lexer = Lexer::default();
    let escaped = br"SELECT '\'; CREATE TEMP TABLE t (); --'";
    assert_eq!(lexer.read(escaped).hints, Hints::TEMP);
    lexer.standard_conforming_strings(false);
    assert_eq!(lexer.read(escaped).hints, Hints::NONE);
    assert_eq!(lexer.read(br"SELECT n'\'; CREATE TEMP TABLE t (); --'").hints, Hints::NONE);
    assert_eq!(lexer.read(br"SELECT x'\'; CREATE TEMP TABLE t (); --'").hints, Hints::TEMP);
    assert_eq!(lexer.read(b"SELECT U&'a'").hints, Hints::UNSURE);
    lexer.standard_conforming_strings(true);
    assert_eq!(lexer.read(escaped).hints, Hints::TEMP);
}
