//! What was learned from one text.

use super::{Hints, Target, Verb};

/// What was learned from one Query or Parse text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// What the text names, over all its statements.
    pub hints: Hints,
    /// Of these, what only bodies of CREATE FUNCTION name: the statement itself does none of it.
    pub latent: Hints,
    /// Some statement may run what a function of the tenant's holds: not only CREATE FUNCTION,
    /// GRANT, COMMENT and the statements that begin and end transactions.
    pub runs: bool,
    /// The dotted settings that SET, RESET and `set_config` name for longer than the
    /// transaction, in lower case, each once. PostgreSQL's `pg_settings` does not show these.
    /// Of the body of a DO it is whatever looks like one.
    pub settings: Vec<String>,
    /// How many statements the text holds; empty ones do not count.
    pub statements: u32,
    /// The first statement's first word.
    pub first: Verb,
    /// Whether there is exactly one statement.
    pub single: bool,
    /// The name that the statement is about, where it is the only one and of a kind that has one. Of
    /// several statements, what the only EXECUTE or DEALLOCATE among them is about.
    pub target: Option<Target>,
    /// The word that has this target: EXECUTE under EXPLAIN, CREATE above AS EXECUTE.
    pub aim: Verb,
}
