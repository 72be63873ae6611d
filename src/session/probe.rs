//! Asks a server what state a session has left on it.
//!
//! The text of a statement only hints at state; the catalog knows. After a transaction whose text
//! named such a thing, one query tells which settings differ, and whether anything is there that
//! cannot be carried to another server.

use std::fmt::Write as _;

use crate::pool::{Pin, Pins};
use crate::server::{DialError, Server, Settings};

/// What was found.
#[derive(Debug)]
pub(super) struct State {
    /// The settings that differ from the server's own.
    pub(super) settings: Settings,
    /// Why the session has to keep this server; empty when it need not.
    pub(super) pins: Pins,
    /// Notifications that came meanwhile.
    pub(super) notifications: Vec<u8>,
}

/// Every name is qualified, operators included: the session's `search_path` is the tenant's own.
///
/// Whatever lives in a schema depends on it: tables, types and functions, statistics and operators.
///
/// First of all it must not wait for others, as a deferrable transaction would.
const PINS: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;SELECT \
    EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid \
        OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
        AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
    EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
        AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()), \
    EXISTS (SELECT FROM pg_catalog.pg_listening_channels()), \
    EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable), \
    EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)";

/// In the order of the columns of [`PINS`].
const COLUMNS: [Pin; 5] =
    [Pin::TempTable, Pin::AdvisoryLock, Pin::Listen, Pin::HoldCursor, Pin::Prepare];

/// Looks at `server`, which must be idle. `custom` are the settings outside `pg_settings` that the
/// session's statements named.
///
/// # Errors
/// When the server does not answer: it must be destroyed.
pub(super) async fn look(server: &mut Server, custom: &[String]) -> Result<State, DialError> {
    let script = script(custom, server.settings.iter());
    let (answer, hidden) = server.ask_seeing(&script).await?;
    if !answer.is_clean() {
        let message = answer.error.unwrap_or_else(|| "transaction left open".to_owned());
        return Err(DialError::Refused { code: "XX000".to_owned(), message });
    }
    let (mut pins, mut pairs) = (Pins::default(), Vec::new());
    for (at, row) in answer.rows.into_iter().enumerate() {
        if at == 0 {
            let found = COLUMNS.iter().zip(&row).filter(|(_, value)| value.as_deref() == Some("t"));
            pins = found.fold(pins, |pins, (pin, _)| pins.with(*pin));
            continue;
        }
        if let [Some(name), Some(value)] = &row[..] {
            pairs.push((unescaped(name).to_ascii_lowercase(), unescaped(value)));
        }
    }
    pairs.retain(|(name, _)| hidden.iter().all(|(known, _)| known != name));
    pairs.extend(hidden.into_iter().map(|(name, value)| (name.to_owned(), value)));
    // No query tells it under every role; the server reports it by itself.
    if let Some(user) = server.assumed_user() {
        pairs.push(("session_authorization".to_owned(), user.to_owned()));
    }
    let settings = Settings::from_pairs(pairs);
    Ok(State { settings, pins, notifications: answer.notifications })
}

/// `pg_settings` does not show custom settings, the role, and the session user: these are asked
/// for by name, those already carried along with those newly named.
fn script<'a>(custom: &[String], carried: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut sql = format!(
        "{PINS};SELECT {name}, {value} FROM (\
         SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings \
         WHERE source OPERATOR(pg_catalog.=) 'session' AND NOT name OPERATOR(pg_catalog.=) \
         ANY ('{{transaction_isolation,transaction_read_only,transaction_deferrable}}'\
              ::pg_catalog.text[]) \
         UNION ALL SELECT 'role', r FROM pg_catalog.current_setting('role') r \
         WHERE r OPERATOR(pg_catalog.<>) 'none'",
        name = escaped("n"),
        value = escaped("v")
    );
    let mut names: Vec<&str> = carried.map(|(n, _)| n).filter(|n| n.contains('.')).collect();
    names.extend(custom.iter().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    for name in names {
        let quoted = crate::server::quote_text(name);
        // One that was reset reads as empty from then on, where one that never was has no value: it
        // is carried along as it is.
        // A String takes whatever is written to it.
        let _ = write!(
            sql,
            " UNION ALL SELECT {quoted}, v FROM pg_catalog.current_setting({quoted}, true) v \
             WHERE v IS NOT NULL"
        );
    }
    sql.push_str(") s (n, v)");
    sql
}

/// A column's text in ASCII, whatever the client's encoding, which may have no letters for it: UTF-8
/// with all that is not ASCII as `\ooo`. Two encodings of databases are not converted.
fn escaped(column: &str) -> String {
    format!(
        "pg_catalog.encode(pg_catalog.convert_to({column}, \
         CASE WHEN pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) \
         ANY ('{{SQL_ASCII,MULE_INTERNAL}}'::pg_catalog.name[]) \
         THEN pg_catalog.getdatabaseencoding() ELSE 'UTF8' END), 'escape')"
    )
}

/// What [`escaped`] stands for.
fn unescaped(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                rest = after;
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_it_was_before_it_was_escaped() {
        for (escaped, value) in [
            ("", ""),
            ("ISO, MDY", "ISO, MDY"),
            (r"M\303\274ller", "M\u{fc}ller"),
            (r"C:\\303", r"C:\303"),
            (r"\\\303\274", "\\\u{fc}"),
            (r"\", r"\"),
        ] {
            assert_eq!(unescaped(escaped), value, "{escaped}");
        }
    }
}
