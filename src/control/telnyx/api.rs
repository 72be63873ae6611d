//! Telnyx's own API: whose a phone number is.
//!
//! The account is the operator's. Its numbers are marked there, by `customer_reference` or a tag,
//! with the id of the tenant they are for; only who holds the account's key can do that.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use super::TelnyxSettings;
use crate::control::phone::{E164, NumberProof, Proof};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::TenantId;
use crate::net::tls::Roots;
use crate::units::Secret;

/// The longest answer read, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Asks Telnyx.
pub struct TelnyxApi {
    base: String,
    key: Secret,
    timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    phone_number: String,
    status: Option<String>,
    customer_reference: Option<String>,
    tags: Option<Vec<String>>,
}

impl TelnyxApi {
    /// A client; `None` where no API key is configured. Asks nothing yet.
    ///
    /// # Errors
    /// When the URL is none, or would show the key to everybody on the way.
    pub fn new(settings: &TelnyxSettings) -> Result<Option<Self>, String> {
        if settings.api_key.is_empty() {
            return Ok(None);
        }
        if let Some((key, why)) = settings.problems() {
            return Err(format!("{key}: {why}"));
        }
        let base = settings.api_url.trim_end_matches('/').to_owned();
        let failed = |why: String| format!("sms.telnyx: TLS: {why}");
        let roots = Roots::load(None).map_err(|e| failed(e.to_string()))?;
        let tls = roots.client_config().map_err(|e| failed(e.to_string()))?;
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let timeout = settings.api_timeout.get();
        Ok(Some(Self { base, key: settings.api_key.clone(), timeout, client }))
    }

    async fn ask(&self, number: &E164) -> Result<Page, String> {
        // The number's only character that must be escaped is its plus.
        let digits = number.as_str().trim_start_matches('+');
        let uri = format!(
            "{}/v2/phone_numbers?filter%5Bphone_number%5D=%2B{digits}&page%5Bsize%5D=5",
            self.base
        );
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("pgusher/", env!("CARGO_PKG_VERSION")))
            // Telnyx's own API: where the key is for.
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key.expose()))
            .body(Empty::new())
            .map_err(|_| "the request cannot be made".to_owned())?;
        let answer = self.client.request(request).await;
        // Its text would name the URL, and with it the number.
        let answer = answer.map_err(|e| format!("no answer (connect: {})", e.is_connect()))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("answered {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|_| "the answer broke off, or is long".to_owned())?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| "the answer is no list of numbers".to_owned())
    }
}

impl NumberProof for TelnyxApi {
    fn of<'a>(
        &'a self,
        number: &'a E164,
        tenant: &'a TenantId,
    ) -> BoxFuture<'a, Result<Proof, Fault>> {
        async move {
            let asked = tokio::time::timeout(self.timeout, self.ask(number)).await;
            let page = asked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            let page = page.map_err(|why| {
                let text = "the provider of phone numbers cannot be asked";
                Fault::new(Blame::Control, SqlState::CANNOT_CONNECT_NOW, text).because(why)
            })?;
            let id = tenant.as_str();
            let theirs = page.data.into_iter().find(|listed| {
                let marked = listed.customer_reference.as_deref() == Some(id)
                    || listed.tags.iter().flatten().any(|tag| tag == id);
                // Its filter finds by parts of a number, too.
                listed.phone_number == number.as_str()
                    && listed.status.as_deref() == Some("active")
                    && marked
            });
            Ok(theirs.map_or(Proof::Refused, |listed| Proof::Confirmed(listed.id)))
        }
        .boxed()
    }
}

impl std::fmt::Debug for TelnyxApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TelnyxApi")
    }
}
