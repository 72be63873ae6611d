//! The rooms of a command that makes or drops a tenant itself: built, no door open.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::data::DataThreads;
use super::doors::Sidecar;
use super::run::host_name;
use super::{BuildProblems, Built};
use crate::config::Config;
use crate::control::Presence;
use crate::control::registration::Registration;
use crate::fault::Fault;

/// A pgusher process for the length of one command. It announces itself, so that the janitors of
/// the others leave its work alone.
pub struct Office {
    /// The rooms.
    pub built: Arc<Built>,
    /// Makes tenants.
    pub registration: Registration,
    presence: Presence,
    beat: JoinHandle<()>,
    /// Ends when dropped.
    _data: DataThreads,
}

impl Office {
    /// Builds the rooms. Must be called on a runtime.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn open(config: &Config) -> Result<Self, BuildProblems> {
        let control = Handle::current();
        let built = Arc::new(Built::build(config, &control)?);
        let presence = Presence::aside(built.registry.clone(), &host_name())
            .map_err(|fault| vec![fault.to_string()])?;
        let data =
            DataThreads::start(1, &control).map_err(|e| vec![format!("no data thread: {e}")])?;
        let sidecar = Sidecar::new(config, &built, data.first(), &presence)?;
        let beating = presence.clone();
        let beat = tokio::spawn(async move { beating.run().await });
        let registration = sidecar.registration;
        Ok(Self { built, registration, presence, beat, _data: data })
    }

    /// Announces the process: before any work others must not take over.
    ///
    /// # Errors
    /// 57P03 when the registry cannot be reached.
    pub async fn announce(&self) -> Result<(), Fault> {
        self.presence.beat().await
    }

    /// Says farewell.
    pub async fn close(self) {
        self.beat.abort();
        if let Err(fault) = self.presence.leave().await {
            fault.log();
        }
    }
}
