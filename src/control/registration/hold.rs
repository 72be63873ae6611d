//! Where a test can make registrations stop, so that it can kill the process just there.

use serde::{Deserialize, Serialize};

/// A point between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Nowhere.
    #[default]
    Never,
    /// The password is hashed. What R1 writes is not written yet if it keeps the hash.
    Hashed,
    /// R1 is committed.
    Claimed,
    /// The database was made, because none was warm.
    Cloned,
    /// R2 is committed.
    Written,
    /// R3 is committed, nothing is answered.
    Finished,
}

impl Hold {
    /// Stops here if this is the point.
    pub(super) async fn at(self, point: Self) {
        if self == point {
            tracing::warn!(?point, "held, as registration.hold_at says");
            std::future::pending::<()>().await;
        }
    }
}
