//! Log lines: to standard error, as text or as JSON.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::lines::Lines;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// A filter as `tracing` reads it: `info`, `pgusher=debug,info`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl LogSettings {
    /// Installs the process-wide subscriber. A second call changes nothing, so that tests may
    /// call it freely.
    ///
    /// # Errors
    /// When `level` is not a filter; the text says what is wrong with it.
    pub fn install(&self) -> Result<(), String> {
        let filter = self.filter()?;
        let base =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines::to_stderr());
        let installed = match self.format {
            LogFormat::Text => base.with_target(false).try_init(),
            LogFormat::Json => base.json().flatten_event(true).try_init(),
        };
        drop(installed);
        Ok(())
    }

    /// Says what [`LogSettings::install`] would refuse.
    ///
    /// # Errors
    /// The same.
    pub fn check(&self) -> Result<(), String> {
        self.filter().map(drop)
    }

    fn filter(&self) -> Result<EnvFilter, String> {
        EnvFilter::try_new(&self.level)
            .map_err(|e| format!("`{}` is not a filter: {e}", self.level))
    }
}
