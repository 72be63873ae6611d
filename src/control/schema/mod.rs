//! Schemas as folders of numbered SQL files, and the runner that brings a database up to one.

mod apply;
mod registry;
mod set;
mod status;

pub use apply::{History, SchemaError, apply};
pub use registry::{RegistryReport, migrate_registry};
pub use set::{Migration, MigrationSet};
pub use status::{RegistryStatus, registry_status};
