//! What was learned from one text.

use super::{Hints, Target, Verb};

/// What was learned from one Query or Parse text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// What the text names, over all its statements.
    pub hints: Hints,
    /// The dotted settings that SET, RESET and `set_config` name for longer than the
    /// transaction, in lower case, each once. PostgreSQL's `pg_settings` does not show these.
    /// Those named in a body are not here: then `hints` has SET and IN_BODY.
    pub settings: Vec<String>,
    /// How many statements the text holds; empty ones do not count.
    pub statements: u32,
    /// The first statement's first word.
    pub first: Verb,
    /// Whether there is exactly one statement.
    pub single: bool,
    /// The name that the statement is about, where it is the only one and of a kind that has one.
    pub target: Option<Target>,
}
