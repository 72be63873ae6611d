//! The registry: reachable, migrated, and the tenants in it such that they can be served.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::Findings;
use crate::config::Config;
use crate::control::schema::{MigrationSet, RegistryStatus, registry_status};
use crate::control::{AdoptedLogin, adopted_logins};
use crate::fault::told;
use crate::tenant::DatabaseUrl;

/// Ids named in one problem at most.
const NAMED_MAX: usize = 10;

/// Adopted logins tried at once.
const TRIED_AT_ONCE: usize = 8;

/// Adopted logins told to people one by one at most; programs are told a thousand.
const LINES_MAX: usize = 20;

/// The logins of adopted tenants, for programs; never a password.
#[derive(Default)]
struct Adopted {
    logins: Vec<Value>,
    /// How many more there are.
    more: usize,
}

/// Looks at the registry. What it is, for the answer.
pub(super) async fn look(config: &Config, findings: &mut Findings) -> Value {
    // One that cannot be read was reported with the rooms, unless the master key hid it.
    let url = match DatabaseUrl::parse(config.registry.url.expose()) {
        Ok(url) => url,
        Err(why) => {
            if !findings.problems.iter().any(|p| p.key.starts_with("registry")) {
                findings.note("registry.url", why.to_string());
            }
            return Value::Null;
        }
    };
    let timeout = config.registry.connect_timeout.get();
    let status = match registry_status(&url, &MigrationSet::registry(), timeout).await {
        Ok(status) => status,
        Err(why) => {
            findings.note("registry.url", format!("the registry does not answer: {}", told(&why)));
            return json!({ "reachable": false });
        }
    };
    judge(&status, findings);
    let adopted = match &*status.pending {
        [] => logins(&url, timeout, findings).await,
        _ => Adopted::default(),
    };
    json!({ "reachable": true, "adopted": status.adopted, "applied": status.applied,
        "pending": status.pending, "adoptedLogins": adopted.logins,
        "adoptedLoginsMore": adopted.more })
}

fn judge(status: &RegistryStatus, findings: &mut Findings) {
    let RegistryStatus { pending, changed, unknown, refused_tenants, unusable_urls, .. } = status;
    for (names, text) in [
        (pending, "migrations are missing; run `pgusher migrate registry`"),
        (changed, "migrations were changed after they were applied"),
        (unknown, "migrations are those of a newer pgusher"),
        (refused_tenants, "tenants cannot be served: an id is 1 to 56 of a-z, 0-9 and _"),
        (unusable_urls, "tenants have a databaseUrl that cannot be used"),
    ] {
        if !names.is_empty() {
            findings.note("registry", format!("{} {text}: {}", names.len(), some(names)));
        }
    }
}

fn some(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

/// The logins that adopted tenants brought along, which are used as found: told one by one, and a
/// problem where one is a superuser's or lets nobody in.
async fn logins(url: &DatabaseUrl, timeout: Duration, findings: &mut Findings) -> Adopted {
    let (logins, more) = match adopted_logins(url, timeout).await {
        Ok(found) => found,
        Err(why) => {
            findings.note("registry", told(&why));
            return Adopted::default();
        }
    };
    let tried = futures_util::stream::iter(logins).map(|login| async move {
        let verdict = login.is_superuser(timeout).await;
        (login, verdict)
    });
    let mut tried = tried.buffered(TRIED_AT_ONCE);
    let mut adopted = Adopted { logins: Vec::new(), more };
    while let Some((login, verdict)) = tried.next().await {
        let AdoptedLogin { user, url, tenant, tenants } = login;
        // Quoted as Rust does: a terminal obeys nothing of what others wrote.
        let at = format!("{user:?} on {}:{}", url.host.escape_debug(), url.port);
        let whose = format!("of {tenants} adopted tenant(s), {tenant:?} the first");
        match &verdict {
            Ok(false) => {}
            Ok(true) => findings.note(
                "registry",
                format!(
                    "the login {at} {whose}, is a superuser: its sessions are walled off \
                         from no other tenant there, and no CONNECTION LIMIT holds them"
                ),
            ),
            Err(why) => {
                let why = told(why);
                findings.note("registry", format!("the login {at} {whose}, fails: {why}"));
            }
        }
        if adopted.logins.len() < LINES_MAX {
            let line = format!("adopted: the login {at} is used as found, for {tenants} tenant(s)");
            findings.remarks.push(line);
        }
        adopted.logins.push(json!({ "user": user, "host": url.host, "port": url.port,
            "tenants": tenants, "superuser": verdict.ok() }));
    }
    let left = adopted.logins.len().saturating_sub(LINES_MAX).saturating_add(more);
    if left > 0 {
        findings.remarks.push(format!("adopted: {left} more logins are used as found"));
    }
    adopted
}
