//! A webhook's body, as far as it matters here. Pure.

use serde_json::Value;

use super::subscription::{State, Status};

/// The longest of Stripe's ids worth a look.
const ID_BYTES_MAX: usize = 255;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Stripe's id of it: the same for every delivery.
    pub(super) id: String,
    /// `customer.subscription.updated` and the like.
    pub(super) kind: String,
    /// To what; nothing that matters here.
    pub(super) subscription: Option<Subscription>,
}

/// A subscription, as an event tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) customer: String,
    pub(super) state: State,
    /// The ids and lookup keys of its prices.
    pub(super) prices: Vec<String>,
    /// Seconds since 1970.
    pub(super) trial_ends_at: Option<i64>,
}

/// Prices of one subscription that are looked at.
const PRICES_MAX: usize = 20;

impl Event {
    /// Reads a body; `None` where it is no event.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let (id, kind) = (id_of(value.get("id")?)?, id_of(value.get("type")?)?);
        let about = kind.strip_prefix("customer.subscription.");
        let subscription = match about {
            Some("created" | "updated" | "deleted" | "paused" | "resumed") => {
                Some(Subscription::read(&value, about == Some("created"))?)
            }
            _ => None,
        };
        Some(Self { id, kind, subscription })
    }
}

impl Subscription {
    fn read(event: &Value, is_first: bool) -> Option<Self> {
        let (data, object) = (event.get("data")?, event.get("data")?.get("object")?);
        let before = data.get("previous_attributes").and_then(|v| v.get("status"));
        let customer = object.get("customer")?;
        let price = |item: &Value| {
            let price = item.get("price")?;
            let names = [price.get("id"), price.get("lookup_key")];
            Some(names.into_iter().flatten().filter_map(id_of).collect::<Vec<_>>())
        };
        let items = object.get("items").and_then(|items| items.get("data")?.as_array());
        let prices = items.into_iter().flatten().take(PRICES_MAX).filter_map(price).flatten();
        Some(Self {
            id: id_of(object.get("id")?)?,
            // An id, or the whole object where it was expanded.
            customer: id_of(customer).or_else(|| id_of(customer.get("id")?))?,
            state: State {
                status: Status::parse(object.get("status")?.as_str()?)?,
                before: before.and_then(Value::as_str).and_then(Status::parse),
                at: event.get("created")?.as_i64()?,
                is_first,
            },
            prices: prices.collect(),
            trial_ends_at: object.get("trial_end").and_then(Value::as_i64),
        })
    }
}

/// A text that may be a key in the registry.
fn id_of(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let fits = !text.is_empty() && text.len() <= ID_BYTES_MAX && !text.contains('\0');
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subscription_is_read_out_of_its_event() {
        let event = json!({
            "id": "evt_1", "type": "customer.subscription.updated", "created": 1000,
            "data": {
                "object": {
                    "id": "sub_1", "customer": "cus_1", "status": "active", "trial_end": 900,
                    "items": { "data": [{ "price": { "id": "price_1", "lookup_key": "pro" } }] },
                },
                "previous_attributes": { "status": "trialing" },
            },
        });
        let read = Event::read(event.to_string().as_bytes()).expect("an event");
        let about = read.subscription.expect("of a subscription");
        assert_eq!((&*read.id, &*about.id, &*about.customer), ("evt_1", "sub_1", "cus_1"));
        assert_eq!(about.prices, ["price_1", "pro"]);
        assert_eq!(about.trial_ends_at, Some(900));
        let state = State {
            status: Status::Active,
            before: Some(Status::Trialing),
            at: 1000,
            is_first: false,
        };
        assert_eq!(about.state, state);
    }

    #[test]
    fn what_is_no_event_is_refused_and_what_is_none_of_ours_is_let_be() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"id":"evt_1"}"#,
            r#"{"id":7,"type":"x"}"#,
            r#"{"id":"e","type":"customer.subscription.updated","created":1,"data":{}}"#,
            r#"{"id":"e","type":"customer.subscription.updated","created":1,"data":{"object":
                {"id":"s","customer":"c","status":"a word nobody knows"}}}"#,
        ] {
            assert_eq!(Event::read(body.as_bytes()), None, "{body}");
        }
        let other = Event::read(br#"{"id":"e","type":"invoice.paid"}"#).expect("an event");
        assert_eq!(other.subscription, None);
    }
}
