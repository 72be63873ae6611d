//! An error in the words a log line may have.

use std::borrow::Cow;
use std::error::Error as StdError;

use tokio_postgres::error::DbError;

use super::told::told_by;

/// What PostgreSQL says at most: it may be a trigger's text.
const MESSAGE_CHARS_MAX: usize = 300;

/// The routine of PostgreSQL that sends what `RAISE` says.
const RAISE: &str = "exec_stmt_raise";

/// An error's words and those of its causes, once each. Of an error of PostgreSQL's no more than
/// SQLSTATE, message and constraint: DETAIL, HINT and CONTEXT hold the values of rows.
pub fn logged(error: &(dyn StdError + 'static)) -> String {
    told_by(error, words)
}

fn words(error: &(dyn StdError + 'static)) -> String {
    error.downcast_ref::<DbError>().map_or_else(|| error.to_string(), of_postgresql)
}

fn of_postgresql(error: &DbError) -> String {
    let state = error.code().code();
    // A data exception quotes the value; what a function raises may hold any.
    let quotes = state.starts_with("22") || error.routine() == Some(RAISE);
    let message = if quotes { Cow::Borrowed("") } else { shortened(error.message()) };
    let mut text = format!("SQLSTATE {state}");
    if !message.is_empty() {
        text.push_str(": ");
        text.push_str(&message);
    }
    if let Some(constraint) = error.constraint().filter(|name| !message.contains(name)) {
        text.push_str(", constraint ");
        text.push_str(constraint);
    }
    text
}

fn shortened(message: &str) -> Cow<'_, str> {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &message[..end])),
        None => Cow::Borrowed(message),
    }
}
