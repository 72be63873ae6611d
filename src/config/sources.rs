//! Where values come from: a file, the environment, `--set`.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use figment::Provider as _;
use figment::providers::{Format as _, Toml};
use figment::value::Value;
use serde::Deserialize;

use super::leaf::{Leaf, Place, leaves};
use super::{Config, Problem, Problems, trial};
use crate::http::OpsSettings;

/// The prefix of every environment variable that sets a key: `PGUSHER_POOL__SERVER_MAX` is
/// `pool.server_max`. Without the double underscore it is not one of ours: Kubernetes sets
/// `PGUSHER_PORT` and the like by itself.
const ENV_PREFIX: &str = "PGUSHER_";

/// Who names a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// `--set`.
    Set,
    /// This file, or this variable of the environment.
    Elsewhere(String),
}

/// The sources of a configuration, weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// The environment, as name and value.
    pub env: Vec<(String, String)>,
    /// The `--set` arguments, `section.key=value`.
    pub set: Vec<String>,
}

impl Sources {
    /// The file, this process's environment, and `--set`.
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let env = std::env::vars_os().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect();
        Self { file, env, set }
    }

    /// The configuration they make together.
    ///
    /// # Errors
    /// [`Problems`]: every one there is, not only the first.
    pub fn load(&self) -> Result<Config, Problems> {
        self.load_but(&[])
    }

    /// The same for a command that decides some keys itself: each with what to say to a `--set`
    /// of it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_but(&self, decided: &[(&str, &str)]) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        let all = self.leaves(&mut problems);
        for (key, text) in decided {
            let key = path(key);
            let set = all.iter().filter(|leaf| leaf.place.is_usage && leaf.names(&key));
            problems.extend(set.map(|leaf| leaf.problem(&key, *text)));
        }
        let config: Config = trial::settle(all.clone(), &mut problems);
        for (key, text) in config.faults() {
            let path = path(&key);
            let set = all.iter().find(|l| l.path.starts_with(&path) || path.starts_with(&l.path));
            problems.push(match set {
                Some(leaf) => leaf.problem(&path, text),
                None => Problem { place: "default".to_owned(), key, text, is_usage: false },
            });
        }
        if problems.is_empty() { Ok(config) } else { Err(Problems::new(problems)) }
    }

    /// Who names `key`; of several the one that counts.
    pub fn named(&self, key: &str) -> Option<Named> {
        let key = path(key);
        let all = self.leaves(&mut Vec::new());
        let place = all.into_iter().rfind(|leaf| leaf.names(&key))?.place;
        Some(if place.is_usage { Named::Set } else { Named::Elsewhere(place.name) })
    }

    /// Where the operators' HTTP listens, whatever is wrong with the rest.
    pub fn ops_address(&self) -> Option<SocketAddr> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct OpsAlone {
            ops: OpsSettings,
        }
        let mut problems = Vec::new();
        let mut all = self.leaves(&mut problems);
        all.retain(|leaf| leaf.path.first().is_some_and(|section| section == "ops"));
        trial::settle::<OpsAlone>(all, &mut problems).ops.address
    }

    /// What the sources set, the later over the earlier.
    pub(super) fn leaves(&self, problems: &mut Vec<Problem>) -> Vec<Leaf> {
        let mut all: Vec<Leaf> = Vec::new();
        for layer in [self.file_leaves(), Ok(self.env_leaves()), self.set_leaves()] {
            match layer {
                Ok(layer) => layer.into_iter().for_each(|leaf| overlay(&mut all, leaf)),
                Err(found) => problems.extend(found),
            }
        }
        all
    }

    fn file_leaves(&self) -> Result<Vec<Leaf>, Vec<Problem>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let place = Place { name: file.display().to_string(), is_usage: false };
        let bad = |text: String| {
            let (place, key) = (place.name.clone(), String::new());
            vec![Problem { place, key, text, is_usage: false }]
        };
        let text = fs::read_to_string(file).map_err(|e| bad(format!("cannot be read: {e}")))?;
        let data =
            Toml::string(&text).data().map_err(|e| bad(without_source(&e.kind.to_string())))?;
        Ok(data.into_values().flat_map(|dict| leaves(dict, &place)).collect())
    }

    fn env_leaves(&self) -> Vec<Leaf> {
        let ours = self.env.iter().filter_map(|(name, text)| {
            let key = name.strip_prefix(ENV_PREFIX).filter(|key| key.contains("__"))?;
            let path = key.split("__").map(str::to_lowercase).collect();
            Some(written(path, text, Place { name: format!("${name}"), is_usage: false }))
        });
        ours.collect()
    }

    fn set_leaves(&self) -> Result<Vec<Leaf>, Vec<Problem>> {
        let mut found = Vec::new();
        let mut problems = Vec::new();
        for argument in &self.set {
            let place = Place { name: "--set".to_owned(), is_usage: true };
            match argument.split_once('=') {
                Some((key, text)) if key.split('.').all(|part| !part.trim().is_empty()) => {
                    let path = key.split('.').map(|part| part.trim().to_owned()).collect();
                    found.push(written(path, text, place));
                }
                split => problems.push(Problem {
                    place: place.name,
                    key: String::new(),
                    // Not the value: it may be a secret.
                    text: format!(
                        "`{}` is not section.key=value",
                        split.map_or(&**argument, |s| s.0)
                    ),
                    is_usage: true,
                }),
            }
        }
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }
}

fn path(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}

/// What toml says of a file, with line and column, and without the line itself: it may hold a
/// secret. After its place come the line, drawn over three lines, and the message.
fn without_source(told: &str) -> String {
    let mut lines = told.lines();
    let place = lines.next().unwrap_or_default();
    if !place.starts_with("TOML parse error at line ") {
        return "is not TOML".to_owned();
    }
    let is_drawn = lines.next().is_some_and(|gutter| gutter.trim() == "|");
    let message: Vec<_> = lines.skip(2).filter(|_| is_drawn).collect();
    if message.is_empty() { place.to_owned() } else { format!("{place}: {}", message.join(", ")) }
}

/// A value as a shell writes it: read like TOML where it can be, as a word otherwise.
fn written(path: Vec<String>, text: &str, place: Place) -> Leaf {
    let value = text.parse().unwrap_or_else(|_| Value::from(text));
    Leaf::new(path, value, Some(text.to_owned()), place)
}

/// Adds `leaf`, which takes the place of what it covers: its own key, a table that it replaces by
/// a value, a value that it makes a table.
fn overlay(all: &mut Vec<Leaf>, leaf: Leaf) {
    all.retain(|old| !old.path.starts_with(&leaf.path) && !leaf.path.starts_with(&old.path));
    all.push(leaf);
}
