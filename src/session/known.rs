//! What a client is known by: the process id it is told at login.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::server::ToldPid;

/// Which process id a client is told.
#[derive(Debug)]
pub(super) enum Known {
    /// That of its own server.
    As(i32),
    /// That of a shared server, if nobody here is known by it.
    By(ToldPid),
    /// One that no process has.
    Otherwise,
}

/// Made-up process ids. Positive, because drivers choke on others, and higher than any that Linux
/// gives out: who ends or cancels one by SQL hits nobody.
#[derive(Debug, Default)]
pub(super) struct MadeUp(AtomicU32);

/// The lowest. Linux gives out less than this (`PID_MAX_LIMIT`).
const FIRST: i32 = 1 << 22;

impl MadeUp {
    /// The next one. They come again after two billion.
    pub(super) fn next(&self) -> i32 {
        let count = i32::MAX.abs_diff(FIRST);
        FIRST.saturating_add_unsigned(self.0.fetch_add(1, Ordering::Relaxed) % count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::roster::{Entry, Roster};
    use super::*;
    use crate::auth::Identity;
    use crate::ident::{Role, TenantId};
    use crate::server::CancelGate;

    fn enter(roster: &Arc<Roster>, told: Option<ToldPid>, secret: u8) -> Entry {
        let tenant = TenantId::parse("a").expect("valid");
        let who = (Identity::unproven(&tenant, Role::App), Role::App, 0);
        let known = told.map_or(Known::Otherwise, Known::By);
        roster.enter(who, None, known, vec![secret; 4].into(), Arc::default())
    }

    /// Two PostgreSQL servers give the same process id.
    #[test]
    fn two_sessions_are_never_known_by_one_id() {
        let roster = Arc::new(Roster::default());
        let (here, there) = (CancelGate::of("here", 7), CancelGate::of("there", 7));
        let first = enter(&roster, ToldPid::of(&here), 1);
        assert_eq!(first.card().pid(), 7);
        assert!(ToldPid::of(&here).is_none(), "one server, one session");
        let second = enter(&roster, ToldPid::of(&there), 2);
        assert!(second.card().pid() >= FIRST);
        assert!(roster.find(7, &[2; 4]).is_none());
        let found = roster.find(second.card().pid(), &[2; 4]).expect("there");
        assert!(Arc::ptr_eq(&found, second.card()));
        // Nobody is known by the other one's, who may be told it next.
        drop(first);
        assert_eq!(enter(&roster, ToldPid::of(&there), 3).card().pid(), 7);
        assert_eq!(enter(&roster, ToldPid::of(&here), 4).card().pid(), 7);
    }

    #[test]
    fn what_is_made_up_is_no_process_and_nobody_elses() {
        let roster = Arc::new(Roster::default());
        let next = FIRST + 1;
        let (taken, first) = (CancelGate::of("here", next), enter(&roster, None, 1));
        let other = enter(&roster, ToldPid::of(&taken), 2);
        let third = enter(&roster, None, 3);
        let pids = [&first, &other, &third].map(|entry| entry.card().pid());
        assert_eq!(pids, [FIRST, next, next + 1]);
        let last = MadeUp(AtomicU32::new(u32::MAX));
        assert!((0..4).all(|_| last.next() >= FIRST));
    }

    #[test]
    fn a_server_without_an_id_tells_none() {
        assert!(ToldPid::of(&CancelGate::of("here", 0)).is_none());
        assert!(ToldPid::of(&CancelGate::of("here", -3)).is_none());
    }
}
