//! What a registration hands out.

use super::Timings;
use crate::control::Tokens;
use crate::ident::TenantId;

/// An admin, for the answer.
#[derive(Debug, Clone)]
pub struct AdminView {
    /// Its id in the tenant's database.
    pub id: String,
    /// Normalised.
    pub email: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// `PRIMARY` for the first.
    pub role: String,
}

/// The organisation, for the answer.
#[derive(Debug, Clone)]
pub struct ChurchView {
    /// Its name.
    pub name: String,
    /// `trial` for a new one.
    pub subscription_status: String,
    /// RFC 3339.
    pub trial_ends_at: Option<String>,
}

/// A tenant that came to be, or had come to be under the same Idempotency-Key.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The registration's id: 128 random bits.
    pub registration: String,
    /// The tenant's id.
    pub tenant: TenantId,
    /// Its first admin.
    pub admin: AdminView,
    /// The organisation.
    pub church: ChurchView,
    /// The admin's tokens; none when the same request was answered long before, or the admin was
    /// revoked since: there is the login for that.
    pub tokens: Option<Tokens>,
    /// How long the steps took.
    pub timings: Timings,
}
