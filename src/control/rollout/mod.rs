//! Every tenant's schema brought to the newest version.
//!
//! One transaction per tenant for the product's schema, canaries first, a few tenants at a time.
//! What is done is written in each tenant's own history, so a run that was killed is simply run
//! again. A tenant that fails stays where it was and is named.
//!
//! The product's migrations run in a session of the tenant's own owner, never in the
//! provisioner's: a tenant owns its tables, so triggers and functions of its making may run inside
//! a migration, and `RESET ROLE` in one of them must lead nowhere but back to the tenant.

mod adopt;
mod course;
mod queue;
mod report;
mod tenant;

pub use adopt::{Adoption, adopt};
pub use course::{Course, Rollout};
pub use report::{FailedTenant, RolloutReport, RolloutStatus, Tally, VersionCount};
