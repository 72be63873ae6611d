//! The console's door.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::conversation;
use super::desk::{AdminParts, Desk};
use crate::auth::Operator;
use crate::fault::{Blame, Fault, SqlState};
use crate::net::Stream;
use crate::session::Console;

/// How often the averages of `SHOW STATS` are taken: PgBouncer's `stats_period`.
const STATS_PERIOD: Duration = Duration::from_secs(60);

/// How many operators may be connected at once.
const OPERATORS_MAX: usize = 64;

/// The admin console.
pub struct Admin {
    desk: Arc<Desk>,
    control: Handle,
    seats: Arc<Semaphore>,
}

impl Admin {
    /// A console whose conversations run on `control`: no session waits for an operator's command.
    pub fn new(parts: AdminParts, control: Handle) -> Self {
        let desk = Arc::new(Desk::new(parts));
        Self { desk, control, seats: Arc::new(Semaphore::new(OPERATORS_MAX)) }
    }

    /// Takes the averages of `SHOW STATS`, until it is dropped.
    pub async fn keep(&self) {
        let mut ticks = tokio::time::interval(STATS_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let rooms = self.desk.pools().rooms();
            self.desk.averages().sample(&rooms, Instant::now());
        }
    }
}

impl Console for Admin {
    fn serve(&self, stream: Stream, operator: Operator) -> BoxFuture<'static, ()> {
        let (desk, seat) = (Arc::clone(&self.desk), Arc::clone(&self.seats).try_acquire_owned());
        let task = self.control.spawn(async move {
            let admitted = seat.map_err(|_| full());
            conversation::hold(&desk, stream, &operator, admitted.as_ref().err()).await;
            drop(admitted);
        });
        let mut task = Tied(task);
        Box::pin(async move {
            // A panic has been reported where it happened; the connection is gone with it.
            let _ = (&mut task.0).await;
        })
    }
}

/// A task that ends with whoever waits for it.
struct Tied(JoinHandle<()>);

impl Drop for Tied {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn full() -> Fault {
    Fault::new(Blame::Client, SqlState::TOO_MANY_CONNECTIONS, "too many operators are connected")
        .detail(format!("At most {OPERATORS_MAX} may be."))
}
