//! The whole configuration: one section for each room.

use serde::{Deserialize, Serialize};

use crate::observe::LogSettings;

/// Every setting there is, each section typed by the room that owns it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is logged, and how.
    pub log: LogSettings,
}

impl Config {
    /// What is wrong although every value is of its type: the dotted key, and why. Each room
    /// judges its own section.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut judge = |key: &str, verdict: Result<(), String>| {
            faults.extend(verdict.err().map(|text| (key.to_owned(), text)));
        };
        judge("log.level", self.log.check());
        faults
    }
}
