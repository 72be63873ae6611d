//! A new organisation becomes a tenant.
//!
//! Three commits: R1 in the registry claims a database and reserves the e-mail; R2 in the tenant's
//! database writes whose it is and its first admin; R3 in the registry makes it a tenant. A job
//! row says how far it is; what a crash leaves is finished or undone by the [`Janitor`].

mod janitor;
mod job;
mod request;
mod service;
mod warm;

pub use janitor::{Janitor, Swept};
pub use job::KEY_VERSION;
pub use request::NewOrganisation;
pub use service::{AdminView, Builder, ChurchView, Registered, Registration, RegistrationSettings};
pub use warm::{Warm, WarmSettings};
