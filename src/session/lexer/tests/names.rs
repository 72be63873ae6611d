//! The names that are handed on: targets with their places, and dotted settings.

use super::{Hints, read};
use crate::session::lexer::TargetKind;

/// The target's name, and how it is written.
fn target(text: &str) -> Option<(String, String)> {
    let target = read(text).target?;
    let start = target.start as usize;
    let written = text[start..start + target.len as usize].to_owned();
    let name = if target.kind == TargetKind::All { "*ALL*".to_owned() } else { target.name };
    Some((name, written))
}

#[test]
fn targets_are_found_where_they_stand() {
    for (text, name, written) in [
        ("EXECUTE Foo(1)", "foo", "Foo"),
        ("EXECUTE \"Fo\"\"o\" (1)", "Fo\"o", "\"Fo\"\"o\""),
        ("  execute/**/ü;", "ü", "ü"),
        ("EXPLAIN ANALYZE EXECUTE p", "p", "p"),
        ("EXPLAIN (FORMAT json) EXECUTE p", "p", "p"),
        ("CREATE TABLE t AS EXECUTE p(1)", "p", "p"),
        ("DEALLOCATE x", "x", "x"),
        ("DEALLOCATE PREPARE x", "x", "x"),
        ("DEALLOCATE prepare", "prepare", "prepare"),
        ("DEALLOCATE ALL", "*ALL*", "ALL"),
        ("DEALLOCATE PREPARE ALL", "*ALL*", "ALL"),
        ("DEALLOCATE \"all\"", "all", "\"all\""),
        ("PREPARE p (int) AS SELECT 1", "p", "p"),
        ("PREPARE transaction AS SELECT 1", "transaction", "transaction"),
        ("DECLARE c CURSOR FOR SELECT 1", "c", "c"),
        ("CLOSE c", "c", "c"),
        ("CLOSE ALL", "*ALL*", "ALL"),
        ("LISTEN \"Ch\"", "Ch", "\"Ch\""),
        ("UNLISTEN *", "*ALL*", "*"),
        ("UNLISTEN c", "c", "c"),
        ("NOTIFY c, 'p'", "c", "c"),
        ("SAVEPOINT s", "s", "s"),
        ("RELEASE s", "s", "s"),
        ("RELEASE SAVEPOINT s", "s", "s"),
        ("ROLLBACK TO SAVEPOINT s", "s", "s"),
        ("ROLLBACK WORK TO s", "s", "s"),
        ("DISCARD ALL", "*ALL*", "ALL"),
        ("DISCARD Plans", "plans", "Plans"),
        ("SET Work_Mem = 1", "work_mem", "Work_Mem"),
        ("SET LOCAL work_mem TO 1", "work_mem", "work_mem"),
        ("SET SESSION work_mem TO 1", "work_mem", "work_mem"),
        ("SET a . \"B\" = 1", "a.B", "a . \"B\""),
        ("SET local.x = 1", "local.x", "local.x"),
        ("SET session = 1", "session", "session"),
        ("SET TIME ZONE 'UTC'", "timezone", "TIME ZONE"),
        ("SET NAMES 'utf8'", "client_encoding", "NAMES"),
        ("SET NAMES", "client_encoding", "NAMES"),
        ("SET SCHEMA 'x'", "search_path", "SCHEMA"),
        ("SET ROLE r", "role", "ROLE"),
        ("SET XML OPTION DOCUMENT", "xmloption", "XML OPTION"),
        ("SET SESSION AUTHORIZATION r", "session_authorization", "SESSION AUTHORIZATION"),
        ("SET x FROM CURRENT", "x", "x"),
        ("RESET a.b", "a.b", "a.b"),
        ("RESET ALL", "*ALL*", "ALL"),
        ("RESET TIME ZONE", "timezone", "TIME ZONE"),
        ("RESET role", "role", "role"),
        ("EXECUTE p; SELECT 1", "p", "p"),
        ("SELECT 1; EXPLAIN EXECUTE P(1)", "p", "P"),
        ("SAVEPOINT s;DEALLOCATE \"P\";RELEASE s", "P", "\"P\""),
    ] {
        let wanted = Some((name.to_owned(), written.to_owned()));
        assert_eq!(target(text), wanted, "{text}");
    }
    for text in [
        "SELECT 1",
        "EXECUTE p; EXECUTE p",
        "DEALLOCATE ALL; EXECUTE p",
        "SET a = 1; SELECT 1",
        "SELECT 1; SET a = 1",
        "PREPARE TRANSACTION 'x'",
        "SET TRANSACTION READ ONLY",
        "COMMIT PREPARED 'x'",
        "EXECUTE",
        "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE RULE r AS ON INSERT TO a DO ALSO NOTIFY c",
        "EXPLAIN SELECT execute FROM p",
    ] {
        assert_eq!(target(text), None, "{text}");
    }
}

#[test]
fn long_names_are_cut_as_postgresql_cuts_them() {
    let name = |text: &str| target(&format!("EXECUTE {text}")).map(|(name, _)| name);
    assert_eq!(name(&"a".repeat(70)), Some("a".repeat(63)));
    assert_eq!(name(&"a".repeat(63)), Some("a".repeat(63)));
    assert_eq!(name(&format!("\"{}\"", "é".repeat(40))), Some("é".repeat(31)));
    assert_eq!(name(&format!("{}é", "a".repeat(62))), Some("a".repeat(62)));
}

#[test]
fn dotted_settings_are_collected() {
    for (text, names) in [
        ("SET a.b = 1", &["a.b"][..]),
        ("SET A.\"B\".c TO 1; SET d.e = 2; SET a.b.C = 3", &["a.b.c", "d.e"]),
        ("SET LOCAL a.b = 1", &[]),
        ("SET a = 1", &[]),
        ("RESET a.b", &["a.b"]),
        ("SELECT set_config('A.b', 'c', false)", &["a.b"]),
        ("SELECT set_config('a.b'::text, $1, false), set_config('c.d', $2, $3)", &["a.b", "c.d"]),
        ("SELECT set_config($$a.b$$, 'c', false)", &["a.b"]),
        ("SELECT set_config('a.'\n'b', 'c', false)", &["a.b"]),
        ("SELECT set_config('a.b', 'c', true)", &[]),
        ("SELECT set_config('search_path', 'c.d', false)", &[]),
    ] {
        let facts = read(text);
        assert_eq!(facts.settings, names, "{text}");
        assert!(!facts.hints.contains(Hints::UNSURE), "{text}");
    }
}

#[test]
fn names_not_plainly_there_are_unsure() {
    let long = "a".repeat(60);
    let many = (0..20).map(|n| format!("SET a.b{n} = 1")).collect::<Vec<_>>().join("; ");
    for text in [
        "SELECT set_config('a' || '.b', 'c', false)",
        "SELECT set_config(x, 'c', false)",
        "SELECT set_config(E'a\\x2eb', 'c', false)",
        "SELECT set_config(U&'a\\002eb', 'c', false)",
        "SELECT set_config(('a.b'), 'c', false)",
        "SELECT set_config(setting_name => 'a.b')",
        "GRANT EXECUTE ON FUNCTION set_config TO x",
        &format!("SET {long}.{long}.{long} = 1"),
        &format!("SELECT set_config('{long}.{long}.{long}', 'c', false)"),
        &many,
        r#"SET U&"\0061pp".x = 1"#,
    ] {
        let hints = read(text).hints;
        assert!(hints.contains(Hints::UNSURE | Hints::SET), "{text} {hints:?}");
        let named = text.starts_with("GRANT");
        assert!(named || hints.contains(Hints::COMPUTED), "{text} {hints:?}");
    }
    assert_eq!(read(&many).settings.len(), 16);
}
