//! A server's budget behind its lock.
//!
//! Taken only to open, close or wait for a connection. Lock order: directory, room, till. What
//! the budget grants to other rooms is carried out after every lock is released (`Deeds`).

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::budget::{Budget, Rules, Seat, Share, Totals};
use super::deeds::{Deed, Deeds};
use super::room::Room;
use super::{BudgetFigures, Conn, lock};
use crate::ident::ServerKey;

/// How soon after a search for idle servers the next one may follow.
const SEARCH_PAUSE: Duration = Duration::from_millis(1);

/// One PostgreSQL server's budget and the rooms that draw on it.
pub(super) struct Till<S: Conn> {
    key: ServerKey,
    books: Mutex<Books<S>>,
    /// How many tenants wait for a connection that must be taken from another. The fast paths
    /// read it without the lock; a stale answer costs at most one tick of the housekeeping.
    pressed: AtomicUsize,
    /// Whether somebody counts on a close to end: looked after by the housekeeping.
    owes: AtomicBool,
    /// Less than half of the budget is in use, and nobody waits. Read and kept as `pressed` is.
    is_roomy: AtomicBool,
    /// Whether more is held than this process's part of the budget.
    over: AtomicBool,
}

struct Books<S: Conn> {
    budget: Budget,
    rooms: Vec<Weak<Room<S>>>,
    searched: Option<Instant>,
}

impl<S: Conn> Till<S> {
    pub(super) fn new(key: ServerKey, rules: Rules) -> Self {
        let books = Books { budget: Budget::new(rules), rooms: Vec::new(), searched: None };
        Self {
            key,
            books: Mutex::new(books),
            pressed: AtomicUsize::new(0),
            owes: AtomicBool::new(false),
            is_roomy: AtomicBool::new(true),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn key(&self) -> &ServerKey {
        &self.key
    }

    pub(super) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed) > 0
    }

    /// Whether a slot was promised that has not come free yet.
    pub(super) fn owes(&self) -> bool {
        self.owes.load(Ordering::SeqCst)
    }

    /// Whether a session may have a server of its own rather than one another session left.
    pub(super) fn is_roomy(&self) -> bool {
        self.is_roomy.load(Ordering::Relaxed)
    }

    /// Whether more connections are held than allowed: they are closed as they come back.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// When a server that is full may be tried again, if somebody waits for that.
    pub(super) fn tries_at(&self) -> Option<Instant> {
        self.read(Budget::tries_at)
    }

    pub(super) fn join(&self, room: Weak<Room<S>>, min: u32, weight: u32) -> Seat {
        let mut books = lock(&self.books);
        let seat = books.budget.join(min, weight);
        if books.rooms.len() <= seat.index() {
            books.rooms.resize_with(seat.index() + 1, Weak::new);
        }
        books.rooms[seat.index()] = room;
        seat
    }

    pub(super) fn leave(&self, seat: Seat) {
        let mut books = lock(&self.books);
        books.rooms[seat.index()] = Weak::new();
        books.budget.leave(seat);
    }

    /// Runs `act` on the budget and notes whom it granted slots.
    pub(super) fn with<R>(
        &self,
        deeds: &mut Deeds<S>,
        act: impl FnOnce(&mut Budget, &mut Vec<Seat>) -> R,
    ) -> R {
        let mut grants = Vec::new();
        let mut books = lock(&self.books);
        let done = act(&mut books.budget, &mut grants);
        self.pressed.store(books.budget.pressed(), Ordering::SeqCst);
        self.owes.store(books.budget.owes(), Ordering::SeqCst);
        self.is_roomy.store(books.budget.is_roomy(), Ordering::Relaxed);
        self.over.store(books.budget.is_over(), Ordering::SeqCst);
        for seat in grants {
            // A room with a grant on its way is in the directory or held by whoever waits: the
            // budget lets no seat go that holds a slot.
            if let Some(room) = books.rooms[seat.index()].upgrade() {
                deeds.push(Deed::Grant(room));
            }
        }
        done
    }

    /// Reads the budget.
    pub(super) fn read<R>(&self, look: impl FnOnce(&Budget) -> R) -> R {
        look(&lock(&self.books).budget)
    }

    /// What a tenant has, and the whole.
    pub(super) fn figures(&self, seat: Seat) -> (Share, Totals, u32) {
        self.read(|b| (b.share(seat), b.totals(), b.rules().total))
    }

    /// The whole, for those who watch.
    pub(super) fn budget_figures(&self, of_all: u32) -> BudgetFigures {
        self.read(|b| {
            let totals = b.totals();
            BudgetFigures {
                server: self.key.clone(),
                total: b.rules().total,
                of_all,
                used: totals.used,
                dialing: totals.dialing,
                closing: totals.closing,
                pinned: totals.pinned,
                pin_max: b.rules().pin_max,
                waiting: totals.waiting,
                guaranteed: totals.min_sum,
                turn: b.turn(),
                is_full: totals.is_full,
            }
        })
    }

    /// Closes idle servers for those who wait, as far as the budget's rules let it: of the tenant
    /// furthest above its share, and among equals of the one expected back last. The victims are
    /// chosen under the till's lock and asked one by one under their own: one that got busy meanwhile
    /// is passed over.
    pub(super) fn evict(&self, now: Instant, deeds: &mut Deeds<S>) {
        let mut victims: Vec<(u64, Duration, Arc<Room<S>>)> = {
            let mut books = lock(&self.books);
            let recent = books.searched.is_some_and(|at| now < at + SEARCH_PAUSE);
            let moves = books.budget.pressed() > 0 && books.budget.moves_more(now);
            if recent || !(moves || books.budget.is_over()) {
                return;
            }
            books.searched = Some(now);
            // The rooms are held until the lock is released: the last hold on a room gives its
            // seat back, which takes this lock.
            let holders: Vec<_> = books
                .budget
                .victims()
                .filter_map(|(above, seat)| Some((above, books.rooms[seat.index()].upgrade()?)))
                .collect();
            drop(books);
            let idle = holders.into_iter().filter(|(_, room)| room.seems_idle());
            idle.map(|(above, room)| (above, room.off(now), room)).collect()
        };
        victims.sort_by_key(|(above, off, _)| Reverse((*above, *off)));
        for (_, _, room) in &victims {
            let more = (self.is_pressed() || self.is_over()) && room.give_way(now, deeds);
            if !more {
                break;
            }
        }
    }
}
