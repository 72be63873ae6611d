//! Telnyx, as far as the tests need it: what it signs, and its list of phone numbers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Plan;
use super::http::{self, Answer};

/// The key for its API.
pub const API_KEY: &str = "KEY-of-the-operator";

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[42; 32]).unwrap()
}

/// The account's public key, as its portal shows it.
pub fn public_key() -> String {
    STANDARD.encode(pair().public_key().as_ref())
}

impl Plan {
    /// A world that believes this Telnyx.
    #[must_use]
    pub fn telnyx(self) -> Self {
        self.set("sms.telnyx.public_key", &public_key())
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Signs as Telnyx does.
pub fn sign(timestamp: &str, body: &str) -> String {
    STANDARD.encode(pair().sign(format!("{timestamp}|{body}").as_bytes()).as_ref())
}

/// Brings a body, signed now.
pub fn bring(http: SocketAddr, body: &str) -> Answer {
    try_bring(http, body).unwrap()
}

/// As [`bring`]; pgusher may be gone.
pub fn try_bring(http: SocketAddr, body: &str) -> std::io::Result<Answer> {
    let timestamp = now().to_string();
    let signature = sign(&timestamp, body);
    let headers =
        [("telnyx-signature-ed25519", &*signature), ("telnyx-timestamp", timestamp.as_str())];
    http::try_call(http, "POST", "/webhooks/telnyx", &headers, body)
}

/// An id nobody had before.
pub fn fresh(kind: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{kind}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An event of Telnyx's.
pub fn event(kind: &str, payload: &Value) -> Value {
    json!({ "data": { "record_type": "event", "id": fresh("event"), "event_type": kind,
        "occurred_at": "2026-11-21T18:10:02.574Z", "payload": payload },
        "meta": { "attempt": 1, "delivered_to": "https://example.org/webhooks/telnyx" } })
}

/// An inbound message, as `message.received` brings it.
pub fn inbound(from: &str, to: &[&str], text: &str) -> Value {
    let to: Vec<_> = to
        .iter()
        .map(|n| json!({ "phone_number": n, "status": "webhook_delivered", "carrier": "Telnyx" }))
        .collect();
    event(
        "message.received",
        &json!({ "record_type": "message", "direction": "inbound", "id": fresh("message"),
            "type": "SMS", "from": { "phone_number": from, "carrier": "T", "line_type": "Wireless" },
            "to": to, "cc": [], "text": text, "media": [], "errors": [],
            "received_at": "2026-11-21T18:10:02.000Z" }),
    )
}

/// A delivery receipt.
pub fn receipt(kind: &str, from: &str, message: &str, status: &str) -> Value {
    event(
        kind,
        &json!({ "record_type": "message", "direction": "outbound", "id": message, "type": "SMS",
            "from": { "phone_number": from }, "errors": [],
            "to": [{ "phone_number": "+15550009999", "status": status }] }),
    )
}

/// Its API: `GET /v2/phone_numbers`, over numbers the test gives it.
pub struct Api {
    pub address: SocketAddr,
    numbers: Arc<Mutex<Vec<Value>>>,
}

impl Api {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let numbers = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&numbers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 8192];
                let length = stream.read(&mut buffer).unwrap();
                let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let allowed = head.contains(&format!("Bearer {API_KEY}"));
                let wanted = head
                    .split("phone_number%5D=%2B")
                    .nth(1)
                    .and_then(|rest| rest.split(['&', ' ']).next())
                    .unwrap_or_default()
                    .to_owned();
                let known: Vec<Value> = known.lock().unwrap().clone();
                // As the real one, it finds by a part of the number.
                let found: Vec<_> = known
                    .into_iter()
                    .filter(|n| n["phone_number"].as_str().unwrap().contains(&wanted))
                    .collect();
                let status = if allowed { "200 OK" } else { "401 Unauthorized" };
                let body = json!({ "data": found }).to_string();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { address, numbers }
    }

    /// Adds a number of the account's.
    pub fn list(&self, number: &str, reference: &str, status: &str, tags: &[&str]) {
        self.numbers.lock().unwrap().push(json!({ "id": format!("sid-{number}"),
            "phone_number": number, "status": status, "customer_reference": reference,
            "tags": tags }));
    }
}
