//! A small HTTP client for pgusher's own listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The longest answer that is read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The longest an answer may take; a registration without a warm database is the slowest.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Speaks to one listener, in the clear: it is on this machine.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    listener: SocketAddr,
}

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers, or not in time.
    #[error("no answer from http://{listener}{path}: {why}")]
    Silent {
        /// Who was asked.
        listener: SocketAddr,
        /// For what.
        path: String,
        /// What happened instead.
        why: String,
    },
    /// The answer is not what was asked for.
    #[error("{path} answers {status}: {said}")]
    Refused {
        /// What was asked for.
        path: String,
        /// The status.
        status: StatusCode,
        /// The problem's own words.
        said: String,
    },
}

impl Client {
    /// For the listener at `listener`; one bound to every address is asked over loopback.
    pub fn new(listener: SocketAddr) -> Self {
        let ip = match listener.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let pool = Pool::builder(TokioExecutor::new()).build_http();
        Self { pool, listener: SocketAddr::new(ip, listener.port()) }
    }

    /// GETs `path` as it is.
    ///
    /// # Errors
    /// [`ClientError::Silent`].
    pub async fn fetch(&self, path: &str) -> Result<(StatusCode, Bytes), ClientError> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// POSTs JSON and reads JSON.
    ///
    /// # Errors
    /// [`ClientError`]; any status but 2xx is [`ClientError::Refused`].
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, ClientError> {
        self.json(Method::POST, path, headers, body.to_string().into()).await
    }

    /// GETs JSON.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Value, ClientError> {
        self.json(Method::GET, path, headers, Bytes::new()).await
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Value, ClientError> {
        let (status, bytes) = self.send(method, path, headers, body).await?;
        let refused = |said: String| ClientError::Refused { path: path.to_owned(), status, said };
        if !status.is_success() {
            return Err(refused(String::from_utf8_lossy(&bytes).trim().to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|e| refused(e.to_string()))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let silent = |why: String| ClientError::Silent {
            listener: self.listener,
            path: path.to_owned(),
            why,
        };
        let uri = format!("http://{}{path}", self.listener);
        let mut request = Request::builder().method(method).uri(uri);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|e| silent(e.to_string()))?;
        let exchange = async {
            let response = self.pool.request(request).await.map_err(|e| root_cause(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|e| e.to_string())?.to_bytes()))
        };
        match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
            Ok(answer) => answer.map_err(silent),
            Err(_) => Err(silent(format!("not within {} s", ANSWER_WITHIN.as_secs()))),
        }
    }
}

/// `Authorization: Bearer …` as a pair for [`Client::post`].
pub(super) fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

/// The innermost cause: "connection refused", not "client error (Connect)".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
