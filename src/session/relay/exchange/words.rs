//! The words an [`Exchange`](super::Exchange) is told and tells by.

use std::sync::Arc;

use crate::server::{Prepared, StatementId};
use crate::session::statements::{Asked, Unnamed};

/// A message sent to the server, as far as its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session::relay) enum Sent {
    /// Parse, of a statement known by content if it is a named one.
    Parse(Option<StatementId>),
    /// Bind.
    Bind,
    /// Describe, of a renamed statement known by content if it is one.
    Describe(Option<StatementId>),
    /// Execute.
    Execute,
    /// Close.
    Close,
    /// Sync.
    Sync,
    /// Query.
    Query,
    /// FunctionCall.
    Function,
    /// CopyDone or CopyFail sent before the server asked for data.
    CopyEnd,
    /// A Sync or the end of a copy that the server has read in copy mode: it is not answered.
    Read,
}

/// What becomes of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session::relay) enum Reply {
    /// The client asked: it gets the answer.
    Forward,
    /// pgusher asked: nobody gets it.
    Drop,
    /// A Close stood in for a Parse the server no longer needed: the client gets ParseComplete.
    AsParse,
}

/// What to do with a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session::relay) enum Verdict {
    /// Forward it.
    Forward,
    /// Drop it.
    Drop,
    /// Forward it as ParseComplete.
    AsParse,
}

/// What a message did to the client's statements before the server had its say.
#[derive(Debug)]
pub(in crate::session::relay) enum Undo {
    /// A statement of this name was made.
    Made(Box<[u8]>, StatementId),
    /// A statement of this name was closed.
    Closed(Box<[u8]>, Arc<Prepared>),
    /// A statement was put on the server.
    Prepared(StatementId),
    /// A statement that the client has not made was closed.
    Forgotten(StatementId),
    /// Another unnamed statement was made, or none is left. What it was before, where that was
    /// another.
    Unnamed(Option<Unnamed>),
    /// The client's unnamed statement was put on the server.
    Placed,
    /// A statement was parsed under a name that the client takes to be free.
    Retaken(Box<Retaken>),
    /// A statement of this name was to be closed, of which there is none.
    Missed(Box<[u8]>),
    /// An unnamed statement was used that there was no room to keep.
    TooLong,
    /// One that is not there was used, in the place of one that is not what the client was told.
    Changed,
    /// A statement is described to the client that calls it this, or to pgusher.
    Asked(Asked),
    /// What had to be taken back is gone.
    Nothing,
}

impl Undo {
    /// How many bytes keeping it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Made(name, _) | Self::Missed(name) => name.len(),
            Self::Closed(name, prepared) => name.len().saturating_add(prepared.bytes()),
            Self::Unnamed(before) => before.as_ref().map_or(0, Unnamed::bytes),
            Self::Asked(asked) => asked.name.len(),
            Self::Retaken(retaken) => retaken.name.len().saturating_add(retaken.prepared.bytes()),
            Self::Prepared(_)
            | Self::Forgotten(_)
            | Self::Placed
            | Self::TooLong
            | Self::Changed
            | Self::Nothing => 0,
        }
    }
}

/// A statement that was parsed under the name of another.
#[derive(Debug)]
pub(in crate::session::relay) struct Retaken {
    /// The client's name for both.
    pub(in crate::session::relay) name: Box<[u8]>,
    /// The one that was there.
    pub(in crate::session::relay) old: Arc<Prepared>,
    pub(in crate::session::relay) prepared: Arc<Prepared>,
    /// The name has been free since.
    pub(in crate::session::relay) freed: bool,
}

/// What became of pgusher's own question, where it asked one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::session::relay) enum Own {
    /// None is open.
    #[default]
    Settled,
    /// The server has not answered yet.
    Asked,
    /// The server refused: a cancel or a timeout hit it.
    Refused,
}

/// Why the server has not the statement that it was to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session::relay) enum Behind {
    /// It was never made, as far as pgusher knows.
    Nothing,
    /// See [`Undo::TooLong`].
    TooLong,
    /// See [`Undo::Changed`].
    Changed,
}

/// The server said what it cannot be saying. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's message does not answer anything that was sent")]
pub(in crate::session::relay) struct Doubt;
