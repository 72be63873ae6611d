//! What logins are told: learned from a server once, and told to newcomers for a while.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::pool::Class;
use crate::server::{Params, Settings};

/// How long what was learned is told without asking a server again.
pub(super) const GOOD_FOR: Duration = Duration::from_secs(60);

/// Welcomes of one tenant: logins that asked for different settings, or as different roles.
const OF_A_TENANT_MAX: usize = 64;

/// Bytes of settings in the welcomes of one tenant. Clients choose them.
const OF_A_TENANT_BYTES_MAX: usize = 64 << 10;

/// What a pair costs besides its bytes.
const PAIR_BYTES: usize = 64;

/// A login of this class that asks for these settings is told the same as the one before.
#[derive(Debug, Clone)]
pub(super) struct Welcome {
    pub(super) class: Class,
    pub(super) asked: Settings,
    pub(super) params: Params,
    /// Those of the settings that are not the server's own already.
    pub(super) own: Settings,
}

/// The welcomes of one tenant, newest first. Most have one: it needs no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Welcomes {
    newest: Option<(Welcome, u64)>,
    older: VecDeque<(Welcome, u64)>,
}

impl Welcome {
    /// Bytes of the settings in it.
    pub(super) fn bytes(&self) -> usize {
        let pairs = self.asked.iter().chain(self.own.iter());
        pairs.map(|(name, value)| name.len() + value.len() + PAIR_BYTES).sum()
    }
}

impl Welcomes {
    /// What a login of `class` that asks for `asked` is told, in milliseconds of this process.
    pub(super) fn find(&self, class: Class, asked: &Settings, now: u64) -> Option<&Welcome> {
        let good = |known: &&(Welcome, u64)| {
            now < known.1 && known.0.class == class && known.0.asked.same(asked)
        };
        self.all().find(good).map(|(welcome, _)| welcome)
    }

    /// Remembers one until then. The oldest make room.
    pub(super) fn insert(&mut self, welcome: Welcome, until: u64) {
        if welcome.bytes() > OF_A_TENANT_BYTES_MAX {
            return;
        }
        self.retain(|(known, _)| known.class != welcome.class || known.asked != welcome.asked);
        if let Some(former) = self.newest.replace((welcome, until)) {
            self.older.push_front(former);
        }
        while self.all().count() > OF_A_TENANT_MAX || self.bytes() > OF_A_TENANT_BYTES_MAX {
            self.older.pop_back();
        }
    }

    /// Lets go of what is out of date.
    pub(super) fn sweep(&mut self, now: u64) {
        self.retain(|(_, until)| now < *until);
        if self.older.is_empty() {
            self.older = VecDeque::new();
        }
    }

    /// Bytes of the settings in them.
    pub(super) fn bytes(&self) -> usize {
        self.all().map(|(welcome, _)| welcome.bytes()).sum()
    }

    fn all(&self) -> impl Iterator<Item = &(Welcome, u64)> {
        self.newest.iter().chain(&self.older)
    }

    fn retain(&mut self, keep: impl Fn(&(Welcome, u64)) -> bool) {
        self.newest.take_if(|known| !keep(known));
        self.older.retain(keep);
    }
}

/// The welcome that was last learned, of whichever tenant. Those of others are much the same: what
/// is equal is kept once.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Option<Welcome>>);

impl Latest {
    /// Makes what is equal one.
    pub(super) fn merge(&self, welcome: &mut Welcome) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = &mut *latest else {
            *latest = Some(welcome.clone());
            return;
        };
        if !welcome.params.merge(&mut last.params) {
            last.params = welcome.params.clone();
        }
        let sets = [(&mut welcome.asked, &mut last.asked), (&mut welcome.own, &mut last.own)];
        for (set, last) in sets {
            if !set.merge(last) {
                last.clone_from(set);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: &str) -> Welcome {
        let asked = Settings::from_pairs([("TimeZone", name)]);
        Welcome { class: Class::ONLY, own: asked.clone(), asked, params: Params::default() }
    }

    fn knows(welcomes: &Welcomes, name: &str, now: u64) -> bool {
        welcomes.find(Class::ONLY, &asking(name).asked, now).is_some()
    }

    #[test]
    fn a_login_is_known_by_its_class_and_settings_for_a_while() {
        let mut welcomes = Welcomes::default();
        welcomes.insert(asking("UTC"), 10);
        assert!(knows(&welcomes, "UTC", 9));
        assert!(!knows(&welcomes, "UTC", 10), "out of date");
        assert!(!knows(&welcomes, "CET", 9), "another setting");
        assert!(welcomes.find(Class::new(3), &asking("UTC").asked, 9).is_none(), "another role");
        welcomes.insert(asking("CET"), 20);
        welcomes.insert(asking("UTC"), 20);
        assert_eq!(welcomes.all().count(), 2, "an equal one is replaced");
        assert!(knows(&welcomes, "UTC", 19) && knows(&welcomes, "CET", 19));
        welcomes.sweep(20);
        assert_eq!(welcomes.all().count(), 0);
    }

    #[test]
    fn a_tenant_s_are_bounded_in_number_and_bytes() {
        let mut welcomes = Welcomes::default();
        for n in 0..=OF_A_TENANT_MAX {
            welcomes.insert(asking(&n.to_string()), 10);
        }
        assert_eq!(welcomes.all().count(), OF_A_TENANT_MAX);
        assert!(!knows(&welcomes, "0", 1), "the oldest made room");
        let long = "x".repeat(OF_A_TENANT_BYTES_MAX / 3);
        welcomes.insert(asking(&long), 10);
        assert!(knows(&welcomes, &long, 1) && welcomes.bytes() <= OF_A_TENANT_BYTES_MAX);
        welcomes.insert(asking(&"y".repeat(OF_A_TENANT_BYTES_MAX)), 10);
        assert!(knows(&welcomes, &long, 1), "one too large by itself is not remembered");
    }

    #[test]
    fn what_is_equal_is_kept_once() {
        let latest = Latest::default();
        let (mut one, mut other) = (asking("UTC"), asking("UTC"));
        latest.merge(&mut one);
        assert!(!one.asked.is(&other.asked));
        latest.merge(&mut other);
        latest.merge(&mut one);
        assert!(one.asked.is(&other.asked));
    }
}
