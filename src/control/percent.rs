//! Percent-encoding, for URIs and forms.

use std::fmt::Write as _;

/// Everything but RFC 3986's unreserved characters as `%XX`.
pub(super) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // A String takes whatever is written to it.
            _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `application/x-www-form-urlencoded`.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_holds_any_text() {
        let pairs = [("name", "St. Mary & Söhne"), ("metadata[tenantId]", "a_1")];
        assert_eq!(form(&pairs), "name=St.%20Mary%20%26%20S%C3%B6hne&metadata%5BtenantId%5D=a_1");
    }
}
