//! `[schema]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::MigrationSet;

/// What a tenant's database is made of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchemaSettings {
    /// A folder of migrations, `<number>_<name>.sql`, for another product than the one shipped.
    /// Empty: the one shipped. Registration, login and SMS expect its tables `"Admin"`, `"Member"`,
    /// `"Conversation"` and so on.
    pub tenant: PathBuf,
}

impl SchemaSettings {
    /// The migrations. Reads the folder.
    ///
    /// # Errors
    /// When the folder cannot be read or makes no sense.
    pub fn product(&self) -> Result<MigrationSet, String> {
        if self.tenant.as_os_str().is_empty() {
            Ok(MigrationSet::tenant())
        } else {
            MigrationSet::from_folder(&self.tenant)
        }
    }
}
