//! What `/metrics` says, taken apart; and a process that has had a little of everything to count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::stripe::MockStripe;
use super::wire::Login;
use super::{Plan, World, eventually, http, telnyx};

/// One metric with all its series.
#[derive(Debug, Clone, Default)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    pub labels: BTreeSet<String>,
    /// The line in front of the value, and the value.
    pub series: Vec<(String, f64)>,
}

/// Reads Prometheus' text format.
pub fn families(text: &str) -> BTreeMap<String, Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').expect("a kind");
            name.clone_into(&mut current);
            kind.clone_into(&mut found.entry(current.clone()).or_default().kind);
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let family = found.get_mut(&current).expect("its TYPE comes first");
            let labels = series.split_once('{').map_or("", |(_, labels)| labels);
            // No value here has such a character in it.
            let labels = labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('='));
            family.labels.extend(labels.map(|(name, _)| name.to_owned()));
            family.series.push((series.to_owned(), value.parse().expect(line)));
        }
    }
    found
}

impl World {
    /// Every metric as it stands.
    pub fn figures(&self) -> BTreeMap<String, Family> {
        families(&self.metrics())
    }

    /// The value of one series, written as in `/metrics`; 0 where it is not there.
    pub fn figure(&self, series: &str) -> f64 {
        let figures = self.figures();
        let mut all = figures.values().flat_map(|family| &family.series);
        all.find(|(name, _)| name == series).map_or(0.0, |(_, value)| *value)
    }

    /// A world that has sessions, registrations, webhooks, payments and somebody else's tokens to
    /// count, and has had one of each.
    pub fn busy() -> Self {
        let world = Self::countable();
        world.have_one_of_each();
        world
    }

    /// The same, before anything has happened.
    pub fn countable() -> Self {
        let stripe = MockStripe::start(&[]);
        let issuer =
            r#"[{issuer="https://i.example",audiences=["a"],jwks_url="http://127.0.0.1:9/"}]"#;
        let plan = Plan::tenants(2)
            .telnyx()
            .set("stripe.secret_key", "sk_test_mock")
            .set("stripe.webhook_secret", "whsec_test")
            .set("stripe.api_url", &format!("http://{}", stripe.address))
            .set("auth.tokens.issuers", issuer);
        Self::start(plan)
    }

    /// Sessions, a registration, webhooks.
    pub fn have_one_of_each(&self) {
        let mut session = self.session(0);
        session.query("create temp table t()").unwrap();
        session.query("begin").unwrap();
        assert!(session.query("select 1/0").is_err());
        session.query("rollback").unwrap();
        let refused = Login { password: "eyJ.no.token".into(), ..self.tenants[0].login() };
        assert!(self.login(&refused).is_err());
        let body = json!({ "email": "counted@example.org", "password": "correct horse",
            "firstName": "A", "lastName": "B", "churchName": "Counted" });
        let answer = http::call(self.http, "POST", "/api/auth/register", &[], &body.to_string());
        assert_eq!(answer.status, 201, "{answer:?}");
        let message = telnyx::inbound("+15550200004", &["+15550199999"], "for nobody");
        assert_eq!(telnyx::bring(self.http, &message.to_string()).status, 200);
        let hook = http::call(self.http, "POST", "/webhooks/stripe", &[], "{}");
        hook.assert_problem(403);
        eventually(Duration::from_secs(20), "every customer is made", || {
            let done = self.figure("pgusher_control_stripe_calls_total{result=\"done\"}");
            (done >= 3.0).then_some(())
        });
        drop(session);
    }
}
