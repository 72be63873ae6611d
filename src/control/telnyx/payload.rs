//! Telnyx's JSON (webhook version 2) as a neutral event.

use serde::Deserialize;
use serde_json::Value;

use crate::control::phone::E164;
use crate::control::sms::{Delivery, Event, Inbound, Receipt, Rejected};

#[derive(Deserialize)]
struct Envelope {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    id: Option<String>,
    event_type: Option<String>,
    occurred_at: Option<String>,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct Payload {
    id: String,
    from: Party,
    to: Option<Vec<Party>>,
    text: Option<String>,
    media: Option<Vec<Media>>,
    received_at: Option<String>,
    errors: Option<Vec<Value>>,
}

/// A party is an object; in some answers of Telnyx's it is the number itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Party {
    Object { phone_number: Option<String>, status: Option<String> },
    Number(String),
}

#[derive(Deserialize)]
struct Media {
    url: Option<String>,
}

/// The longest id: they are UUIDs.
const ID_BYTES_MAX: usize = 128;

/// The longest sender: a number, a short code, or a name of eleven letters.
const FROM_BYTES_MAX: usize = 64;

/// The longest reason for a failure that is kept.
const REASON_CHARS_MAX: usize = 200;

pub(super) fn read(body: &[u8]) -> Result<Event, Rejected> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|_| Rejected("it is no event in JSON"))?;
    let data = envelope.data;
    let kind = data.event_type.unwrap_or_default();
    if !matches!(kind.as_str(), "message.received" | "message.sent" | "message.finalized") {
        return Ok(Event::Other);
    }
    let event_id = id(data.id.unwrap_or_default())?;
    let payload: Payload =
        serde_json::from_value(data.payload).map_err(|_| Rejected("its payload is no message"))?;
    let message_id = id(payload.id)?;
    let to = payload.to.unwrap_or_default();
    if kind == "message.received" {
        let from = payload.from.number().unwrap_or_default().to_owned();
        if from.is_empty() || from.len() > FROM_BYTES_MAX {
            return Err(Rejected("it has no sender, or a long one"));
        }
        if to.is_empty() {
            return Err(Rejected("it is for nobody"));
        }
        let numbers = to.iter().filter_map(Party::number);
        return Ok(Event::Message(Inbound {
            event_id,
            message_id,
            from,
            // A short code is nobody's here: the registry holds numbers.
            to: numbers.filter_map(|number| E164::parse(number).ok()).collect(),
            text: payload.text.unwrap_or_default(),
            media: payload.media.into_iter().flatten().filter_map(|media| media.url).collect(),
            occurred_at: payload.received_at.or(data.occurred_at),
        }));
    }
    // Sent under a name, not a number: no tenant can be found by it.
    let Some(from) = payload.from.number().and_then(|number| E164::parse(number).ok()) else {
        return Ok(Event::Other);
    };
    let is_final = kind == "message.finalized";
    // Of a group the one that is least far: it is not delivered until it is to all.
    let words = to.iter().filter_map(Party::status);
    let delivery = words.map(|word| delivery(word, is_final)).min();
    Ok(Event::Receipt(Receipt {
        event_id,
        message_id,
        from,
        delivery: delivery.unwrap_or(if is_final { Delivery::Unconfirmed } else { Delivery::Sent }),
        reason: payload.errors.unwrap_or_default().first().and_then(reason),
        occurred_at: data.occurred_at,
    }))
}

fn id(text: String) -> Result<String, Rejected> {
    let fine = !text.is_empty() && text.len() <= ID_BYTES_MAX && !text.contains('\0');
    if fine { Ok(text) } else { Err(Rejected("it has no id, or a long one")) }
}

fn delivery(word: &str, is_final: bool) -> Delivery {
    match word {
        "scheduled" | "queued" => Delivery::Queued,
        "sending" => Delivery::Sending,
        "sent" => Delivery::Sent,
        "delivered" => Delivery::Delivered,
        "sending_failed" | "delivery_failed" | "expired" | "cancelled" => Delivery::Failed,
        "delivery_unconfirmed" => Delivery::Unconfirmed,
        _ if is_final => Delivery::Unconfirmed,
        _ => Delivery::Sent,
    }
}

/// `40300: Blocked due to STOP message`.
fn reason(error: &Value) -> Option<String> {
    let code = match error.get("code")? {
        Value::String(code) => code.clone(),
        Value::Number(code) => code.to_string(),
        _ => return None,
    };
    let title = error.get("title").and_then(Value::as_str).unwrap_or_default();
    let whole = if title.is_empty() { code } else { format!("{code}: {title}") };
    Some(whole.chars().take(REASON_CHARS_MAX).collect())
}

impl Party {
    fn number(&self) -> Option<&str> {
        match self {
            Self::Object { phone_number, .. } => phone_number.as_deref(),
            Self::Number(number) => Some(number),
        }
    }

    fn status(&self) -> Option<&str> {
        match self {
            Self::Object { status, .. } => status.as_deref(),
            Self::Number(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, payload: &Value) -> Result<Event, Rejected> {
        let body = json!({ "data": { "record_type": "event", "id": "e1", "event_type": kind,
            "occurred_at": "2026-11-21T18:10:02.574Z", "payload": payload } });
        read(body.to_string().as_bytes())
    }

    fn inbound() -> Value {
        json!({ "direction": "inbound", "id": "m1", "type": "MMS",
            "from": { "phone_number": "+18665550001", "carrier": "X", "line_type": "Wireless" },
            "to": [{ "phone_number": "+18445550001", "status": "webhook_delivered" },
                   { "phone_number": "12345" }],
            "cc": [], "text": "Hello", "received_at": "2026-11-21T18:10:01.000Z",
            "media": [{ "url": "https://m/1.png", "content_type": "image/png", "size": 1 },
                      { "url": null }],
            "errors": [] })
    }

    #[test]
    fn a_message_is_read() {
        let Ok(Event::Message(read)) = event("message.received", &inbound()) else {
            panic!("a message");
        };
        assert_eq!((&*read.event_id, &*read.message_id), ("e1", "m1"));
        assert_eq!((&*read.from, &*read.text), ("+18665550001", "Hello"));
        assert_eq!(read.to, [E164::parse("+18445550001").expect("number")]);
        assert_eq!(read.media, ["https://m/1.png"]);
        assert_eq!(read.occurred_at.as_deref(), Some("2026-11-21T18:10:01.000Z"));
    }

    #[test]
    fn what_a_receipt_says_is_put_in_order() {
        for (kind, words, expected) in [
            ("message.sent", vec!["queued"], Delivery::Queued),
            ("message.sent", vec!["something new"], Delivery::Sent),
            ("message.sent", vec![], Delivery::Sent),
            ("message.finalized", vec!["delivered"], Delivery::Delivered),
            ("message.finalized", vec!["delivered", "delivery_failed"], Delivery::Failed),
            ("message.finalized", vec!["expired"], Delivery::Failed),
            ("message.finalized", vec!["unknown"], Delivery::Unconfirmed),
        ] {
            let to: Vec<_> =
                words.iter().map(|w| json!({ "phone_number": "+1", "status": w })).collect();
            let payload = json!({ "id": "m2", "from": { "phone_number": "+18445550001" }, "to": to,
                "errors": [{ "code": "40300", "title": "Blocked" }] });
            let Ok(Event::Receipt(receipt)) = event(kind, &payload) else { panic!("a receipt") };
            assert_eq!(receipt.delivery, expected, "{kind} {words:?}");
            assert_eq!(receipt.reason.as_deref(), Some("40300: Blocked"));
        }
    }

    #[test]
    fn what_is_no_message_is_said_to_be_none() {
        assert!(matches!(event("call.initiated", &json!({})), Ok(Event::Other)));
        for (field, value) in [
            ("from", json!({ "phone_number": "" })),
            ("from", json!({ "phone_number": "x".repeat(65) })),
            ("from", json!(null)),
            ("to", json!([])),
            ("id", json!("")),
            ("id", json!("x".repeat(129))),
            ("media", json!("no list")),
        ] {
            let mut payload = inbound();
            payload[field] = value.clone();
            assert!(event("message.received", &payload).is_err(), "{field} {value}");
        }
        for body in ["", "null", "[]", "{}", "{\"data\":1}", "{\"data\":{\"event_type\":1}}"] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).is_err());
    }
}
