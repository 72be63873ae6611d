//! A JWKS that changes: a URL or a file, read on the control runtime, asked on the data runtime.
//!
//! Readers take a snapshot and never wait for a socket. Who meets an unknown key leaves a note;
//! the one loop that reads the set sees it, so there is never more than one request under way,
//! and never two within `jwks_refresh_min`.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::super::AuthMetrics;
use super::super::refusal::Refusal;
use super::keyring::Keyring;
use super::{Algorithm, IssuerSettings, jwks, keyring};
use crate::net::tls::Roots;

/// The longest JWKS read, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How long one request may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a file is looked at.
const FILE_EVERY: Duration = Duration::from_secs(5);

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

enum Place {
    Url { uri: Uri, client: Box<Https> },
    File(PathBuf),
}

#[derive(Clone)]
struct Loaded {
    keys: Arc<Keyring>,
    read_at: Instant,
}

/// A JWKS and what was last read of it.
pub(super) struct Source {
    place: Place,
    algorithms: Vec<Algorithm>,
    every: Duration,
    every_min: Duration,
    stale_max: Duration,
    loaded: RwLock<Option<Loaded>>,
    wanted: Notify,
    attempts: watch::Sender<Attempts>,
}

/// How often the set was read, and when last.
#[derive(Debug, Clone, Copy, Default)]
struct Attempts {
    count: u64,
    last: Option<Instant>,
}

impl Source {
    /// The source of an issuer, if it has one. A file is read at once: a typing error should
    /// show at start-up. A URL is not: pgusher starts although the issuer is away.
    pub(super) fn from_settings(settings: &IssuerSettings) -> Result<Option<Self>, Vec<String>> {
        let place = match (settings.jwks_url.as_str(), &settings.jwks_file) {
            ("", None) => return Ok(None),
            ("", Some(path)) => Place::File(path.clone()),
            (_, Some(_)) => return Err(vec!["give `jwks_url` or `jwks_file`, not both".into()]),
            (url, None) => {
                let uri = checked(url).map_err(|problem| vec![problem])?;
                let roots = Roots::load(settings.jwks_ca_file.as_deref())
                    .map_err(|e| vec![format!("jwks_ca_file: {e}")])?;
                let client = Box::new(https(&roots).map_err(|problem| vec![problem])?);
                Place::Url { uri, client }
            }
        };
        let every = match place {
            Place::Url { .. } => settings.jwks_refresh.get().max(settings.jwks_refresh_min.get()),
            Place::File(_) => FILE_EVERY,
        };
        let source = Self {
            place,
            algorithms: settings.algorithms.clone(),
            every: every.max(Duration::from_millis(10)),
            every_min: settings.jwks_refresh_min.get().min(every),
            stale_max: settings.jwks_stale_max.get(),
            loaded: RwLock::new(None),
            wanted: Notify::new(),
            attempts: watch::Sender::new(Attempts::default()),
        };
        if let Place::File(path) = &source.place {
            let keys = source.read_file(path).map_err(|problem| vec![problem])?;
            source.store(keys);
        }
        Ok(Some(source))
    }

    /// The keys as last read, unless that is too long ago.
    pub(super) fn keys(&self) -> Result<Arc<Keyring>, Refusal> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Never read: the issuer may be in order, so the token is not to blame either.
        let loaded = loaded.ok_or(Refusal::StaleKeys)?;
        if loaded.read_at.elapsed() > self.stale_max {
            return Err(Refusal::StaleKeys);
        }
        Ok(loaded.keys)
    }

    /// Asks for a fresh read and waits for it, at most `patience`. Gives up at once when the set
    /// was read a moment ago: then the key really is unknown.
    ///
    /// Says whether something was read since.
    pub(super) async fn refreshed(&self, patience: Duration) -> bool {
        let mut attempts = self.attempts.subscribe();
        let seen = *attempts.borrow_and_update();
        self.wanted.notify_one();
        if seen.last.is_some_and(|last| last.elapsed() < self.every_min) {
            return false;
        }
        let read = attempts.wait_for(|now| now.count > seen.count);
        tokio::time::timeout(patience, read).await.is_ok_and(|read| read.is_ok())
    }

    /// Waits until the set was tried once.
    pub(super) async fn tried(&self) {
        // The sender lives as long as `self`, so this can not fail.
        let _ = self.attempts.subscribe().wait_for(|now| now.count > 0).await;
    }

    /// Reads the set now and then, for ever. For the control runtime. Calls `removed` when a key
    /// is gone.
    pub(super) async fn run(&self, metrics: &AuthMetrics, removed: impl Fn()) {
        loop {
            let result = self.read().await;
            let label = if result.is_ok() { "ok" } else { "failed" };
            metrics.fetches.with_label_values(&[label]).inc();
            let next = match result {
                Ok(keys) => {
                    if self.store(keys) {
                        removed();
                    }
                    self.every
                }
                Err(problem) => {
                    tracing::warn!(jwks = %self.shown(), problem, "jwks could not be read");
                    self.every_min.max(Duration::from_millis(10))
                }
            };
            let last = Instant::now();
            self.attempts.send_modify(|attempts| {
                attempts.count = attempts.count.wrapping_add(1);
                attempts.last = Some(last);
            });
            let asked = async {
                tokio::time::sleep_until(last + self.every_min).await;
                self.wanted.notified().await;
            };
            tokio::select! {
                () = asked => (),
                () = tokio::time::sleep_until(last + next) => (),
            }
        }
    }

    async fn read(&self) -> Result<Keyring, String> {
        match &self.place {
            Place::File(path) => self.read_file(path),
            Place::Url { uri, client } => {
                let body = tokio::time::timeout(FETCH_TIMEOUT, fetch(client, uri.clone()))
                    .await
                    .map_err(|_| "no answer in time".to_owned())??;
                jwks::parse(&body, &self.algorithms)
            }
        }
    }

    fn read_file(&self, path: &std::path::Path) -> Result<Keyring, String> {
        let text = keyring::read(path)?;
        jwks::parse(text.as_bytes(), &self.algorithms)
            .map_err(|problem| format!("{}: {problem}", path.display()))
    }

    /// Keeps what was read; says whether a key is gone.
    fn store(&self, keys: Keyring) -> bool {
        let mut slot = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let removed = slot.as_ref().is_some_and(|old| !old.keys.is_within(&keys));
        if slot.as_ref().is_none_or(|old| removed || old.keys.len() != keys.len()) {
            tracing::info!(jwks = %self.shown(), keys = keys.len(), "jwks read");
        }
        *slot = Some(Loaded { keys: Arc::new(keys), read_at: Instant::now() });
        removed
    }

    fn shown(&self) -> String {
        match &self.place {
            // Without the query: some people put secrets there.
            Place::Url { uri, .. } => {
                format!("{}{}", uri.host().unwrap_or_default(), uri.path())
            }
            Place::File(path) => path.display().to_string(),
        }
    }
}

fn checked(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| format!("jwks_url `{url}` is not a URL"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        _ if host.is_empty() => Err(format!("jwks_url `{url}` has no host")),
        Some("https") => Ok(uri),
        // Whoever can change the keys on the way can make any token.
        Some("http") if loopback => Ok(uri),
        _ => Err(format!("jwks_url `{url}`: https only (http on loopback)")),
    }
}

fn https(roots: &Roots) -> Result<Https, String> {
    let tls = roots.client_config().map_err(|e| format!("TLS for the JWKS: {e}"))?;
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

/// One GET. Redirects are not followed: the operator named the place.
async fn fetch(client: &Https, uri: Uri) -> Result<Bytes, String> {
    let request = Request::get(uri)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, concat!("pgusher/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|e| e.to_string())?;
    let answer = client.request(request).await.map_err(|e| format!("{e:?}"))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("answered {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|e| e.to_string())
}
