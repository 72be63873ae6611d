//! Calls of Stripe's API.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::StripeSettings;
use crate::control::percent::form;
use crate::units::Secret;

/// The longest answer read.
const BODY_BYTES_MAX: usize = 256 << 10;

/// The longest Retry-After that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A customer to be.
#[derive(Debug)]
pub(super) struct NewCustomer {
    pub(super) tenant: String,
    pub(super) name: String,
    pub(super) email: String,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallFailed {
    /// Worth another try.
    #[error("{why}")]
    Again {
        why: String,
        /// Not before so long, as Stripe asks.
        after: Option<Duration>,
    },
    /// The same again would be refused again.
    #[error("{0}")]
    ForGood(String),
}

/// Speaks to Stripe, or to what stands in for it.
pub(super) struct StripeApi {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Secret,
    timeout: Duration,
}

impl StripeApi {
    /// As the settings have it. Reads files: for start-up.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn new(settings: &StripeSettings) -> Result<Self, String> {
        if let Some((key, why)) = settings.problems().into_iter().next() {
            return Err(format!("{key}: {why}"));
        }
        let roots = settings.authorities().map_err(|e| format!("stripe.ca_file: {e}"))?;
        let tls = roots.client_config().map_err(|e| format!("stripe: TLS: {e}"))?;
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let key = settings.secret_key.expose();
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector),
            base: settings.api_url.trim_end_matches('/').to_owned(),
            authorization: format!("Bearer {key}").into(),
            timeout: settings.timeout.get(),
        })
    }

    /// Makes a customer, and gives its id. The same `key` makes it once.
    pub(super) async fn make_customer(
        &self,
        customer: &NewCustomer,
        key: &str,
    ) -> Result<String, CallFailed> {
        let body = form(&[
            ("name", &customer.name),
            ("email", &customer.email),
            ("metadata[tenantId]", &customer.tenant),
        ]);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v1/customers", self.base))
            .header(header::AUTHORIZATION, self.authorization.expose())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::USER_AGENT, concat!("pgusher/", env!("CARGO_PKG_VERSION")))
            .header("idempotency-key", key)
            .body(Full::from(body))
            .map_err(|e| CallFailed::ForGood(e.to_string()))?;
        let (status, after, body) = self.exchange(request).await?;
        if status.is_success() {
            let id = body.get("id").and_then(Value::as_str);
            let id = id.filter(|id| !id.is_empty() && id.len() <= 255 && !id.contains('\0'));
            let why = || again("the answer holds no id");
            return id.map(str::to_owned).ok_or_else(why);
        }
        let code = body.get("error").and_then(|e| e.get("code").or_else(|| e.get("type")));
        let code = code.and_then(Value::as_str).unwrap_or_default();
        let why = format!("answered {} {code}", status.as_u16());
        // 401 and 403 are the operator's to mend: the row waits for it.
        match status.as_u16() {
            401 | 403 | 409 | 429 | 500.. => Err(CallFailed::Again { why, after }),
            _ => Err(CallFailed::ForGood(why)),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Option<Duration>, Value), CallFailed> {
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|e| again(&told(&e)))?;
            let status = answer.status();
            let after = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
            let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|e| again(&e.to_string()))?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok((status, after.map(|after| after.min(RETRY_AFTER_MAX)), body))
        };
        let late = || again("no answer in time");
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_| late())?
    }
}

impl std::fmt::Debug for StripeApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StripeApi").field("base", &self.base).finish_non_exhaustive()
    }
}

fn again(why: &str) -> CallFailed {
    CallFailed::Again { why: why.to_owned(), after: None }
}

/// The innermost cause: "connection refused", not "client error (Connect)".
fn told(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
