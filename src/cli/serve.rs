//! `pgusher serve`: the proxy itself.

use std::io;

use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::command::Common;
use super::{Answer, Failure};
use crate::admin::Stop;
use crate::boot;
use crate::config::Config;

/// Runs until SIGTERM or SIGINT, then drains. SIGHUP does what `RELOAD` does on the console.
///
/// # Errors
/// Everything that keeps it from starting, at once.
pub(super) fn serve(common: &Common) -> Result<Answer, Failure> {
    let config = common.load()?;
    config.log.install().map_err(Failure::new)?;
    control_runtime(&config)?.block_on(async move {
        let mut told = Told::listen().map_err(Failure::new)?;
        let mut hangups = signal(SignalKind::hangup()).map_err(Failure::new)?;
        let running =
            Box::pin(boot::start(&config)).await.map_err(|all| Failure::new(all.join("\n")))?;
        let addresses = &running.addresses;
        tracing::info!(
            listen = ?addresses.listen,
            http = ?addresses.http,
            ops = ?addresses.ops,
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        let how = loop {
            tokio::select! {
                () = told.stopped() => break Stop::Drain,
                how = running.asked_to_stop() => break how,
                _ = hangups.recv() => match running.reload() {
                    Ok(()) => tracing::info!("reloaded"),
                    Err(fault) => fault.log(),
                },
            }
        };
        tracing::info!(?how, "draining");
        running.stop(how).await;
        Ok(Answer::new("stopped", json!({ "stopped": true })))
    })
}

/// The runtime of everything but sessions.
pub(super) fn control_runtime(config: &Config) -> Result<Runtime, Failure> {
    raise_file_limit();
    Builder::new_multi_thread()
        .worker_threads(config.runtime.control_workers.max(1))
        .thread_name("pgusher-control")
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("no runtime: {e}")))
}

/// Every client and every server is a file descriptor: as many as the system lets us have.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// The signals that end a process in order.
pub(super) struct Told {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Told {
    /// From here on they do not end the process at once.
    pub(super) fn listen() -> io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    /// Waits for one of them. Cancel-safe.
    pub(super) async fn stopped(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
