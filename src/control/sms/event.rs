//! What a provider's webhook says, in words that are no provider's.

use serde_json::{Value, json};

use crate::control::phone::E164;

/// One webhook understood.
#[derive(Debug, Clone)]
pub enum Event {
    /// Somebody wrote to numbers, some of which are tenants'.
    Message(Inbound),
    /// What became of a message a tenant sent.
    Receipt(Receipt),
    /// Nothing pgusher keeps: acknowledged and forgotten.
    Other,
}

/// An inbound message. Its `Debug` shows ids only.
#[derive(Clone)]
pub struct Inbound {
    /// The provider's id of this event; a second delivery has the same.
    pub event_id: String,
    /// The provider's id of the message; another event about it has the same.
    pub message_id: String,
    /// Who wrote: a number, a short code or a name.
    pub from: String,
    /// Whom they wrote to, as far as these are numbers.
    pub to: Vec<E164>,
    /// What they wrote.
    pub text: String,
    /// Where the media are.
    pub media: Vec<String>,
    /// When, as the provider writes it (ISO 8601).
    pub occurred_at: Option<String>,
}

/// A delivery receipt. Its `Debug` shows ids only.
#[derive(Clone)]
pub struct Receipt {
    /// The provider's id of this event.
    pub event_id: String,
    /// The provider's id of the message.
    pub message_id: String,
    /// The tenant's number it was sent from.
    pub from: E164,
    /// How far it is.
    pub delivery: Delivery,
    /// Why it failed.
    pub reason: Option<String>,
    /// When, as the provider writes it (ISO 8601).
    pub occurred_at: Option<String>,
}

/// How far a delivery is, in the order it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// Accepted by the provider.
    Queued,
    /// On its way to the carrier.
    Sending,
    /// The carrier has it.
    Sent,
    /// The carrier says nothing more.
    Unconfirmed,
    /// It will not arrive.
    Failed,
    /// It arrived.
    Delivered,
}

/// Why a proven webhook cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the webhook cannot be understood: {0}")]
pub struct Rejected(pub &'static str);

impl Delivery {
    /// The word in `"MessageRecipient"."status"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Unconfirmed => "unconfirmed",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
        }
    }
}

/// What goes into a tenant's database: one call's arguments.
#[derive(Clone)]
pub(super) struct Parcel {
    pub(super) kind: Kind,
    pub(super) event_id: String,
    pub(super) message_id: String,
    pub(super) body: Value,
    /// Why it cannot be stored as it was; what is in `body` was mended.
    pub(super) unfit: Option<&'static str>,
}

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Receipt,
}

impl Inbound {
    /// As it is stored for the owner of `number`.
    pub(super) fn parcel(&self, number: &E164) -> Parcel {
        let body = json!({
            "from": self.from,
            "to": number.as_str(),
            "text": self.text,
            "media": self.media,
            "occurredAt": self.occurred_at,
        });
        Parcel::new(Kind::Message, &self.event_id, &self.message_id, body)
    }
}

impl Receipt {
    pub(super) fn parcel(&self) -> Parcel {
        let body = json!({
            "status": self.delivery.as_str(),
            "reason": self.reason,
            "occurredAt": self.occurred_at,
        });
        Parcel::new(Kind::Receipt, &self.event_id, &self.message_id, body)
    }
}

impl Parcel {
    fn new(kind: Kind, event_id: &str, message_id: &str, mut body: Value) -> Self {
        let unfit = mend(&mut body).then_some("the text holds NUL, which PostgreSQL cannot keep");
        let (event_id, message_id) = (event_id.to_owned(), message_id.to_owned());
        Self { kind, event_id, message_id, body, unfit }
    }
}

/// Replaces NUL by U+FFFD everywhere; says whether there was one. Neither text nor jsonb hold it.
fn mend(value: &mut Value) -> bool {
    match value {
        Value::String(text) if text.contains('\0') => {
            *text = text.replace('\0', "\u{fffd}");
            true
        }
        Value::Array(items) => items.iter_mut().fold(false, |any, item| mend(item) | any),
        Value::Object(fields) => fields.values_mut().fold(false, |any, item| mend(item) | any),
        _ => false,
    }
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound").field("event_id", &self.event_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipt").field("event_id", &self.event_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgresql_cannot_hold_is_mended_and_said() {
        let number = E164::parse("+15551234567").expect("number");
        let mut inbound = Inbound {
            event_id: "e".into(),
            message_id: "m".into(),
            from: "+15550000001".into(),
            to: vec![number.clone()],
            text: "a\0b".into(),
            media: vec!["https://x/\0".into()],
            occurred_at: None,
        };
        let parcel = inbound.parcel(&number);
        assert!(parcel.unfit.is_some());
        assert_eq!(parcel.body["text"], "a\u{fffd}b");
        assert_eq!(parcel.body["media"][0], "https://x/\u{fffd}");
        inbound.text = "ab".into();
        inbound.media.clear();
        assert!(inbound.parcel(&number).unfit.is_none());
        assert!(!format!("{inbound:?}").contains("555"));
    }

    #[test]
    fn deliveries_are_in_the_order_they_go() {
        use Delivery::{Delivered, Failed, Queued, Sending, Sent, Unconfirmed};
        let order = [Queued, Sending, Sent, Unconfirmed, Failed, Delivered];
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
