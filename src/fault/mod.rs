//! Faults: whose blame, which SQLSTATE, and the text a stranger may read.
//!
//! One place decides what leaves the process. A room makes a [`Fault`] where it knows most; the
//! doors only render it. The private cause goes to the log and nowhere else.

mod blame;
mod logged;
mod sqlstate;
mod told;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;

pub use blame::Blame;
pub use logged::logged;
pub use sqlstate::SqlState;
pub use told::told;

/// A failure with its blame and its public text. One word wide, so that `Result`s stay small.
pub struct Fault(Box<Inner>);

struct Inner {
    blame: Blame,
    state: SqlState,
    message: Cow<'static, str>,
    detail: Option<String>,
    hint: Option<Cow<'static, str>>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Fault {
    /// A fault whose `message` may be read by anyone.
    pub fn new(blame: Blame, state: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            blame,
            state,
            message: message.into(),
            detail: None,
            hint: None,
            cause: None,
        }))
    }

    /// Adds the DETAIL line. Figures of a proven tenant go here.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the HINT line: what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the private cause, for the log only.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        self.0.blame
    }

    /// The SQLSTATE.
    pub fn state(&self) -> SqlState {
        self.0.state
    }

    /// The public message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The DETAIL line, if any.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The HINT line, if any.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The private cause, if any, in words that a log may hold.
    pub fn cause(&self) -> Option<String> {
        self.0.cause.as_ref().map(|cause| logged(&**cause))
    }

    /// Writes one log line at the level the blame asks for. The public text carries no secret by
    /// construction; the cause is written as its own field.
    pub fn log(&self) {
        self.log_of(None, None);
    }

    /// As [`Fault::log`], with whose it was, as far as that is known.
    pub fn log_of(&self, peer: Option<SocketAddr>, tenant: Option<&str>) {
        let peer = peer.map(tracing::field::display);
        let cause = self.cause();
        let (blame, state) = (self.0.blame.as_str(), self.0.state.as_str());
        let message = &*self.0.message;
        if self.0.blame.is_ours() {
            tracing::error!(blame, sqlstate = state, fault = message, cause, peer, tenant, "fault");
        } else {
            tracing::info!(
                blame,
                sqlstate = state,
                fault = message,
                cause,
                peer,
                tenant,
                "refused"
            );
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("blame", &self.0.blame)
            .field("state", &self.0.state.as_str())
            .field("message", &self.0.message)
            .field("detail", &self.0.detail)
            .field("cause", &self.0.cause)
            .finish_non_exhaustive()
    }
}

impl StdError for Fault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_ref().map(|c| &**c as &(dyn StdError + 'static))
    }
}
