//! What a tenant's functions do to the session, read from the catalog.
//!
//! The text of a statement does not show what a function, a trigger, a view or a default does out
//! of sight. So the bodies of all functions that are not PostgreSQL's own are read once, by the
//! lexer that reads statements. In most databases none names session state, and that is all there
//! ever is to it. Where one does, its name counts as naming such a thing, and so do the names of
//! what calls it: tables by their triggers, defaults and constraints, views, other functions.

mod find;
mod sql;

use std::sync::Arc;

use super::lexer::{Hints, Words};
use crate::server::{DialError, Server};

/// The functions of a tenant that touch session state, or may.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Routines {
    /// Their names, and the names of what calls them.
    pub(super) words: Arc<Words>,
    /// The dotted settings they name.
    pub(super) settings: Vec<String>,
    /// What any statement may do: they are called by what has no name in a text, an operator say,
    /// or there are too many to tell.
    pub(super) always: Hints,
}

impl Routines {
    /// They could not be read: any statement may come to one that touches session state, and what that
    /// sets has no name.
    pub(super) fn unknown() -> Self {
        let always = Hints::ROUTINE | Hints::READ_BY | Hints::DYNAMIC;
        Self { always, ..Self::default() }
    }
}

/// What was read.
#[derive(Debug)]
pub(super) struct Read {
    /// `None` when the functions leave the session alone.
    pub(super) routines: Option<Arc<Routines>>,
    /// Notifications that came meanwhile: they are the session's.
    pub(super) notifications: Vec<u8>,
}

/// Reads the functions of the database that `server` is connected to.
///
/// # Errors
/// When the server does not answer: it must be destroyed.
pub(super) async fn read(server: &mut Server) -> Result<Read, DialError> {
    let mut found = find::Found::read(server).await?;
    let notifications = found.take_notifications();
    Ok(Read { routines: found.into_routines().map(Arc::new), notifications })
}
