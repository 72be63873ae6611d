//! What can go wrong between `pgusher dev` and its PostgreSQL.

use std::io;
use std::path::PathBuf;

/// Why the cluster could not be started or stopped. Each text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No usable PostgreSQL on this machine.
    #[error(
        "no PostgreSQL 15 or newer was found ({tried}); install one (Debian, Ubuntu: \
         `apt-get install postgresql`; macOS: `brew install postgresql@17`) or name the \
         directory of its binaries with --pg-bin"
    )]
    NoBinaries {
        /// Where it was looked for, and what was wrong with what was there.
        tried: String,
    },
    /// The data directory was made by a major version that is not installed any more.
    #[error(
        "{data} was made by PostgreSQL {made_by}, which is not among those found ({found}); \
         name its binaries with --pg-bin, or start afresh with another --data"
    )]
    OtherVersion {
        /// The data directory.
        data: PathBuf,
        /// Its major version.
        made_by: u32,
        /// What was found instead.
        found: String,
    },
    /// Another process runs a cluster in this directory.
    #[error("another `pgusher dev` is using {0}; stop it, or choose another --data")]
    InUse(PathBuf),
    /// Nobody unprivileged to run PostgreSQL as.
    #[error(
        "PostgreSQL does not run as root and neither `postgres` nor `nobody` exists as an \
         account on this machine; add one or run as an ordinary user"
    )]
    NoAccount,
    /// A directory that should be ours alone belongs to somebody else.
    #[error(
        "{0} exists but is not a directory of this user; move it away or choose another --data"
    )]
    NotOurs(PathBuf),
    /// A PostgreSQL program failed.
    #[error("`{program}` failed: {said}")]
    Program {
        /// Its name.
        program: String,
        /// Its last words.
        said: String,
    },
    /// PostgreSQL ended or stayed silent while it was being started.
    #[error("PostgreSQL did not come up: {said} (log: {log})")]
    NotUp {
        /// The end of its log.
        said: String,
        /// The log.
        log: PathBuf,
    },
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

impl ClusterError {
    /// For `map_err`: names what was being done.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
