//! Why a token is not accepted: for the log and the metrics. Strangers read one sentence.

use crate::fault::{Blame, Fault, SqlState};

/// The one sentence for every token that proves nothing.
const TOKEN_REFUSED: &str = "authentication failed: the token or key was not accepted";

/// Why a token was refused. Never holds a byte of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the token is longer than the limit")]
    TooLong,
    #[error("malformed: {0}")]
    Malformed(&'static str),
    #[error("the header demands something we do not do: {0}")]
    Header(&'static str),
    #[error("the claim `{0}` is missing")]
    Missing(&'static str),
    #[error("the claim `{0}` is not usable")]
    BadClaim(&'static str),
    #[error("the issuer is unknown")]
    UnknownIssuer,
    #[error("the key id is unknown")]
    UnknownKey,
    #[error("several keys would fit and the token names none")]
    AmbiguousKey,
    #[error("the algorithm is not the key's")]
    Algorithm,
    #[error("the signature is wrong")]
    Signature,
    #[error("the issuer's keys could not be fetched for too long")]
    StaleKeys,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    NotYet,
    #[error("its life is longer than the issuer's tokens may live")]
    TooLongLived,
    #[error("made for another audience")]
    Audience,
    #[error("not a session token, by its type")]
    TokenType,
    #[error("`tenantId` and `churchId` name two tenants")]
    TwoTenants,
    #[error("revoked")]
    Revoked,
    #[error("a proven token of another kind")]
    WrongKind,
}

impl Refusal {
    /// The metric label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::TooLong | Self::Malformed(_) => "malformed",
            Self::Header(_) => "header",
            Self::Missing(_) | Self::BadClaim(_) | Self::TwoTenants => "claims",
            Self::UnknownIssuer => "issuer",
            Self::UnknownKey | Self::AmbiguousKey => "key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::StaleKeys => "stale_keys",
            Self::Expired | Self::NotYet | Self::TooLongLived => "time",
            Self::Audience | Self::TokenType | Self::WrongKind => "audience",
            Self::Revoked => "revoked",
        }
    }

    /// What the stranger is told.
    ///
    /// All but two cases read alike. A token of the wrong kind was proven, so its holder may know
    /// (28000). Keys that can not be fetched are our trouble: a driver should come back (57P03).
    pub(super) fn fault(self) -> Fault {
        let fault = match self {
            Self::WrongKind => Fault::new(
                Blame::Client,
                SqlState::INVALID_AUTHORIZATION,
                "this token does not open what it was presented to",
            ),
            Self::StaleKeys => Fault::new(
                Blame::Control,
                SqlState::CANNOT_CONNECT_NOW,
                "tokens of this issuer can not be verified at present",
            ),
            _ => Fault::new(Blame::Client, SqlState::INVALID_PASSWORD, TOKEN_REFUSED),
        };
        fault.because(self)
    }
}
