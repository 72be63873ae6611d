//! `pgusher check`: everything that is wrong, before anything is started.

use serde_json::json;

use super::command::Common;
use super::{Answer, Failure};

/// Loads the configuration and judges it.
///
/// # Errors
/// Every problem at once.
pub(super) fn check(common: &Common) -> Result<Answer, Failure> {
    common.load()?;
    let place = common.config.as_ref().map(|file| file.display().to_string());
    let text = match &place {
        Some(place) => format!("{place}: good"),
        None => "no configuration file; defaults and environment: good".to_owned(),
    };
    Ok(Answer::new(text, json!({ "ok": true, "config": place })))
}
