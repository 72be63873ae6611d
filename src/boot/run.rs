//! Starting, running, draining.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::catch_up;
use super::changes::Reaction;
use super::console::{self, Asked};
use super::data::DataThreads;
use super::logins;
use super::{BuildProblems, Built, doors, peers, split, subscriptions};
use crate::admin::Stop;
use crate::config::Config;
use crate::control::changes::Change;
use crate::control::peers::Peers;
use crate::control::{self, Presence};
use crate::fault::Fault;
use crate::front::Front;
use crate::net::DataThread;
use crate::pool::Split;
use crate::session::{Cut, Roster, TokenExpiry};

/// The addresses that were bound: with port 0, the ports that were found.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// PostgreSQL clients.
    pub listen: Vec<SocketAddr>,
    /// The public HTTP API.
    pub http: Option<SocketAddr>,
    /// The operators' HTTP.
    pub ops: Option<SocketAddr>,
}

/// A running pgusher.
pub struct Running {
    /// The rooms.
    pub built: Arc<Built>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Ends when dropped.
    data: DataThreads,
    close: watch::Sender<bool>,
    asked: watch::Receiver<Asked>,
    presence: Presence,
    tasks: Vec<JoinHandle<()>>,
    drain_timeout: Duration,
}

/// How often it is looked whether the last session has gone.
const DRAIN_STEP: Duration = Duration::from_millis(50);

/// How long the registry may take to hear that this process is gone.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);

/// How long sessions that were cut may take to say goodbye.
const CUT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the servers may take to end when all sessions have gone.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked whose token has expired.
const EXPIRY_STEP: Duration = Duration::from_millis(500);

/// Ends sessions whose token has expired, for ever.
async fn cut_expired(roster: &Roster) {
    let mut step = tokio::time::interval(EXPIRY_STEP);
    loop {
        step.tick().await;
        let now = SystemTime::now();
        roster.cut(Cut::Expired, |card| card.is_expired(now));
    }
}

/// Builds the rooms and opens the doors. Must be called on the control runtime.
///
/// # Errors
/// Everything that is wrong, at once; nothing runs then.
pub async fn start(config: &Config) -> Result<Running, BuildProblems> {
    let control = Handle::current();
    let built = Arc::new(Built::build(config, &control)?);
    let data = DataThreads::start(config.runtime.data_threads(), &control)
        .map_err(|e| vec![format!("no data threads: {e}")])?;
    let (close, closed) = watch::channel(false);
    let front = Front::bind(&config.listen, &built.metrics)?;
    let presence = Presence::new(built.registry.clone(), &host_name())
        .map_err(|fault| vec![fault.to_string()])?;
    let mut addresses = Addresses { listen: front.addresses(), ..Addresses::default() };
    // Nothing is dialled before it is known who else dials.
    built.pools.set_split(Split::unknown());
    split::join(&built, &presence).await;
    let mut tasks = keepers(config, &built, data.first(), &presence);
    let (ask, asked) = watch::channel(None);
    let console = Arc::new(console::console(&built, config, ask));
    built.shared.open_console(console.clone());
    tasks.push(control.spawn(async move { console.keep().await }));
    let listener = addresses.listen.first().copied();
    let doors = Box::pin(doors::open(config, &built, data.first(), &presence, listener)).await?;
    (addresses.http, addresses.ops) = (doors.http, doors.ops);
    tasks.extend(doors.tasks);
    front
        .open(&built.shared, data.all(), &closed)
        .map_err(|e| vec![format!("cannot accept: {e}")])?;
    Ok(Running {
        built,
        addresses,
        data,
        close,
        asked,
        presence,
        tasks,
        drain_timeout: config.runtime.drain_timeout.get(),
    })
}

/// The tasks that keep caches, pools and certificates true.
fn keepers(
    config: &Config,
    built: &Arc<Built>,
    data: &DataThread,
    presence: &Presence,
) -> Vec<JoinHandle<()>> {
    let control = Handle::current();
    let mut tasks = Vec::new();
    let (pools, verifier) = (built.pools.clone(), built.verifier.clone());
    // Servers that the sweep closes say goodbye where their sockets are polled.
    data.spawn(async move { pools.keep().await }).detach();
    let shared = Arc::clone(&built.shared);
    data.spawn(async move { shared.keep_time().await }).detach();
    tasks.push(control.spawn(async move { verifier.refresh().await }));
    if let Some(tls) = built.tls.clone() {
        tasks.push(control.spawn(tls.watch()));
    }
    if config.session.token_expiry != TokenExpiry::Keep {
        let roster = Arc::clone(built.shared.roster());
        tasks.push(control.spawn(async move { cut_expired(&roster).await }));
    }
    if config.billing_rules().any() {
        tasks.push(control.spawn(subscriptions::watch(Arc::clone(built))));
    }
    tasks.extend(doors::close_doors(built));
    tasks.push(control.spawn(logins::look(Arc::clone(built))));
    tasks.push(control.spawn(catch_up::keep(Arc::clone(built))));
    let reaction = Reaction::new(Arc::clone(built), control.clone());
    let (sender, opened) = peers::opened();
    let voice = Peers::new(built.registry.clone(), presence);
    tasks.push(control.spawn(peers::tell(Arc::clone(built), voice.clone(), sender)));
    tasks.push(control.spawn(peers::hold_caps(Arc::clone(built), opened)));
    let (hearing, registry) = (Arc::clone(built), built.registry.clone());
    tasks.push(control.spawn(async move {
        let sink = move |change| match change {
            Change::Peer(notice) => peers::hear(&hearing, &voice, notice),
            change => reaction.take(change),
        };
        control::changes::listen(&registry, sink).await;
    }));
    let (rung, others) = (Arc::clone(&built.processes), presence.clone());
    tasks.push(control.spawn(split::keep(Arc::clone(built), others, rung)));
    let presence = presence.clone();
    tasks.push(control.spawn(async move { presence.run().await }));
    tasks
}

pub(super) fn host_name() -> String {
    // Only a name for people; the file is not everywhere.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

impl Running {
    /// Ends when an operator asks for the process's end. Cancel-safe.
    pub async fn asked_to_stop(&self) -> Stop {
        let mut asked = self.asked.clone();
        let stop = asked.wait_for(Option::is_some).await.ok().and_then(|stop| *stop);
        match stop {
            Some(stop) => stop,
            // The console is gone: nobody will ask.
            None => std::future::pending().await,
        }
    }

    /// As `RELOAD` on the console. Must be called on the control runtime.
    ///
    /// # Errors
    /// What is wrong with the certificate's files; the old one stays, and nothing else is read.
    pub fn reload(&self) -> Result<(), Fault> {
        console::reload(&self.built, &Handle::current())
    }

    /// As [`Self::drain`], or at once.
    pub async fn stop(self, how: Stop) {
        match how {
            Stop::Drain => Box::pin(self.drain()).await,
            Stop::Now => Box::pin(self.drain_within(Duration::ZERO)).await,
        }
    }

    /// Closes the doors, lets sessions end for `runtime.drain_timeout`, then cuts them.
    pub async fn drain(self) {
        let timeout = self.drain_timeout;
        self.drain_within(timeout).await;
    }

    /// As [`Self::drain`], with a patience of the caller's.
    pub async fn drain_within(self, timeout: Duration) {
        let _ = self.close.send(true);
        self.built.pools.drain();
        let roster = Arc::clone(self.built.shared.roster());
        let gone = async {
            while !roster.is_empty() {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        if tokio::time::timeout(timeout, gone).await.is_err() {
            let count = roster.cut(Cut::Drain, |_| true);
            tracing::info!(sessions = count, "sessions cut by the drain");
            let gone = async {
                while !roster.is_empty() {
                    tokio::time::sleep(DRAIN_STEP).await;
                }
            };
            let _ = tokio::time::timeout(CUT_PATIENCE, gone).await;
        }
        for task in &self.tasks {
            task.abort();
        }
        // Closed as PostgreSQL is told, and seen to end: who has this process's part next must not
        // find the old connections still counted.
        self.built.pools.set_split(Split::unknown());
        self.built.pools.recycle_all();
        let closed = async {
            while self.built.pools.budgets().iter().any(|budget| budget.used > 0) {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, closed).await;
        drop(self.data);
        // The others may have this process's part of the budgets now. If the registry is away,
        // they find out by its silence.
        let _ = tokio::time::timeout(LEAVE_PATIENCE, Box::pin(self.presence.leave())).await;
    }
}
