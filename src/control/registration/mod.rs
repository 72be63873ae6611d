//! A new organisation becomes a tenant.
//!
//! Three commits: R1 in the registry claims a database and reserves the e-mail; R2 in the tenant's
//! database writes whose it is and its first admin; R3 in the registry makes it a tenant. A job
//! row says how far it is; what a crash leaves is finished or undone by the [`Janitor`].

mod board;
mod course;
mod courtesy;
mod hold;
mod janitor;
mod job;
mod metrics;
mod placement;
mod prune;
mod request;
mod reserve;
mod seal;
mod service;
mod settings;
mod status;
mod step;
mod sweep;
mod underway;
mod view;
mod warm;

pub use courtesy::AtWork;
pub use hold::Hold;
pub use janitor::{Janitor, Swept};
pub use job::KEY_VERSION;
pub use metrics::{RegistrationMetrics, Timings};
pub use placement::Region;
pub use request::NewOrganisation;
pub use service::{Builder, Registration};
pub use settings::RegistrationSettings;
pub use status::{Collected, Registering, Watch};
pub use step::{Failure, Progress, Step, Told};
pub use view::{AdminView, ChurchView, Registered};
pub use warm::{Pressure, Warm, WarmSettings};
