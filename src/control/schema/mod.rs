//! Schemas as folders of numbered SQL files, and the runner that brings a database up to one.

mod apply;
mod registry;
mod set;
mod settings;
mod status;

pub use apply::{History, SchemaError, Upgrade, apply, baseline};
pub use registry::{RegistryReport, migrate_registry};
pub use set::{Migration, MigrationSet};
pub use settings::SchemaSettings;
pub use status::{RegistryStatus, missing, registry_status};
