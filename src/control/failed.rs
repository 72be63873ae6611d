//! Registry errors on the control side.

use crate::fault::{Blame, Fault, SqlState};

/// A statement in the registry failed.
pub(super) fn registry(cause: tokio_postgres::Error) -> Fault {
    Fault::new(Blame::Control, SqlState::CANNOT_CONNECT_NOW, "the tenant registry failed")
        .because(cause)
}

/// A bug.
pub(super) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::new(Blame::Proxy, SqlState::INTERNAL_ERROR, "pgusher failed").because(cause)
}

/// The constraint that a statement broke, if that is why it failed.
pub(super) fn broken_constraint(error: &tokio_postgres::Error) -> Option<&str> {
    let db = error.as_db_error()?;
    let unique = *db.code() == tokio_postgres::error::SqlState::UNIQUE_VIOLATION;
    if unique { db.constraint().or(Some("")) } else { None }
}
