//! PostgreSQL servers as places for tenants: groups, template, databases, logins, closed doors.
//!
//! Isolation is PostgreSQL's own: each tenant has its own login roles, CONNECT is revoked from
//! PUBLIC before a database can be entered at all, and who owns a database is no tenant. Works on
//! PostgreSQL 15 to 18, with a superuser or with a role that has CREATEDB and CREATEROLE.

mod database;
mod doors;
mod groups;
mod inside;
mod inspect;
mod leftover;
mod look;
mod metrics;
mod provisioner;
mod settings;
mod template;

pub use database::NewAdmin;
pub use inside::Inside;
pub use inspect::{ServerFacts, VERSION_MIN};
pub use look::DatabaseState;
pub use metrics::ProvisionMetrics;
pub use provisioner::{Provisioner, Servers};
pub use settings::ServerSettings;
pub(in crate::control) use template::PRODUCT;
