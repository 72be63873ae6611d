//! Second factors of admins: codes of an authenticator app, and recovery codes.
//!
//! They are kept in the tenant's own `"AdminMFA"` and `"MFARecoveryCode"`; the registry counts only
//! how often an admin has tried. A code is taken once, whichever process it is shown to.

mod attempts;
mod codes;
mod settings;
mod store;
mod totp;
mod vault;

use std::time::SystemTime;

use tokio_postgres::Client;

use self::attempts::Attempts;
use self::codes::{Typed, recovery_codes};
use self::store::{Factor, Store};
use self::vault::{Opened, Vault};
use super::Refused;
use super::admins::Admin;
use super::percent::percent;
use super::road::Road;
use super::seams::Caller;
use super::verifier::random;
use crate::ident::TenantId;
use crate::tenant::Registry;
use crate::units::Secret;

pub use settings::MfaSettings;

/// Bytes of a shared secret: what RFC 4226 recommends.
const SECRET_BYTES: usize = 20;

/// A second factor that waits for its first code.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The shared secret in base 32, shown once.
    pub secret: Secret,
    /// The same for an authenticator app: `otpauth://totp/…`.
    pub uri: Secret,
}

/// How an admin's second factor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MfaView {
    /// Whether a login takes a code.
    pub enabled: bool,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: i64,
}

/// Enrols, asks for and takes away second factors.
#[derive(Debug, Clone)]
pub struct Mfa {
    registry: Registry,
    attempts: Attempts,
    issuer: String,
}

impl Mfa {
    /// Counting in `registry`.
    pub fn new(registry: Registry, settings: &MfaSettings) -> Self {
        let attempts = Attempts::new(registry.clone(), settings);
        Self { registry, attempts, issuer: settings.issuer.clone() }
    }

    /// How the caller's second factor stands.
    ///
    /// # Errors
    /// When the tenant's database cannot be reached.
    pub async fn look(&self, road: &Road, caller: &Caller) -> Result<MfaView, Refused> {
        let client = road.enter(&caller.tenant).await?;
        let store = Store { client: &client, admin: &caller.subject };
        let enabled = store.factor().await?.is_some_and(|factor| factor.enabled);
        let left = if enabled { store.codes_left().await? } else { 0 };
        Ok(MfaView { enabled, recovery_codes_left: left })
    }

    /// Makes a shared secret for the caller. It counts only when a first code has confirmed it.
    ///
    /// # Errors
    /// [`Refused::Conflict`] when there is one already; [`Refused::NotFound`] when the caller is no
    /// admin of the tenant's database.
    pub async fn enrol(&self, road: &Road, caller: &Caller) -> Result<Enrolment, Refused> {
        let client = road.enter(&caller.tenant).await?;
        let admin = Admin::by_id(&client, &caller.subject).await?.ok_or(Refused::NotFound)?;
        let store = Store { client: &client, admin: &caller.subject };
        let secret = random::<SECRET_BYTES>()?;
        let sealed = self.vault(&caller.tenant, &caller.subject).seal(&secret)?;
        if !store.offer(&sealed).await? {
            return Err(ENABLED_ALREADY);
        }
        let secret = totp::base32(&secret);
        let uri = otpauth(&self.issuer, &admin.view.email, &secret);
        Ok(Enrolment { secret: secret.into(), uri: uri.into() })
    }

    /// Confirms the secret with its first code; from now on a login takes one. Gives the recovery
    /// codes, shown once.
    ///
    /// # Errors
    /// [`Refused::CodeRefused`]; [`Refused::Conflict`] when nothing waits for it.
    pub async fn confirm(
        &self,
        road: &Road,
        caller: &Caller,
        code: &str,
    ) -> Result<Vec<String>, Refused> {
        let client = road.enter(&caller.tenant).await?;
        let store = Store { client: &client, admin: &caller.subject };
        let factor = store.factor().await?.ok_or(NOTHING_TO_CONFIRM)?;
        if factor.enabled {
            return Err(ENABLED_ALREADY);
        }
        self.attempts.take(&caller.tenant, &caller.subject).await?;
        let Some(Typed::Code(code)) = Typed::read(code) else {
            return Err(Refused::CodeRefused);
        };
        let vault = self.vault(&caller.tenant, &caller.subject);
        let opened = vault.open(&factor.secret).ok_or(NOTHING_TO_CONFIRM)?;
        let step = totp::matching(&opened.secret, &code, factor.used, SystemTime::now());
        let step = step.ok_or(Refused::CodeRefused)?;
        // Before it is in force: a registration that is repeated asks the registry, not the tenant's
        // database, and must give no tokens without a code however this ends. One that is noted and
        // then not enabled costs its admin a login.
        self.audit(caller, "mfa enabled").await?;
        if !store.enable(&factor.secret, step).await? {
            return Err(NOTHING_TO_CONFIRM);
        }
        let codes = self.hand_out(&store, &vault).await?;
        // They are shown once; the tries that came before end by themselves.
        if let Err(Refused::Failed(fault)) =
            self.attempts.forget(&caller.tenant, &caller.subject).await
        {
            fault.log();
        }
        Ok(codes)
    }

    /// Takes the second factor away.
    ///
    /// # Errors
    /// [`Refused::CodeRefused`]; [`Refused::Conflict`] when there is none.
    pub async fn disable(&self, road: &Road, caller: &Caller, code: &str) -> Result<(), Refused> {
        let client = road.enter(&caller.tenant).await?;
        self.spend(&client, caller, code).await?;
        let store = Store { client: &client, admin: &caller.subject };
        store.remove().await?;
        self.audit(caller, "mfa disabled").await
    }

    /// New recovery codes; those before are void.
    ///
    /// # Errors
    /// As [`Self::disable`].
    pub async fn renew(
        &self,
        road: &Road,
        caller: &Caller,
        code: &str,
    ) -> Result<Vec<String>, Refused> {
        let client = road.enter(&caller.tenant).await?;
        self.spend(&client, caller, code).await?;
        let store = Store { client: &client, admin: &caller.subject };
        self.audit(caller, "mfa recovery codes renewed").await?;
        self.hand_out(&store, &self.vault(&caller.tenant, &caller.subject)).await
    }

    /// What a login needs beyond the password. Ask only after the password was right: the answer
    /// says whether the admin has a second factor.
    ///
    /// # Errors
    /// [`Refused::CodeNeeded`] without a code, [`Refused::CodeWrong`] with a wrong one,
    /// [`Refused::TooMany`] after too many.
    pub(super) async fn admit(
        &self,
        client: &Client,
        tenant: &TenantId,
        admin: &str,
        code: Option<&str>,
    ) -> Result<(), Refused> {
        let store = Store { client, admin };
        let Some(factor) = store.factor().await?.filter(|factor| factor.enabled) else {
            return Ok(());
        };
        let code = code.ok_or(Refused::CodeNeeded)?;
        self.check(&store, tenant, &factor, code).await
    }

    async fn spend(&self, client: &Client, caller: &Caller, code: &str) -> Result<(), Refused> {
        let store = Store { client, admin: &caller.subject };
        let factor = store.factor().await?.filter(|factor| factor.enabled);
        let factor = factor.ok_or(NOT_ENABLED)?;
        let checked = self.check(&store, &caller.tenant, &factor, code).await;
        checked.map_err(|refused| match refused {
            Refused::CodeWrong => Refused::CodeRefused,
            other => other,
        })
    }

    /// Takes a code, once.
    async fn check(
        &self,
        store: &Store<'_>,
        tenant: &TenantId,
        factor: &Factor,
        code: &str,
    ) -> Result<(), Refused> {
        self.attempts.take(tenant, store.admin).await?;
        let vault = self.vault(tenant, store.admin);
        let taken = match Typed::read(code) {
            Some(Typed::Code(code)) => {
                // A row nobody here can read lets nobody in.
                let opened = vault.open(&factor.secret).ok_or_else(store::unreadable)?;
                let step = totp::matching(&opened.secret, &code, factor.used, SystemTime::now());
                match step {
                    Some(step) => {
                        let sealed = resealed(&vault, &opened)?;
                        store.spend_step(&factor.secret, sealed.as_deref(), step).await?
                    }
                    None => false,
                }
            }
            Some(Typed::Recovery(code)) => store.spend_code(&vault.recovery_hash(&code)).await?,
            None => false,
        };
        if !taken {
            return Err(Refused::CodeWrong);
        }
        self.attempts.forget(tenant, store.admin).await
    }

    async fn hand_out(&self, store: &Store<'_>, vault: &Vault<'_>) -> Result<Vec<String>, Refused> {
        let codes = recovery_codes()?;
        let hash = |code: &String| vault.recovery_hash(&code.replace('-', ""));
        let hashes: Vec<String> = codes.iter().map(hash).collect();
        store.replace_codes(&hashes).await?;
        Ok(codes)
    }

    fn vault<'a>(&'a self, tenant: &'a TenantId, admin: &'a str) -> Vault<'a> {
        Vault { key: self.registry.master_key(), tenant, admin }
    }

    async fn audit(&self, caller: &Caller, action: &str) -> Result<(), Refused> {
        super::audit::note(&self.registry, &caller.tenant, &caller.subject, action).await
    }
}

const ENABLED_ALREADY: Refused =
    Refused::Conflict { kind: "mfa-enabled", title: "There is a second factor already" };
const NOTHING_TO_CONFIRM: Refused =
    Refused::Conflict { kind: "mfa-not-enrolled", title: "No second factor waits for its code" };
const NOT_ENABLED: Refused =
    Refused::Conflict { kind: "mfa-not-enabled", title: "There is no second factor" };

/// A secret that a system before stored in the clear, sealed.
fn resealed(vault: &Vault<'_>, opened: &Opened) -> Result<Option<String>, Refused> {
    if opened.sealed { Ok(None) } else { vault.seal(&opened.secret).map(Some) }
}

/// The URI that authenticator apps read, mostly as a QR code.
fn otpauth(issuer: &str, account: &str, secret: &str) -> String {
    let (issuer, account) = (percent(issuer), percent(account));
    format!(
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}\
         &algorithm=SHA1&digits=6&period=30"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_holds_any_name() {
        assert_eq!(
            otpauth("St. Mary & Co", "ann+x@example.org", "ABC"),
            "otpauth://totp/St.%20Mary%20%26%20Co:ann%2Bx%40example.org?secret=ABC\
             &issuer=St.%20Mary%20%26%20Co&algorithm=SHA1&digits=6&period=30"
        );
    }
}
