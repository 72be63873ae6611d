//! `SHOW BUDGETS`, read again and again: what a turn was while the load ran.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::world::wire::{Conn, Login};

/// Figures since they were last taken.
#[derive(Debug, Default, Clone, Copy)]
pub struct Turns {
    looks: u64,
    turn_sum_ms: u64,
    pub turn_mean_ms: u64,
    pub turn_most_ms: u64,
    pub waiting_most: u64,
}

/// A thread that reads the console; ends when dropped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Turns>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Reads the console of the process at `listen`.
    pub fn start(listen: SocketAddr, operator: &str) -> Self {
        let login = Login::new("operator", operator, "pgusher");
        let mut console = Conn::login(listen, &login).unwrap_or_else(|e| panic!("{e:?}"));
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let (told, noted) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                for row in console.query("SHOW BUDGETS").unwrap() {
                    let number = |at: usize| row[at].as_ref().map_or(0, |n| n.parse().unwrap());
                    note(&mut noted.lock().unwrap(), number(10), number(8));
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Turns {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn note(turns: &mut Turns, turn: u64, waiting: u64) {
    turns.looks += 1;
    turns.turn_sum_ms += turn;
    turns.turn_mean_ms = turns.turn_sum_ms / turns.looks;
    turns.turn_most_ms = turns.turn_most_ms.max(turn);
    turns.waiting_most = turns.waiting_most.max(waiting);
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
