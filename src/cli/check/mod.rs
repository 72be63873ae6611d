//! `pgusher check`: everything that is wrong, before anything is started.
//!
//! Four looks, and all their problems at once: the configuration, the rooms built from it (keys,
//! certificates), the registry, and every server. What is no problem and still worth knowing is
//! told behind them.

mod registry;
mod server;

use clap::Args;
use serde_json::json;
use tokio::runtime::Handle;

use super::command::Common;
use super::registry::any_key;
use super::{Answer, Failure};
use crate::boot::Built;
use crate::config::{Config, Problem};

/// How far it looks.
#[derive(Debug, Clone, Args)]
pub struct CheckArguments {
    /// Asks neither the registry nor any server: configuration, key and certificate files only.
    #[arg(long)]
    pub offline: bool,
}

/// What was found so far.
struct Findings {
    place: String,
    problems: Vec<Problem>,
    /// Lines for people about what is no problem; programs find it in the answer.
    remarks: Vec<String>,
}

impl Findings {
    fn note(&mut self, key: impl Into<String>, text: impl Into<String>) {
        let (place, key, text) = (self.place.clone(), key.into(), text.into());
        self.problems.push(Problem { place, key, text, is_usage: false });
    }
}

/// Looks at everything.
///
/// # Errors
/// Every problem at once.
pub(super) async fn check(common: &Common, asked: &CheckArguments) -> Result<Answer, Failure> {
    let config = common.load()?;
    let file = common.config.as_ref().map(|file| file.display().to_string());
    let place = file.clone().unwrap_or_else(|| "defaults and environment".to_owned());
    let mut findings = Findings { place: place.clone(), problems: Vec::new(), remarks: Vec::new() };
    if let Err(problems) = Built::build(&config, &Handle::current()) {
        for problem in &problems {
            findings.note_line(problem);
        }
    }
    let mut found = json!({ "ok": true, "config": file });
    if !asked.offline {
        found["registry"] = Box::pin(registry::look(&config, &mut findings)).await;
        found["servers"] = Box::pin(servers(&config, &mut findings)).await?;
    }
    let remarks = findings.remarks;
    if findings.problems.is_empty() {
        let text: Vec<_> = [format!("{place}: good")].into_iter().chain(remarks).collect();
        return Ok(Answer::new(text.join("\n"), found));
    }
    let text: Vec<_> = findings.problems.iter().map(ToString::to_string).chain(remarks).collect();
    found["ok"] = false.into();
    found["error"] = "not everything is as it must be".into();
    found["problems"] = json!(findings.problems);
    Err(Failure::with(text.join("\n"), found))
}

impl Findings {
    /// A problem of the rooms: `section: what`.
    fn note_line(&mut self, problem: &str) {
        match problem.split_once(": ") {
            Some((key, text)) if !key.contains(' ') => self.note(key, text),
            _ => self.note("", problem),
        }
    }
}

async fn servers(config: &Config, findings: &mut Findings) -> Result<serde_json::Value, Failure> {
    // A wrong master key was reported with the rooms; looking at servers needs none.
    let key = any_key(config).or_else(|_| any_key(&Config::default()))?;
    let mut all = serde_json::Map::new();
    let beside = server::Beside::of(config);
    for (name, settings) in &config.servers {
        let facts = server::look(name, (settings, &beside), key.clone(), findings);
        let facts = Box::pin(facts).await;
        all.insert(name.clone(), facts);
    }
    Ok(all.into())
}
