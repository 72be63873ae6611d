//! `pgusher version`.

use serde_json::json;

use super::Answer;

/// The version this binary was built from.
pub(super) fn version() -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    Answer::new(format!("pgusher {version}"), json!({ "version": version }))
}
