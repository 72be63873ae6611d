//! Why a request about a tenant was not done.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::fault::Fault;

/// One field of a request and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldProblem {
    /// The field's name as the API spells it.
    pub field: &'static str,
    /// A sentence for the person who filled it in.
    pub message: Cow<'static, str>,
}

impl FieldProblem {
    /// A problem with `field`.
    pub fn new(field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field, message: message.into() }
    }
}

/// A refusal, or a failure. The doors turn it into their own words.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Fields that cannot be used.
    #[error("some fields cannot be used")]
    Invalid(Vec<FieldProblem>),
    /// Somebody registered with this e-mail.
    #[error("this e-mail is registered already")]
    EmailTaken,
    /// The Idempotency-Key was used with another body.
    #[error("this Idempotency-Key was used with another body")]
    KeyReused,
    /// The same registration is on its way.
    #[error("the same registration is being worked on")]
    InProgress,
    /// Unknown e-mail, wrong password, or a refresh token that is no good: never which.
    #[error("the credentials are not valid")]
    Credentials,
    /// The password is right, and the admin has a second factor: its code is missing.
    #[error("a code of the second factor is needed")]
    CodeNeeded,
    /// The password is right, the code is not.
    #[error("the code of the second factor is not valid")]
    CodeWrong,
    /// Who is logged in has shown a code that is not valid.
    #[error("the code is not the one of this moment, or was used already")]
    CodeRefused,
    /// Tried too often.
    #[error("too many tries")]
    TooMany {
        /// When it may be tried again.
        retry_after: Duration,
    },
    /// It does not go with how things stand.
    #[error("{title}")]
    Conflict {
        /// The kind of problem, for programs.
        kind: &'static str,
        /// The same in words.
        title: &'static str,
    },
    /// An API key would outlive the token it is made with, which pgusher does not renew.
    #[error("an API key may not outlive the token it is made with")]
    KeyOutlives {
        /// When that token ends.
        ends: SystemTime,
    },
    /// Proven, but not allowed.
    #[error("this takes the organisation's primary admin")]
    NotPrimary,
    /// The phone number is another tenant's.
    #[error("this phone number belongs to another tenant")]
    NumberTaken,
    /// Nobody who knows says that the phone number is this tenant's.
    #[error("the provider does not confirm that this phone number is the organisation's")]
    NumberUnproven,
    /// No such thing of this tenant's.
    #[error("not found")]
    NotFound,
    /// More work of this kind than pgusher does at once.
    #[error("too many requests of this kind at the moment")]
    Busy,
    /// Something failed.
    #[error(transparent)]
    Failed(#[from] Fault),
}
