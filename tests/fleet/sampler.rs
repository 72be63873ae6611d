//! PostgreSQL's own count of connections, looked at every ten milliseconds.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::world::server_connections;
use crate::world::wire::{Conn, Login};

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub samples: u64,
    /// The longest time between two looks.
    pub gap: Duration,
    /// The most connections of all tenants together.
    pub total: u64,
    /// The most of each database.
    pub highest: HashMap<String, u64>,
}

impl Seen {
    /// The most that any database had.
    pub fn highest(&self) -> u64 {
        self.highest.values().copied().max().unwrap_or(0)
    }
}

/// A thread that looks until it is asked what it saw.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Sampler {
    /// Starts looking, as the superuser: its connection is one of the reserved ones.
    pub fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || look(port, &told));
        Self { stop, thread }
    }

    /// Stops, and says what was seen.
    pub fn seen(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn look(port: u16, stop: &AtomicBool) -> Seen {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let login = Login::new("postgres", "", "postgres");
    let mut superuser = Conn::login(address, &login).unwrap_or_else(|e| panic!("{e:?}"));
    let mut seen = Seen::default();
    let (mut next, mut last) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let counts = server_connections(&mut superuser);
        seen.samples += 1;
        seen.gap = seen.gap.max(last.elapsed());
        last = Instant::now();
        seen.total = seen.total.max(counts.iter().map(|(_, count)| count).sum());
        for (database, count) in counts {
            let highest = seen.highest.entry(database).or_default();
            *highest = count.max(*highest);
        }
        next = (next + Duration::from_millis(10)).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    seen
}
