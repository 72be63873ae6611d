//! The whole configuration: one section for each room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::auth::{SignerSettings, ThrottleSettings, TokenSettings};
use crate::boot::{MetricsSettings, RuntimeSettings};
use crate::control::health::HealthSettings;
use crate::control::mfa::MfaSettings;
use crate::control::provision::ServerSettings;
use crate::control::registration::{RegistrationSettings, WarmSettings};
use crate::control::schema::SchemaSettings;
use crate::control::sms::IntakeSettings;
use crate::control::stripe::StripeSettings;
use crate::control::telnyx::{Telnyx, TelnyxSettings};
use crate::control::{LegacyEmailHash, PasswordSettings, RefreshSettings};
use crate::front::FrontSettings;
use crate::http::{HttpSettings, OpsSettings};
use crate::net::tls::{ClientTlsSettings, TlsSettings};
use crate::observe::LogSettings;
use crate::pool::{LimitsSettings, PinSettings, PoolSettings};
use crate::server::DialSettings;
use crate::session::SessionSettings;
use crate::tenant::{BillingRules, BillingSettings, DirectorySettings, RegistrySettings};
use crate::units::Secret;

/// Every setting there is, each section typed by the room that owns it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is logged, and how.
    pub log: LogSettings,
    /// Threads.
    pub runtime: RuntimeSettings,
    /// Where PostgreSQL clients come in.
    pub listen: FrontSettings,
    /// The certificate clients see. Without one there is no TLS.
    pub tls: TlsSettings,
    /// What a client may ask for, and how long it may take.
    pub session: SessionSettings,
    /// Who is believed.
    pub auth: AuthSettings,
    /// The metadata database.
    pub registry: RegistrySettings,
    /// The cache in front of it.
    pub directory: DirectorySettings,
    /// The PostgreSQL servers that tenants live on, by name. A name is for good: the registry has
    /// it beside each tenant.
    pub servers: BTreeMap<String, ServerSettings>,
    /// How they are watched.
    pub health: HealthSettings,
    /// How pgusher connects to them.
    pub dial: DialSettings,
    /// What it shows to those that ask for a certificate.
    pub dial_tls: ClientTlsSettings,
    /// How server connections are kept and shared.
    pub pool: PoolSettings,
    /// What leases that outlive their transaction may take.
    pub pins: PinSettings,
    /// What a tenant may hold, unless its plan, its `databaseUrl` or its own row says otherwise.
    pub limits: LimitsSettings,
    /// The same by plan, `[plans.starter]`: what a plan does not say is as in `[limits]`.
    pub plans: BTreeMap<String, LimitsSettings>,
    /// How organisations become tenants.
    pub registration: RegistrationSettings,
    /// What a tenant's database is made of.
    pub schema: SchemaSettings,
    /// Databases made ahead of time.
    pub warm: WarmSettings,
    /// What a tenant may do that does not pay.
    pub billing: BillingSettings,
    /// Where payments are taken.
    pub stripe: StripeSettings,
    /// What a password hash costs.
    pub passwords: PasswordSettings,
    /// Refresh tokens.
    pub refresh: RefreshSettings,
    /// Inbound messages.
    pub sms: SmsSettings,
    /// Second factors of admins' logins.
    pub mfa: MfaSettings,
    /// The public HTTP API.
    pub http: HttpSettings,
    /// The operators' HTTP.
    pub ops: OpsSettings,
    /// Metrics.
    pub metrics: MetricsSettings,
}

/// `[auth]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// What role passwords, e-mail hashes and more are derived from: 32 characters or more, the
    /// same for every pgusher process of one registry, kept with its backup, never lost.
    pub master_key: Secret,
    /// How an adopted registry hashed e-mail addresses: `none`, `sha256` or `plain`. With `none` no
    /// admin it brought along can log in.
    pub legacy_email_hash: LegacyEmailHash,
    /// Which tokens are believed.
    pub tokens: TokenSettings,
    /// The tokens pgusher itself mints.
    pub signer: SignerSettings,
    /// How failures are slowed.
    pub throttle: ThrottleSettings,
}

/// `[sms]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmsSettings {
    /// How webhooks of any provider are taken.
    pub intake: IntakeSettings,
    /// Inbound messages by Telnyx.
    pub telnyx: TelnyxSettings,
}

impl Config {
    /// What tenants are held to that do not pay.
    pub fn billing_rules(&self) -> BillingRules {
        self.billing.rules(!self.stripe.webhook_secret.is_empty())
    }

    /// What is wrong although every value is of its type: the dotted key, and why. Each room
    /// judges its own section.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut judge = |key: &str, verdict: Result<(), String>| {
            faults.extend(verdict.err().map(|text| (key.to_owned(), text)));
        };
        judge("log.level", self.log.check());
        judge("sms.telnyx.public_key", Telnyx::new(&self.sms.telnyx).map(drop));
        for problem in self.pins.problems() {
            judge("pins", Err(problem));
        }
        for problem in self.limits.problems("limits") {
            judge("limits", Err(problem));
        }
        let keyed = self.tls.problems().into_iter();
        let keyed = keyed.chain(self.stripe.problems()).chain(self.sms.telnyx.problems());
        let keyed = keyed.chain(self.listen.problems()).chain(self.http.problems());
        for (key, problem) in keyed.chain(self.passwords.problems()) {
            judge(key, Err(problem));
        }
        for (name, plan) in &self.plans {
            let section = format!("plans.{name}");
            for problem in plan.problems(&section) {
                judge(&section, Err(problem));
            }
        }
        faults
    }
}
