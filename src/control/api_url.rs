//! Where another's API is. A key travels with every call: not in the clear, except to this machine.

use std::net::IpAddr;

use hyper::Uri;

/// Whether a key may be sent there.
///
/// # Errors
/// Why not. The URL is not repeated: it may hold a password.
pub(super) fn check(url: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        _ if host.is_empty() => Err("it has no host".to_owned()),
        Some("https") => Ok(()),
        Some("http") if loopback => Ok(()),
        _ => Err("https only (http on loopback)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_key_is_not_sent_in_the_clear() {
        for good in ["https://api.stripe.com", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["http://api.stripe.com", "ftp://127.0.0.1", "api.stripe.com", "", "https://"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
