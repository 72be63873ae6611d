//! Why a dial failed, and what a client is told of it.

use std::io;

use crate::fault::{Blame, Fault, SqlState};
use crate::wire::{ErrorFields, Malformed};

/// Why no server connection came of a dial.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The network, the name, or TLS failed.
    #[error("cannot reach the server: {0}")]
    Unreachable(#[from] io::Error),
    /// It took longer than `dial.connect_timeout`.
    #[error("the server did not answer in time")]
    Timeout,
    /// PostgreSQL has no connection left: the tenant's `CONNECTION LIMIT` or `max_connections`.
    #[error("the server is full: {message}")]
    Full {
        /// Whether the tenant's own database limit said so, and not the whole server's.
        database: bool,
        /// PostgreSQL's words, for the log.
        message: String,
    },
    /// PostgreSQL refused our login (class 28).
    #[error("the server refused the login: {0}")]
    Login(String),
    /// PostgreSQL does not take a setting the client asked for.
    #[error("the server refused a setting: {0}")]
    Setting(String),
    /// PostgreSQL refused for another reason.
    #[error("the server refused: {message}")]
    Refused {
        /// The SQLSTATE it gave.
        code: String,
        /// PostgreSQL's words, for the log.
        message: String,
    },
    /// The other side does not speak the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
}

impl From<Malformed> for DialError {
    fn from(_: Malformed) -> Self {
        Self::Protocol("malformed message")
    }
}

impl DialError {
    /// Reads PostgreSQL's own refusal.
    pub fn from_error(fields: &ErrorFields<'_>) -> Self {
        let message = fields.summary();
        match fields.code {
            // Told apart by the routine, not by the text, which is translated.
            Some(b"53300") => {
                let database = fields.routine == Some(b"CheckMyDatabase")
                    || fields.routine == Some(b"InitializeSessionUserId");
                Self::Full { database, message }
            }
            Some(code) if code.starts_with(b"28") => Self::Login(message),
            code => {
                let code = String::from_utf8_lossy(code.unwrap_or(b"XX000")).into_owned();
                Self::Refused { code, message }
            }
        }
    }

    /// Reads an error about a setting in the startup packet: an invalid value or name, or one that
    /// only a superuser, or nobody, may set there.
    pub fn of_setting(fields: &ErrorFields<'_>) -> Option<Self> {
        let code = fields.code?;
        let by_guc = || {
            let routine = fields.routine.unwrap_or_default();
            routine.windows(6).any(|word| word == b"config")
        };
        let about = code.starts_with(b"22")
            || matches!(code, b"42704" | b"55P02")
            || (code == b"42501" && by_guc());
        about.then(|| Self::Setting(fields.summary()))
    }

    /// What the client is told: that its PostgreSQL cannot be reached, and no more; but PostgreSQL's
    /// own words on a setting, which is the client's.
    pub fn into_fault(self) -> Fault {
        if let Self::Setting(message) = self {
            let text = "a setting of the startup packet was refused";
            return Fault::new(Blame::Client, SqlState::INVALID_PARAMETER_VALUE, text)
                .detail(message);
        }
        let text = "could not connect to the tenant's PostgreSQL server";
        let hint = match &self {
            Self::Refused { code, .. } if code == "57P03" => {
                "The server is starting up; try again."
            }
            _ => "Try again; if it persists, tell the operator.",
        };
        Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, text).hint(hint).because(self)
    }
}
