//! What pgusher processes of one registry tell one another, by NOTIFY on a channel of its own.
//!
//! Nothing here is asked of anybody: a notice that is lost is said again by who still means it.
//! Whoever may write to the registry may say anything here, and gains nothing: servers are let go
//! that would be asked for again, and a cancel needs the session's own secret.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};

use super::{Presence, failed};
use crate::fault::Fault;
use crate::ident::TenantId;
use crate::tenant::Registry;
use crate::units::hex;

/// The channel.
pub(super) const CHANNEL: &str = "pgusher_peers";

/// One process to all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "lowercase")]
pub enum Notice {
    /// It was refused a server because the tenant's limit at PostgreSQL is reached.
    Wants {
        /// Which process.
        from: Arc<str>,
        /// Which tenant.
        tenant: String,
        /// Servers it holds.
        held: u32,
        /// Servers it could use beyond those.
        wants: u32,
    },
    /// It has closed a server of the tenant that others had asked for.
    Freed {
        /// Which process.
        from: Arc<str>,
        /// Which tenant.
        tenant: String,
    },
    /// It was asked to cancel what a session runs that does not live there.
    Cancel {
        /// Which process.
        from: Arc<str>,
        /// The process id the session was told.
        pid: i32,
        /// Proves that the session's secret was shown.
        proof: String,
    },
    /// PostgreSQL has the cancel another was asked for, or there was nothing to cancel.
    Cancelled {
        /// Which process: the session's.
        from: Arc<str>,
        /// The request's.
        proof: String,
    },
}

impl Notice {
    /// Reads a payload; what cannot be read was written by a newer pgusher, and is not for us.
    pub(super) fn parse(payload: &str) -> Option<Self> {
        serde_json::from_str(payload).ok()
    }

    /// Who says it.
    pub fn from(&self) -> &str {
        match self {
            Self::Wants { from, .. }
            | Self::Freed { from, .. }
            | Self::Cancel { from, .. }
            | Self::Cancelled { from, .. } => from,
        }
    }
}

/// This process's voice among the others.
#[derive(Debug, Clone)]
pub struct Peers {
    id: Arc<str>,
    registry: Registry,
}

/// The most notices in one statement.
pub const NOTICES_MAX: usize = 256;

impl Peers {
    /// The voice of the process called so.
    pub fn new(registry: Registry, presence: &Presence) -> Self {
        Self { id: presence.id().into(), registry }
    }

    /// This process's id.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// It wants servers.
    pub fn wants(&self, tenant: &TenantId, held: u32, wants: u32) -> Notice {
        Notice::Wants { from: Arc::clone(&self.id), tenant: tenant.to_string(), held, wants }
    }

    /// It has let one go.
    pub fn freed(&self, tenant: &TenantId) -> Notice {
        Notice::Freed { from: Arc::clone(&self.id), tenant: tenant.to_string() }
    }

    /// It was shown the key that this proves.
    pub fn cancel(&self, pid: i32, proof: String) -> Notice {
        Notice::Cancel { from: Arc::clone(&self.id), pid, proof }
    }

    /// It has done what it was asked for.
    pub fn cancelled(&self, proof: String) -> Notice {
        Notice::Cancelled { from: Arc::clone(&self.id), proof }
    }

    /// Whether `proof` was made from this key.
    pub fn proves(&self, proof: &str, pid: i32, secret: &[u8]) -> bool {
        let expected = self.proof(pid, secret);
        verify_slices_are_equal(expected.as_bytes(), proof.as_bytes()).is_ok()
    }

    /// Under the master key: who reads the channel learns no secret, who writes there makes none up.
    pub fn proof(&self, pid: i32, secret: &[u8]) -> String {
        hex(&self.registry.master_key().derive("cancel", &[&pid.to_be_bytes(), secret]))
    }

    /// Says all of it.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached.
    pub async fn say(&self, notices: &[Notice]) -> Result<(), Fault> {
        let payloads: Vec<String> =
            notices.iter().filter_map(|notice| serde_json::to_string(notice).ok()).collect();
        let client = self.registry.client().await?;
        let sql = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload";
        client.execute(sql, &[&CHANNEL, &payloads]).await.map_err(failed::registry)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read_as_they_were_written() {
        let from: Arc<str> = "p".into();
        for notice in [
            Notice::Wants { from: from.clone(), tenant: "a".into(), held: 3, wants: 2 },
            Notice::Freed { from: from.clone(), tenant: "a".into() },
            Notice::Cancel { from: from.clone(), pid: 7, proof: "00".into() },
            Notice::Cancelled { from, proof: "00".into() },
        ] {
            let payload = serde_json::to_string(&notice).expect("plain");
            assert_eq!(Notice::parse(&payload), Some(notice), "{payload}");
        }
        assert_eq!(Notice::parse(r#"{"of":"new thing","from":"p"}"#), None);
    }
}
