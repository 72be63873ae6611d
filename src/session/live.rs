//! A logged-in session: idle until the client speaks, then a conversation over a leased server.
//!
//! All that lives as long as the session is in [`Live`], and that is little: buffers exist only
//! while bytes are in flight ([`Stocked`]), a server only while it is needed. Futures that run
//! rarely (dialling, waiting in line, asking the catalog) are boxed, so that an idle session's
//! task stays small.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::deferred::Deferred;
use super::farewell::{self, Farewell};
use super::habit::Habit;
use super::lengths::Timing;
use super::relay::{Relay, Stocked};
use super::roster::Entry;
use super::schema::{Reading, Salted, Schema};
use super::shared::Shared;
use super::statements::ClientStatements;
use super::taking::Seat;
use crate::fault::{Blame, Fault, SqlState};
use crate::net::{self, Stream};
use crate::pool::{Asker, Lease, Membership, Pin};
use crate::server::{Dialer, Params, Server, Settings, send_cancel};
use crate::tenant::PoolMode;
use crate::wire::Malformed;

pub(super) type ServerLease = Lease<Box<Server>>;

/// A session after its welcome.
pub(super) struct Live {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Stream,
    pub(super) seat: Seat,
    pub(super) membership: Membership<Box<Server>>,
    pub(super) entry: Entry,
    /// Who it is to its room, and which server it had last.
    pub(super) asker: Asker,
    pub(super) habit: Habit,
    /// The server of a session in session mode, or of a pinned one.
    pub(super) held: Option<ServerLease>,
    pub(super) params: Params,
    pub(super) settings: Settings,
    /// What `RESET` returns to: the settings of the startup packet.
    pub(super) startup: Settings,
    pub(super) statements: ClientStatements,
    /// What the tenant's statements are read under.
    pub(super) schema: Schema,
    pub(super) salted: Salted,
    /// What this session's were last read with.
    pub(super) reading: Reading,
    /// The client wants to hear when it is pinned.
    pub(super) hears_pins: bool,
    /// A transaction it has begun and nothing else.
    pub(super) deferred: Deferred,
    /// What it is at, as its card tells the time by.
    pub(super) doing: super::clock::Doing,
    /// How often the server had been ready for a query by then.
    pub(super) turns: u32,
    pub(super) timing: Timing,
    /// How many have ended.
    pub(super) transactions: u64,
    /// The session's own number, never used twice.
    pub(super) number: u64,
    /// Counted while the session lives.
    pub(super) _counted: Counted,
}

/// A session in the gauge of live ones.
pub(super) struct Counted(pub(super) prometheus::IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client is gone; nothing to say.
    Silent,
    /// The client is told.
    Fatal(Fault),
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> Self {
        let text = malformed.to_string();
        Self::Fatal(Fault::new(Blame::Client, SqlState::PROTOCOL_VIOLATION, text))
    }
}

/// How long a client may take to read what it is still owed when its session ends.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// How long a server may take to be made ready for the next client.
const CLEAN_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the session to its end.
pub(super) async fn run(mut live: Box<Live>) -> Farewell {
    let mut relay = None;
    let end = live.converse(&mut relay).await;
    // Whatever is still leased is made ready for others, or closed.
    if let Some(lease) = live.held.take() {
        live.entry.card().served_by_nobody();
        let quiet = relay.as_ref().is_none_or(|relay| relay.is_quiet());
        let own = live.seat.mode == PoolMode::Session;
        if !quiet {
            // What was under way may be done all the same, and nobody hears of it.
            live.schema.migrated();
            live.schema.functions_changed();
        }
        if quiet && own { lease.destroy() } else { dispose(&live.shared, lease, quiet) }
    }
    live.membership.room().forget(&live.asker);
    let whole = flush(&mut relay, &mut live.client).await;
    let Live { shared, client, entry, seat, transactions, .. } = *live;
    let state = if let End::Fatal(fault) = &end { Some(fault.state()) } else { None };
    farewell::note(entry.card(), seat.mode, transactions, state);
    let farewell = match end {
        End::Fatal(fault) => {
            shared.parts.metrics.fault(&fault);
            fault.log_of(entry.card().peer(), Some(entry.card().identity().tenant().as_str()));
            // In the middle of a message nothing can be said.
            if whole { Farewell::fatal(client, fault) } else { Farewell::silent(client) }
        }
        End::Silent => Farewell::silent(client),
    };
    farewell.of(entry)
}

/// Writes what the client is still owed; `false` when that ends inside a message.
async fn flush(relay: &mut Option<Stocked>, client: &mut Stream) -> bool {
    let Some(relay) = relay else { return true };
    let written = poll_fn(|cx| relay.poll_flush(cx, client));
    let flushed = tokio::time::timeout(FLUSH_PATIENCE, written).await;
    matches!(flushed, Ok(Ok(()))) && !relay.is_inside_answer()
}

/// Makes a shared server ready for others that a session leaves behind: a running query is cancelled and
/// the connection closed; an open transaction is rolled back and all session state dropped.
pub(super) fn dispose(shared: &Arc<Shared>, mut lease: ServerLease, quiet: bool) {
    let dialer = shared.parts.dialer.clone();
    net::spawn(async move {
        if !quiet {
            cut_off(&dialer, lease).await;
            return;
        }
        if lease.is_spoiled || lease.pins().has(Pin::Load) || lease.is_worn() {
            // What was done to its process nothing undoes.
            lease.destroy();
            return;
        }
        lease.gate().clone().landed().await;
        match tokio::time::timeout(CLEAN_PATIENCE, lease.clean()).await {
            // A cancel whose end nobody knows may hit whoever has it next.
            Ok(Ok(())) if !lease.gate().is_doubtful() => {
                lease.unpin_all();
                lease.finish();
            }
            Err(_) => cut_off(&dialer, lease).await,
            Ok(_) => lease.destroy(),
        }
    });
}

/// Destroys a server that is at something. Its process would not notice before it is done with that: it
/// may wait for a lock for hours.
async fn cut_off(dialer: &Dialer, lease: ServerLease) {
    let gate = Arc::clone(lease.gate());
    let in_flight = gate.enter();
    // Destroyed whatever comes of it: nobody waits for its answers.
    let _ = send_cancel(dialer, &gate, in_flight).await;
    lease.destroy();
}

impl Live {
    async fn converse(&mut self, relay: &mut Option<Stocked>) -> End {
        loop {
            let step = if self.held.is_some() {
                self.hold(relay.get_or_insert_with(Stocked::take)).await
            } else if let Err(end) = self.wait(relay).await {
                Err(end)
            } else {
                self.transact(relay.get_or_insert_with(Stocked::take)).await
            };
            if let Err(end) = step {
                return end;
            }
            if relay.as_ref().is_some_and(|relay| relay.is_empty()) {
                *relay = None;
            }
        }
    }

    /// Waits until a whole message is there, or as much of a long one as the buffer takes: who
    /// sends half a message and stalls gets no server for it.
    async fn wait(&mut self, kept: &mut Option<Stocked>) -> Result<(), End> {
        self.now_at(self.deferred.doing());
        let mut woken = false;
        poll_fn(|cx| {
            let cut = self.entry.card().pending_cut();
            if let Some(why) = cut
                && !self.outlasts(why)
                && self.still_cut(why, None)
            {
                return Poll::Ready(Err(End::Fatal(why.fault())));
            }
            let client = &mut self.client;
            // At first there is nothing to read, most likely, and later there is.
            let expects = std::mem::replace(&mut woken, true);
            let mut relay = match kept.take() {
                Some(kept) => kept,
                None if !expects && client.poll_readable(cx).is_pending() => {
                    self.entry.card().watch_cut(cx, cut);
                    return Poll::Pending;
                }
                None => Stocked::take(),
            };
            let ready = loop {
                match relay.is_ready() {
                    Ok(true) => break Poll::Ready(Ok(())),
                    Ok(false) => {}
                    Err(malformed) => break Poll::Ready(Err(malformed.into())),
                }
                match relay.poll_client(cx, client) {
                    Poll::Ready(Ok(0) | Err(_)) => break Poll::Ready(Err(End::Silent)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break Poll::Pending,
                }
            };
            // An idle client holds no buffer.
            if ready.is_ready() || !relay.is_empty() {
                *kept = Some(relay);
            }
            if ready.is_pending() {
                self.entry.card().watch_cut(cx, cut);
            }
            ready
        })
        .await
    }

    /// Tells the client that its statement gets no server, and goes on behind it: the session
    /// lives.
    pub(super) async fn refuse(&mut self, relay: &mut Relay, fault: &Fault) -> Result<(), End> {
        self.shared.parts.metrics.fault(fault);
        fault.log();
        let simple = relay.is_simple();
        self.deferred.fail();
        relay.say().error("ERROR", fault);
        self.skip_to_sync(relay, simple).await
    }

    /// Drops what the client sends up to its next Sync and answers that; with `simple` the first
    /// query or function call is answered instead.
    pub(super) async fn skip_to_sync(
        &mut self,
        relay: &mut Relay,
        simple: bool,
    ) -> Result<(), End> {
        let outlives = self.outlives(self.deferred.is_open());
        while !relay.skip_refused(simple)? {
            let (card, client) = (self.entry.card(), &mut self.client);
            poll_fn(|cx| {
                if let Poll::Ready(why) = card.poll_cut(cx, outlives) {
                    return Poll::Ready(Err(End::Fatal(why.fault())));
                }
                match relay.poll_client(cx, client) {
                    Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(End::Silent)),
                    Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await?;
        }
        relay.say().ready_for_query(self.deferred.status());
        Ok(())
    }
}
