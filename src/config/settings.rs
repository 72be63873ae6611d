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
