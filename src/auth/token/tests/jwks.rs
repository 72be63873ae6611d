//! A JWKS from a URL and from a file: rotation, outages, bad bodies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::units::Span;

/// A key server of our own: answers with whatever `body` holds, and counts.
struct KeyServer {
    url: String,
    body: Arc<Mutex<Result<String, &'static str>>>,
    served: Arc<AtomicUsize>,
}

impl KeyServer {
    async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let url = format!("http://{}/jwks?secret=1", listener.local_addr().expect("address"));
        let body = Arc::new(Mutex::new(Ok(json!({ "keys": keys }).to_string())));
        let served = Arc::new(AtomicUsize::new(0));
        let (bodies, count) = (Arc::clone(&body), Arc::clone(&served));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0_u8; 4_096];
                let _ = socket.read(&mut request).await;
                count.fetch_add(1, Ordering::SeqCst);
                let body = bodies.lock().expect("lock").clone();
                let answer = match body {
                    Ok(body) => format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    ),
                    Err(status) => {
                        format!(
                            "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                        )
                    }
                };
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, body, served }
    }

    fn publish(&self, keys: &[Value]) {
        *self.body.lock().expect("lock") = Ok(json!({ "keys": keys }).to_string());
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// A verifier that knows only this server, and its loop at work.
    fn verifier(&self, change: impl FnOnce(&mut IssuerSettings)) -> Verifier {
        let mut settings = IssuerSettings { jwks_url: self.url.clone(), ..issuer() };
        settings.jwks_refresh_min = Span::millis(10);
        change(&mut settings);
        let verifier = verifier_of(settings);
        let refresher = verifier.clone();
        tokio::spawn(async move { refresher.refresh().await });
        verifier
    }
}

async fn present(verifier: &Verifier, token: &str) -> Result<Identity, Fault> {
    verifier.verify_refreshing(token.as_bytes(), now(), Audience::Tenant).await
}

/// Tries until `done` gives something; the read of a set happens when it happens.
async fn eventually<T>(mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = done().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn keys_rotate_without_a_restart() {
    let (old, new) = (Pair::new(Algorithm::Es256), Pair::new(Algorithm::EdDsa));
    let server = KeyServer::start(&[old.jwk("old")]).await;
    let verifier = server.verifier(|_| ());
    verifier.ready().await;
    let token = old.sign(&old.header("old"), &claims());
    verify(&verifier, &token).expect("no refresh is needed: it was read at the start");

    let rotated = new.sign(&new.header("new"), &claims());
    refused(&verifier, rotated.as_bytes(), "key id is unknown");
    server.publish(&[old.jwk("old"), new.jwk("new")]);
    eventually(async || present(&verifier, &rotated).await.ok()).await;
    verify(&verifier, &token).expect("the old key is still published");

    // A key that is no longer published stops its tokens, remembered ones too.
    server.publish(&[new.jwk("new")]);
    let unknown = new.sign(&new.header("nowhere"), &claims());
    eventually(async || {
        present(&verifier, &unknown).await.expect_err("still unknown, but the set is read");
        verify(&verifier, &token).err()
    })
    .await;
    refused(&verifier, token.as_bytes(), "key id is unknown");
}

#[tokio::test]
async fn unknown_keys_do_not_make_a_storm() {
    let pair = Pair::new(Algorithm::EdDsa);
    let server = KeyServer::start(&[pair.jwk("k")]).await;
    let verifier = server.verifier(|settings| settings.jwks_refresh_min = Span::mins(1));
    verifier.ready().await;
    let before = server.served();
    let tries = (0..200).map(|n| {
        let token = pair.sign(&pair.header(&format!("made-up-{n}")), &claims());
        let verifier = verifier.clone();
        async move { present(&verifier, &token).await.expect_err("unknown") }
    });
    futures_util::future::join_all(tries).await;
    assert_eq!(server.served(), before, "the set was read a moment ago");
    present(&verifier, &pair.sign(&pair.header("k"), &claims())).await.expect("good ones pass");
}

#[tokio::test]
async fn one_request_serves_all_who_wait() {
    let pair = Pair::new(Algorithm::EdDsa);
    let server = KeyServer::start(&[pair.jwk("k")]).await;
    let verifier = server.verifier(|settings| settings.jwks_refresh_min = Span::millis(1));
    verifier.ready().await;
    let token = pair.sign(&pair.header("unknown"), &claims());
    // Until a read is allowed again, and wanted.
    let start = server.served();
    eventually(async || {
        present(&verifier, &token).await.expect_err("unknown");
        (server.served() > start).then_some(())
    })
    .await;
    let before = server.served();
    let all = futures_util::future::join_all((0..100).map(|_| present(&verifier, &token))).await;
    assert!(all.iter().all(Result::is_err));
    // One under way, one for those who came while it was.
    assert!(server.served() - before <= 3, "{} requests for 100", server.served() - before);
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_is_not_the_tokens_fault() {
    let pair = Pair::new(Algorithm::EdDsa);
    let server = KeyServer::start(&[]).await;
    *server.body.lock().expect("lock") = Err("503 Service Unavailable");
    let verifier = server.verifier(|_| ());
    verifier.ready().await;
    let token = pair.sign(&pair.header("k"), &claims());
    let fault = present(&verifier, &token).await.expect_err("no keys yet");
    assert_eq!(fault.state(), SqlState::CANNOT_CONNECT_NOW);
    server.publish(&[pair.jwk("k")]);
    eventually(async || present(&verifier, &token).await.ok()).await;
}

#[tokio::test]
async fn an_outage_is_ridden_out_and_then_said() {
    let pair = Pair::new(Algorithm::Es256);
    let token = pair.sign(&pair.header("k"), &claims());
    for bad in [
        Err("500 Oops"),
        Err("302 Found\r\nlocation: http://127.0.0.1:1/"),
        Ok("{}".to_owned()),
        Ok("not json".to_owned()),
        Ok(json!({ "keys": [] }).to_string()),
        Ok(format!("{{\"keys\":[{}],\"x\":\"{}\"}}", pair.jwk("k"), "x".repeat(70_000))),
    ] {
        let server = KeyServer::start(&[pair.jwk("k")]).await;
        let verifier = server.verifier(|settings| {
            settings.jwks_refresh = Span::millis(10);
            settings.jwks_stale_max = Span::millis(500);
        });
        verifier.ready().await;
        verify(&verifier, &token).expect("read at the start");
        *server.body.lock().expect("lock") = bad;
        let failing = server.served() + 2;
        eventually(async || (server.served() > failing).then_some(())).await;
        verifier.forget();
        verify(&verifier, &token).expect("the keys last read are used on");
        let fault = eventually(async || {
            verifier.forget();
            verify(&verifier, &token).err()
        })
        .await;
        assert_eq!(fault.state(), SqlState::CANNOT_CONNECT_NOW);
        assert!(fault.blame().is_ours());
        server.publish(&[pair.jwk("k")]);
        eventually(async || present(&verifier, &token).await.ok()).await;
    }
}

#[tokio::test]
async fn a_file_is_read_at_start_and_when_it_changes() {
    let (old, new) = (Pair::new(Algorithm::Es256), Pair::new(Algorithm::Es256));
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("jwks.json");
    let write = |keys: &[Value]| {
        std::fs::write(&path, json!({ "keys": keys }).to_string()).expect("write");
    };
    write(&[old.jwk("old")]);
    let settings = IssuerSettings { jwks_file: Some(path.clone()), ..issuer() };
    let verifier = verifier_of(IssuerSettings { jwks_refresh_min: Span::millis(1), ..settings });
    verify(&verifier, &old.sign(&old.header("old"), &claims())).expect("read at the start");
    let refresher = verifier.clone();
    tokio::spawn(async move { refresher.refresh().await });
    verifier.ready().await;
    write(&[new.jwk("new")]);
    let token = new.sign(&new.header("new"), &claims());
    eventually(async || present(&verifier, &token).await.ok()).await;
    refused(&verifier, old.sign(&old.header("old"), &claims()).as_bytes(), "key id is unknown");

    let missing = IssuerSettings { jwks_file: Some("/nonexistent".into()), ..issuer() };
    let settings = TokenSettings { issuers: vec![missing], ..TokenSettings::default() };
    assert!(Verifier::new(settings, None, metrics()).is_err(), "a typing error shows at start");
}

#[test]
fn only_public_signing_keys_of_allowed_algorithms_are_read() {
    let (ec, ed) = (Pair::new(Algorithm::Es256), Pair::new(Algorithm::EdDsa));
    let with = |mut jwk: Value, name: &str, value: &str| {
        jwk[name] = value.into();
        jwk
    };
    let parse = |keys: &[Value], allowed: &[Algorithm]| {
        super::super::jwks::parse(json!({ "keys": keys }).to_string().as_bytes(), allowed)
            .map(|ring| ring.len())
    };
    let all = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    let symmetric = json!({ "kty": "oct", "kid": "s", "alg": "HS256",
        "k": URL_SAFE_NO_PAD.encode(SECRET) });
    let unusable = [
        symmetric,
        with(ec.jwk("enc"), "use", "enc"),
        with(ec.jwk("alg"), "alg", "HS256"),
        with(ec.jwk("alg2"), "alg", "ES384"),
        with(ec.jwk("x"), "x", "AAAA"),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "b" }),
        json!({ "kty": "unknown" }),
        json!("text"),
    ];
    assert!(parse(&unusable, &all).is_err(), "nothing usable");
    let mixed: Vec<Value> = unusable.iter().cloned().chain([ec.jwk("a"), ed.jwk("b")]).collect();
    assert_eq!(parse(&mixed, &all), Ok(2));
    assert_eq!(parse(&mixed, &[Algorithm::EdDsa]), Ok(1));
    assert!(parse(&[ec.jwk("a"), ed.jwk("a")], &all).is_err(), "two keys of one name");
    assert!(parse(&vec![ec.jwk("a"); 65], &all).is_err(), "too many");
}
