//! Names and literals inside SQL that takes no parameters (CREATE ROLE, CREATE DATABASE).

/// A quoted identifier.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted literal.
pub(super) fn literal(text: &str) -> String {
    // E'' whenever a backslash is in it, so that standard_conforming_strings does not matter.
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// The longest value read of a tenant's row, in bytes as JSON.
const VALUE_BYTES_MAX: usize = 4 << 10;

/// A row of a tenant's, as JSON, with the columns `$2` names and no others: which columns there are
/// is the product's to say, and how much is in them its owner's. A value that is too long is left
/// out.
pub(super) fn slim(row: &str) -> String {
    format!(
        "(SELECT pg_catalog.jsonb_object_agg(e.key, e.value)
          FROM pg_catalog.jsonb_each(pg_catalog.to_jsonb({row})) e
          WHERE e.key = ANY ($2::text[])
              AND pg_catalog.octet_length(e.value::text) <= {VALUE_BYTES_MAX})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(ident(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }
}
