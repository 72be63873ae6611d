//! Who is no longer welcome although their token says otherwise.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::{AuthMetrics, Identity, TokenId};
use crate::ident::TenantId;

/// The most revocations held. Each lives only as long as the tokens it stops, so this is reached
/// only when something is wrong.
const REVOCATIONS_MAX: usize = 262_144;

/// One revocation, as NOTIFY or the registry tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// This token, or this API key.
    Token(TokenId),
    /// All that was issued to one subject before an instant.
    Subject {
        /// The subject's tenant.
        tenant: TenantId,
        /// The subject: an admin's id.
        subject: Box<str>,
        /// Tokens issued at this second or earlier are stopped.
        issued_until: SystemTime,
    },
    /// All that was issued for one tenant before an instant.
    Tenant {
        /// The tenant.
        tenant: TenantId,
        /// Tokens issued at this second or earlier are stopped.
        issued_until: SystemTime,
    },
}

impl Revocation {
    /// Whether it stops `identity`. The same rule for a token at the door and a live session.
    ///
    /// A token that does not say when it was issued is stopped by every instant.
    pub fn covers(&self, identity: &Identity) -> bool {
        match self {
            Self::Token(id) => id == identity.token_id(),
            Self::Subject { tenant, subject, issued_until } => {
                tenant == identity.tenant()
                    && **subject == *identity.subject()
                    && issued_by(identity, *issued_until)
            }
            Self::Tenant { tenant, issued_until } => {
                tenant == identity.tenant() && issued_by(identity, *issued_until)
            }
        }
    }
}

fn issued_by(identity: &Identity, instant: SystemTime) -> bool {
    identity.issued_at().is_none_or(|issued| issued <= instant)
}

/// A line drawn through time: what was issued up to `issued_until` is stopped, and the line may
/// be forgotten `after` that, when everything it stops has expired by itself.
#[derive(Debug, Clone, Copy)]
struct Cut {
    issued_until: SystemTime,
    after: SystemTime,
}

impl Cut {
    /// Draws the later of two lines, and keeps it for the longer of two times.
    fn merge(slot: &mut Option<Self>, new: Self) {
        *slot = Some(match *slot {
            Some(old) => Self {
                issued_until: old.issued_until.max(new.issued_until),
                after: old.after.max(new.after),
            },
            None => new,
        });
    }
}

#[derive(Debug, Default)]
struct TenantCuts {
    all: Option<Cut>,
    subjects: HashMap<Box<str>, Cut>,
}

#[derive(Debug, Default)]
struct Inner {
    tokens: HashMap<TokenId, SystemTime>,
    tenants: HashMap<TenantId, TenantCuts>,
    floor: Option<SystemTime>,
    held: usize,
}

/// The revocations in force. Read at every login, cached token or not.
#[derive(Debug)]
pub struct Revocations {
    // Most processes hold none: the login then costs one relaxed load.
    any: AtomicBool,
    inner: RwLock<Inner>,
    metrics: AuthMetrics,
}

impl Revocations {
    pub(super) fn new(metrics: AuthMetrics) -> Self {
        Self { any: AtomicBool::new(false), inner: RwLock::default(), metrics }
    }

    /// Takes one in; it may be forgotten `after` an instant at which everything it stops has
    /// expired (for a key without end: far in the future, or as soon as the registry no longer
    /// has the key).
    ///
    /// When there are too many, everything issued until `now` is stopped instead: too strict, and
    /// logged, rather than letting a revoked token in.
    pub fn add(&self, revocation: Revocation, after: SystemTime, now: SystemTime) {
        let mut inner = self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if inner.held >= REVOCATIONS_MAX {
            inner.sweep(now);
        }
        if inner.held >= REVOCATIONS_MAX {
            tracing::error!(
                held = inner.held,
                "too many revocations: all older tokens are stopped"
            );
            *inner = Inner { floor: Some(now), ..Inner::default() };
        } else {
            inner.add(revocation, after);
        }
        self.metrics.revocations.set(i64::try_from(inner.held).unwrap_or(i64::MAX));
        self.any.store(true, Ordering::Release);
    }

    /// Whether any of them stops `identity`.
    pub fn cover(&self, identity: &Identity) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let inner = self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stops = |cut: &Cut| issued_by(identity, cut.issued_until);
        inner.floor.is_some_and(|floor| issued_by(identity, floor))
            || inner.tokens.contains_key(identity.token_id())
            || inner.tenants.get(identity.tenant()).is_some_and(|cuts| {
                cuts.all.as_ref().is_some_and(stops)
                    || cuts.subjects.get(identity.subject()).is_some_and(stops)
            })
    }

    /// Whether the token with this id is revoked, for tokens that belong to no tenant.
    pub fn cover_token(&self, id: &TokenId) -> bool {
        self.any.load(Ordering::Acquire) && {
            let inner = self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            inner.tokens.contains_key(id)
        }
    }

    /// Forgets those that stop nothing any more. For the janitor.
    pub fn sweep(&self, now: SystemTime) {
        let mut inner = self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.sweep(now);
        self.metrics.revocations.set(i64::try_from(inner.held).unwrap_or(i64::MAX));
        self.any.store(inner.held > 0 || inner.floor.is_some(), Ordering::Release);
    }
}

impl Inner {
    fn add(&mut self, revocation: Revocation, after: SystemTime) {
        match revocation {
            Revocation::Token(id) => {
                let slot = self.tokens.entry(id).or_insert(after);
                *slot = (*slot).max(after);
            }
            Revocation::Subject { tenant, subject, issued_until } => {
                let subjects = &mut self.tenants.entry(tenant).or_default().subjects;
                let mut slot = subjects.get(&subject).copied();
                Cut::merge(&mut slot, Cut { issued_until, after });
                subjects.extend(slot.map(|cut| (subject, cut)));
            }
            Revocation::Tenant { tenant, issued_until } => {
                let cuts = self.tenants.entry(tenant).or_default();
                Cut::merge(&mut cuts.all, Cut { issued_until, after });
            }
        }
        // Over-counts repeats; the sweep that a full set triggers counts anew.
        self.held = self.held.saturating_add(1);
    }

    fn sweep(&mut self, now: SystemTime) {
        self.tokens.retain(|_, after| *after > now);
        self.tenants.retain(|_, cuts| {
            cuts.all = cuts.all.filter(|cut| cut.after > now);
            cuts.subjects.retain(|_, cut| cut.after > now);
            cuts.all.is_some() || !cuts.subjects.is_empty()
        });
        let of_tenants: usize =
            self.tenants.values().map(|c| c.subjects.len() + usize::from(c.all.is_some())).sum();
        self.held = self.tokens.len() + of_tenants;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::identity::{Kind, Proof};
    use super::*;
    use crate::ident::Role;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    fn identity(tenant: &str, subject: &str, jti: &str, issued: Option<u64>) -> Identity {
        Identity::proven(Proof {
            kind: Kind::Jwt,
            tenant: TenantId::parse(tenant).expect("id"),
            role: Role::App,
            subject: subject.into(),
            token_id: TokenId::new(jti),
            issued_at: issued.map(at),
            expires_at: Some(at(1_000)),
            scopes: Vec::new(),
        })
    }

    fn set() -> Revocations {
        let metrics = AuthMetrics::new(&prometheus::Registry::new()).expect("metrics");
        Revocations::new(metrics)
    }

    #[test]
    fn a_revocation_stops_what_it_names_and_nothing_else() {
        let acme = TenantId::parse("acme").expect("id");
        let set = set();
        assert!(!set.cover(&identity("acme", "ann", "1", Some(50))));
        set.add(Revocation::Token(TokenId::new("1")), at(1_000), at(60));
        assert!(set.cover(&identity("acme", "ann", "1", Some(50))));
        assert!(!set.cover(&identity("acme", "ann", "2", Some(50))));

        let subject = "bob".into();
        let bob = Revocation::Subject { tenant: acme.clone(), subject, issued_until: at(60) };
        set.add(bob.clone(), at(1_000), at(60));
        for (who, stopped) in [
            (identity("acme", "bob", "3", Some(60)), true),
            (identity("acme", "bob", "3", None), true),
            (identity("acme", "bob", "3", Some(61)), false),
            (identity("acme", "ann", "3", Some(60)), false),
            (identity("other", "bob", "3", Some(60)), false),
        ] {
            assert_eq!((set.cover(&who), bob.covers(&who)), (stopped, stopped), "{who:?}");
        }

        set.add(Revocation::Tenant { tenant: acme, issued_until: at(70) }, at(1_000), at(70));
        assert!(set.cover(&identity("acme", "zoe", "4", Some(70))));
        assert!(!set.cover(&identity("acme", "zoe", "4", Some(71))));

        set.sweep(at(999));
        assert!(set.cover(&identity("acme", "ann", "1", Some(50))), "still needed");
        set.sweep(at(1_001));
        assert!(!set.cover(&identity("acme", "ann", "1", Some(50))), "its token has expired");
    }

    #[test]
    fn an_older_line_never_replaces_a_later_one() {
        let acme = TenantId::parse("acme").expect("id");
        let set = set();
        for until in [70, 50] {
            let line = Revocation::Tenant { tenant: acme.clone(), issued_until: at(until) };
            set.add(line, at(until + 900), at(until));
        }
        assert!(set.cover(&identity("acme", "ann", "1", Some(65))));
        set.sweep(at(960));
        assert!(set.cover(&identity("acme", "ann", "1", Some(65))));
    }
}
