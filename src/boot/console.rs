//! The process as the admin console sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Built;
use super::changes::Reaction;
use crate::admin::{Admin, AdminParts, Process, Setting, Stop};
use crate::config::Config;
use crate::control::changes::Change;
use crate::fault::{Blame, Fault, SqlState};

/// What an operator asked of the process; nothing so far.
pub(super) type Asked = Option<Stop>;

/// The console over these rooms.
pub(super) fn console(built: &Arc<Built>, config: &Config, asked: watch::Sender<Asked>) -> Admin {
    let control = Handle::current();
    // The console is kept by what sessions share, which `Built` keeps: no circle.
    let process = Whole {
        built: Arc::downgrade(built),
        control: control.clone(),
        settings: settings(config),
        asked,
    };
    let parts = AdminParts {
        pools: built.pools.clone(),
        roster: Arc::clone(built.shared.roster()),
        directory: Arc::clone(&built.directory),
        verifier: built.verifier.clone(),
        rules: built.rules.clone(),
        pool_mode: config.session.pool_mode,
        process: Arc::new(process),
    };
    Admin::new(parts, control)
}

struct Whole {
    built: Weak<Built>,
    control: Handle,
    settings: Vec<Setting>,
    asked: watch::Sender<Asked>,
}

impl Process for Whole {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            let Some(built) = self.built.upgrade() else { return Ok(()) };
            reload(&built, &self.control)
        }
        .boxed()
    }

    fn shut_down(&self, how: Stop) {
        self.asked.send_replace(Some(how));
    }
}

/// Reads the certificate and what the registry holds anew.
///
/// # Errors
/// What is wrong with the certificate's files: nothing has changed then.
pub(super) fn reload(built: &Arc<Built>, control: &Handle) -> Result<(), Fault> {
    if let Some(tls) = &built.tls {
        tls.reload().map_err(|problems| not_reloaded(&problems))?;
    }
    // As after a gap in the registry's notices: everything is looked at again.
    Reaction::new(Arc::clone(built), control.clone()).take(Change::Gap);
    Ok(())
}

fn not_reloaded(problems: &[String]) -> Fault {
    let text = "the certificate could not be reloaded; the old one stays";
    Fault::new(Blame::Control, SqlState::CONFIG_FILE_ERROR, text).detail(problems.join("; "))
}

/// Every setting in force. [`crate::units::Secret`] serialises as `***`.
fn settings(config: &Config) -> Vec<Setting> {
    let (values, defaults) = (leaves(config), leaves(&Config::default()));
    let setting = |(key, value): (String, String)| {
        let default = defaults.get(&key).cloned().unwrap_or_default();
        Setting { key, value, default }
    };
    values.into_iter().map(setting).collect()
}

fn leaves(config: &Config) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    // What cannot be written as JSON is not shown.
    flatten(String::new(), serde_json::to_value(config).unwrap_or_default(), &mut leaves);
    leaves
}

fn flatten(key: String, value: Value, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let dotted = if key.is_empty() { name } else { format!("{key}.{name}") };
                flatten(dotted, field, leaves);
            }
        }
        Value::String(text) => drop(leaves.insert(key, text)),
        Value::Null => drop(leaves.insert(key, String::new())),
        other => drop(leaves.insert(key, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_flat_and_without_secrets() {
        let mut config = Config::default();
        config.auth.master_key = "a secret that must not be shown".into();
        config.limits.server_max = Some(7);
        let shown = settings(&config);
        let of = |key: &str| shown.iter().find(|s| s.key == key).map(|s| s.value.as_str());
        assert_eq!(of("limits.server_max"), Some("7"));
        assert_eq!(of("auth.master_key"), Some("***"));
        assert_eq!(of("session.pool_mode"), Some("transaction"));
        assert!(!format!("{shown:?}").contains("must not be shown"));
        let changed = shown.iter().filter(|s| s.value != s.default).count();
        assert_eq!(changed, 2);
    }
}
