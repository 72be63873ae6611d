//! `/signup`: a page that registers, shows the steps, and hands over the connection string.

use aws_lc_rs::digest;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Problem, Public};

/// One file, with nothing from anywhere else.
const PAGE: &str = include_str!("signup.html");

pub(super) async fn page(State(public): State<Public>) -> Response {
    let Some(policy) = public.signup.clone() else {
        return Problem::new(StatusCode::NOT_FOUND, "not-found", "No such page").into_response();
    };
    let mut answer = Html(PAGE).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}

/// What the page may do: run its own script, wear its own style, talk to where it came from.
pub(super) fn policy() -> Option<HeaderValue> {
    let (script, style) = (hash("script")?, hash("style")?);
    let text = format!(
        "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).ok()
}

/// The page's one element of that name, as a source of the policy.
fn hash(element: &str) -> Option<String> {
    let (_, rest) = PAGE.split_once(&format!("<{element}>"))?;
    let (text, _) = rest.split_once(&format!("</{element}>"))?;
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    Some(format!("'sha256-{}'", STANDARD.encode(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_outside() {
        for outside in ["http://", "https://", "src=", "@import", "url(", "onclick=", "style="] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
        for element in ["<script>", "</script>", "<style>", "</style>"] {
            assert_eq!(PAGE.matches(element).count(), 1, "{element}");
        }
        let policy = policy().expect("a policy");
        assert!(policy.to_str().expect("text").contains("script-src 'sha256-"));
    }
}
