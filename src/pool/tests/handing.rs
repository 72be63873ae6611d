//! From hand to hand: the way past the shelf leads to where the way over it does.

use std::time::{Duration, Instant};

use super::fake::Dice;
use crate::pool::ledger::{Kept, Ledger, Next, Stamp};
use crate::pool::{Asker, Class, Limits};

type Books = Ledger<u32, u32>;

/// Two logins, three flavours; what a server is of, and what a client asks for.
fn class(n: u32) -> Class {
    Class::new(n as usize % 2).flavoured(n as usize / 2 % 3)
}

fn kept(server: u32, session: u64, now: Instant) -> Kept<u32> {
    let stamp = Stamp { since: now, retires: None, epoch: 0, lent: now, is_worn: false };
    Kept { server, stamp, parked: now, session }
}

/// Serves the line from the shelf. Servers that are closed are gone at once.
fn serve(books: &mut Books, now: Instant, served: &mut Vec<(u32, u32)>) {
    loop {
        match books.next(false, now) {
            Next::Serve(waiter, kept) => served.push((waiter.reach, kept.server)),
            Next::Shut(_) => books.closed(now),
            Next::Rest => return,
        }
    }
}

/// Ends a lease: from hand to hand if `directly` and possible, or else over the shelf.
fn end(
    books: &mut Books,
    (server, hold): (u32, bool),
    directly: bool,
    now: Instant,
    served: &mut Vec<(u32, u32)>,
) -> bool {
    if directly
        && !hold
        && let Some(waiter) = books.hand_on(class(server))
    {
        served.push((waiter.reach, server));
        return true;
    }
    books.park(class(server), kept(server, u64::from(server) + 1, now), hold);
    serve(books, now, served);
    false
}

#[test]
fn a_server_handed_on_goes_where_the_shelf_would_have_sent_it() {
    let mut dice = Dice::from_clock();
    let mut handed = 0;
    for round in 0..200 {
        // From one class to six: the more there are, the less often the head of the line fits.
        let classes = 1 + round % 6;
        let limits = Limits { server_max: classes.min(4), ..Limits::default() };
        let mut pair = [Books::new(limits.clone()), Books::new(limits)];
        let mut served = [Vec::new(), Vec::new()];
        let (mut now, mut leased) = (Instant::now(), Vec::new());
        for server in 0..classes.min(4) {
            // Opened by clients that came when there was room.
            for books in &mut pair {
                assert!(books.join(class(server), now, 1_000 + server).is_ok());
                assert!(books.dial(now).is_some());
                books.opened();
            }
            leased.push(server);
        }
        for asks in 0..200 {
            now += Duration::from_millis(dice.next() % 30);
            let before = served[0].len();
            if dice.below(2) == 0 || leased.is_empty() {
                let want = class(dice.u32_below(classes));
                for (books, served) in pair.iter_mut().zip(&mut served) {
                    if let Some((kept, _)) = books.take_idle(want, &Asker::STRANGER, false, now) {
                        served.push((asks, kept.server));
                    } else {
                        assert!(books.join(want, now, asks).is_ok());
                        serve(books, now, served);
                    }
                }
            } else {
                let server = leased.swap_remove(dice.below(leased.len()));
                let ended = (server, dice.below(4) == 0);
                let [direct, plain] = &mut pair;
                handed += u32::from(end(direct, ended, true, now, &mut served[0]));
                end(plain, ended, false, now, &mut served[1]);
            }
            assert_eq!(served[0], served[1]);
            assert_eq!(pair[0].counts(), pair[1].counts());
            assert_eq!(pair[0].leases, pair[1].leases);
            leased.extend(served[0][before..].iter().map(|(_, server)| *server));
        }
    }
    assert!(handed > 1_000, "only {handed} went from hand to hand");
}
