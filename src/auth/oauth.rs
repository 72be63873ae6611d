//! SASL OAUTHBEARER (RFC 7628), as PostgreSQL 18 speaks it: a bearer token in one message. Pure.

use serde_json::json;

/// The mechanism's name.
pub const OAUTHBEARER: &str = "OAUTHBEARER";

/// Between and after the key/value pairs.
const SEPARATOR: u8 = 0x01;

/// What a client answers to an error it was told, before it is turned away.
pub const OAUTH_DUMMY: &[u8] = &[SEPARATOR];

/// What a client's first message asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum OauthRequest<'a> {
    /// To be let in with this token.
    Token(&'a [u8]),
    /// Where a token is to be had.
    Discovery,
}

impl<'a> OauthRequest<'a> {
    /// Reads a client's first message; `None` where it is none.
    pub fn read(message: &'a [u8]) -> Option<Self> {
        // gs2-header: no channel binding (there is none for this mechanism), nobody else's name.
        let rest = message.strip_prefix(b"n,,").or_else(|| message.strip_prefix(b"y,,"))?;
        let mut rest = rest.strip_prefix(&[SEPARATOR])?;
        let mut auth = None;
        // The list ends with an empty pair, and the message with it.
        while rest != [SEPARATOR] {
            let end = rest.iter().position(|byte| *byte == SEPARATOR)?;
            let (pair, more) = (rest.get(..end)?, rest.get(end + 1..)?);
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
            let is_word = !key.is_empty() && key.iter().all(u8::is_ascii_alphabetic);
            let is_text =
                value.iter().all(|b| matches!(b, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n'));
            if !is_word || !is_text {
                return None;
            }
            if key == b"auth" && auth.replace(value).is_some() {
                return None;
            }
            rest = more;
        }
        match auth? {
            b"" => Some(Self::Discovery),
            value => bearer(value).map(Self::Token),
        }
    }
}

/// The token of `Bearer TOKEN` (RFC 6750, 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.trim_ascii_start();
    let plain = token.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(b));
    let fits = scheme.eq_ignore_ascii_case(b"bearer") && token.len() < rest.len();
    (fits && plain && !token.is_empty()).then_some(token)
}

/// What a client is told that was not let in: where tokens are to be had, as far as is known.
/// libpq reads no more than 2,000 bytes of it.
pub fn oauth_failure(issuer: &str, scope: &str) -> Vec<u8> {
    let mut told = json!({ "status": "invalid_token" });
    if !issuer.is_empty() {
        let issuer = issuer.trim_end_matches('/');
        told["openid-configuration"] = format!("{issuer}/.well-known/openid-configuration").into();
    }
    if !scope.is_empty() {
        told["scope"] = scope.into();
    }
    told.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_message_is_read() {
        let token = OauthRequest::Token(b"a.b-c_d~e+f/g==");
        for message in [
            "n,,\x01auth=Bearer a.b-c_d~e+f/g==\x01\x01",
            "y,,\x01host=db.example\x01port=6432\x01auth=bearer   a.b-c_d~e+f/g==\x01\x01",
        ] {
            assert_eq!(OauthRequest::read(message.as_bytes()), Some(token_of(&token)));
        }
        assert_eq!(OauthRequest::read(b"n,,\x01auth=\x01\x01"), Some(OauthRequest::Discovery));
    }

    fn token_of<'a>(token: &OauthRequest<'a>) -> OauthRequest<'a> {
        match token {
            OauthRequest::Token(token) => OauthRequest::Token(token),
            OauthRequest::Discovery => OauthRequest::Discovery,
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for message in [
            "",
            "n,,",
            "n,,\x01",
            "n,,\x01\x01",
            "n,,\x01auth=Bearer a\x01",
            "n,,\x01auth=Bearer a\x01\x01x",
            "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
            "n,,\x01auth=Bearer\x01\x01",
            "n,,\x01auth=Bearer \x01\x01",
            "n,,\x01auth=Bearera\x01\x01",
            "n,,\x01auth=Basic YTpi\x01\x01",
            "n,,\x01auth=Bearer a b\x01\x01",
            "n,,\x01auth=Bearer ä\x01\x01",
            "n,,\x01=Bearer a\x01\x01",
            "n,,\x01auth\x01\x01",
            "n,a=admin,\x01auth=Bearer a\x01\x01",
            "p=tls-exporter,,\x01auth=Bearer a\x01\x01",
        ] {
            assert_eq!(OauthRequest::read(message.as_bytes()), None, "{message:?}");
        }
    }

    #[test]
    fn a_failure_says_where_tokens_are_to_be_had() {
        let told = oauth_failure("https://id.example/", "db");
        let told: serde_json::Value = serde_json::from_slice(&told).expect("json");
        let place = "https://id.example/.well-known/openid-configuration";
        assert_eq!(
            told,
            json!({ "status": "invalid_token", "openid-configuration": place, "scope": "db" })
        );
        assert_eq!(oauth_failure("", ""), br#"{"status":"invalid_token"}"#);
    }
}
