//! What a rollout did, and where the fleet stands.

/// How far a rollout is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tenants to be looked at, as counted when it began.
    pub total: u64,
    /// Tenants brought up.
    pub migrated: u64,
    /// Tenants that failed.
    pub failed: u64,
}

/// A tenant left at its old version.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedTenant {
    /// Its id.
    pub tenant_id: String,
    /// Why, in PostgreSQL's words where it was PostgreSQL.
    pub reason: String,
    /// Whether its owner may have brought that about alone (a lock, a history that is not true, a
    /// right taken away): such a failure says nothing about others and does not stop the rollout.
    pub by_owner: bool,
}

/// What a rollout did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutReport {
    /// The version every tenant should have now.
    pub schema_version: String,
    /// Tenants that were behind.
    pub total: u64,
    /// Tenants brought up, canaries included.
    pub migrated: u64,
    /// Tenants left at their old version.
    pub failed: Vec<FailedTenant>,
    /// Why it stopped before everybody had a turn.
    pub stopped: Option<String>,
    /// Tenants whose database another system made and nobody has taken over.
    pub not_taken_over: u64,
}

/// How many tenants stand at a version.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionCount {
    /// `schemaVersion` as the registry has it.
    pub schema_version: String,
    /// Tenants there.
    pub tenants: u64,
    /// Whether that is the newest, pgusher's own corner included.
    pub newest: bool,
}

/// Where the fleet stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The newest version.
    pub schema_version: String,
    /// Tenants by version.
    pub versions: Vec<VersionCount>,
    /// Some of those that are behind, by id.
    pub behind: Vec<String>,
    /// Tenants whose database another system made and nobody has taken over.
    pub not_taken_over: u64,
}

impl RolloutStatus {
    /// Whether every tenant pgusher may migrate has the newest version.
    pub fn is_complete(&self) -> bool {
        self.behind.is_empty()
    }
}
