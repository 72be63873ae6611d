//! What a relay is lent, and what it asks to have decided.

use crate::fault::{Blame, Fault, SqlState};
use crate::net::Stream;
use crate::server::{Params, Server};
use crate::session::lexer::Hints;
use crate::session::statements::ClientStatements;
use crate::wire::Malformed;

/// What has to be decided.
#[derive(Debug)]
pub(in crate::session) enum Event {
    /// No answer is outstanding and no transaction is open.
    Done,
    /// The client said Terminate or its stream has ended, and nothing is outstanding that the
    /// server would answer; or it takes no more answers.
    ClientGone,
    /// The client broke the protocol.
    ClientBroke(Malformed),
    /// The client prepares more, or longer, than it may.
    TooManyStatements,
    /// The client binds this statement, which was described to it under another schema.
    Stale(Box<[u8]>),
    /// The server's stream has ended; `true` when it said why and the client has heard it.
    ServerGone(bool),
    /// The server broke the protocol.
    ServerBroke,
}

/// What the session lends to its relay for one call.
pub(in crate::session) struct Ends<'a> {
    pub(in crate::session) client: &'a mut Stream,
    pub(in crate::session) server: &'a mut Server,
    pub(in crate::session) statements: &'a mut ClientStatements,
    pub(in crate::session) params: &'a mut Params,
    /// Transaction mode: statements are renamed, session state is watched.
    pub(in crate::session) shared: bool,
    /// What prepared statements are read under now, where that is certain.
    pub(in crate::session) salt: Option<u64>,
    /// The session has prepared statements by SQL, which are known by the names it gave them.
    pub(in crate::session) prepares: bool,
    pub(in crate::session) server_statements_max: usize,
    /// How many named statements the client may have, and how many bytes of them.
    pub(in crate::session) client_max: (usize, usize),
    /// What the client may do that has to be looked at when it is over.
    pub(in crate::session) watched: Hints,
}

/// What a client is told that prepares more, or longer, than it may.
pub(in crate::session) fn too_many_statements() -> Fault {
    let text = "too many prepared statements, or one that is too long, in transaction mode";
    Fault::new(Blame::Client, SqlState::PROGRAM_LIMIT_EXCEEDED, text)
        .hint("Close statements you do not need, or use options=-c pgusher.pool_mode=session.")
}

/// What a client is told that goes by what a statement was described as, where it is another now: in
/// PostgreSQL's words, with the routine, by which drivers know it.
pub(in crate::session) const CHANGED: &[u8] =
    b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0\
      Fplancache.c\0RRevalidateCachedQuery\0\0";
