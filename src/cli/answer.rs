//! What a command says at its end.

use std::fmt::Display;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Problems;

/// A command that did what it was asked: the same news for people and for programs.
#[derive(Debug)]
pub struct Answer {
    text: String,
    json: Value,
}

impl Answer {
    /// `text` for people; `json` for programs.
    pub fn new(text: impl Into<String>, json: impl Serialize) -> Self {
        // What is given here are plain structs of this room: they always serialise.
        let json = serde_json::to_value(json).unwrap_or(Value::Null);
        Self { text: text.into(), json }
    }

    /// What goes to standard output.
    pub fn print(&self, as_json: bool) -> String {
        if as_json { self.json.to_string() } else { self.text.clone() }
    }
}

/// A command that did not.
#[derive(Debug)]
pub struct Failure {
    text: String,
    json: Value,
    code: u8,
}

impl Failure {
    /// It was tried and failed: exit code 1.
    pub fn new(why: impl Display) -> Self {
        let text = why.to_string();
        let json = json!({ "error": text });
        Self { text, json, code: 1 }
    }

    /// It was asked wrongly: exit code 2.
    pub fn usage(why: impl Display) -> Self {
        Self { code: 2, ..Self::new(why) }
    }

    /// It was tried and failed, with more to say than a sentence.
    pub fn with(text: impl Into<String>, json: impl Serialize) -> Self {
        // As in `Answer::new`.
        let json = serde_json::to_value(json).unwrap_or(Value::Null);
        Self { text: text.into(), json, code: 1 }
    }

    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// For people on standard error, for programs on standard output.
    pub fn print(&self, as_json: bool) -> String {
        if as_json { self.json.to_string() } else { self.text.clone() }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let listed: Vec<_> = problems.iter().collect();
        let json = json!({ "error": "the configuration is wrong", "problems": listed });
        let code = if problems.are_usage() { 2 } else { 1 };
        Self { text: problems.to_string(), json, code }
    }
}
