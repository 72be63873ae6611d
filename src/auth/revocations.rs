//! Who is no longer welcome although their token says otherwise.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::revocation::issued_by;
use super::{AuthMetrics, Identity, Kind, Revocation, TokenId};
use crate::ident::TenantId;

/// The most revocations held. When there are more, the tenant with the most pays for it.
const REVOCATIONS_MAX: usize = 262_144;

/// The most revocations of tokens and subjects that one tenant may hold: beyond, every token issued
/// to it so far is stopped instead. Its API keys are not: each has its own row in the registry.
pub const TENANT_REVOCATIONS_MAX: usize = 4_096;

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
    /// Of all tokens, API keys aside.
    floor: Option<Cut>,
    subjects: HashMap<Box<str>, Cut>,
    /// Its tokens and API keys, and until when they are remembered.
    tokens: HashMap<TokenId, SystemTime>,
}

impl TenantCuts {
    fn single(&self) -> usize {
        self.subjects.len() + self.tokens.len()
    }

    fn held(&self) -> usize {
        self.single() + usize::from(self.all.is_some()) + usize::from(self.floor.is_some())
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// Those of which it is not known whose they are, and operators'.
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
    /// When a tenant holds too many, or all together are and it holds the most, everything issued to
    /// it until `now` is stopped instead: too strict, and logged, rather than letting a revoked token
    /// in, and nobody else's.
    pub fn add(&self, revocation: Revocation, after: SystemTime, now: SystemTime) {
        let mut inner = self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let tenant = inner.add(revocation, after);
        let full = |cuts: &TenantCuts| cuts.single() > TENANT_REVOCATIONS_MAX;
        let tenant = tenant.filter(|id| inner.tenants.get(id).is_some_and(full));
        if tenant.is_some() || inner.held > REVOCATIONS_MAX {
            inner.sweep(now);
        }
        if let Some(tenant) = tenant {
            inner.settle(&tenant, TENANT_REVOCATIONS_MAX, now);
        }
        while inner.held > REVOCATIONS_MAX {
            let most = inner.tenants.iter().max_by_key(|(_, cuts)| cuts.single());
            let most = most.filter(|(_, cuts)| cuts.single() > 1).map(|(id, _)| id.clone());
            if let Some(tenant) = most {
                inner.settle(&tenant, 1, now);
            } else {
                tracing::error!(held = inner.held, "too many revocations: all tokens are stopped");
                *inner = Inner { floor: Some(now), ..Inner::default() };
            }
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
        let is_token = identity.kind() == Kind::Jwt;
        (is_token && inner.floor.is_some_and(|floor| issued_by(identity, floor)))
            || inner.tokens.contains_key(identity.token_id())
            || inner.tenants.get(identity.tenant()).is_some_and(|cuts| {
                cuts.tokens.contains_key(identity.token_id())
                    || cuts.all.as_ref().is_some_and(stops)
                    || (is_token && cuts.floor.as_ref().is_some_and(stops))
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

    /// Forgets those that stop nothing any more. For whoever comes by now and then.
    pub fn sweep(&self, now: SystemTime) {
        let mut inner = self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.sweep(now);
        self.metrics.revocations.set(i64::try_from(inner.held).unwrap_or(i64::MAX));
        self.any.store(inner.held > 0 || inner.floor.is_some(), Ordering::Release);
    }
}

impl Inner {
    /// Whose it was, where that is known.
    fn add(&mut self, revocation: Revocation, after: SystemTime) -> Option<TenantId> {
        let tenant = match revocation {
            Revocation::Token { id, tenant } => {
                let tokens = match &tenant {
                    Some(tenant) => &mut self.tenants.entry(tenant.clone()).or_default().tokens,
                    None => &mut self.tokens,
                };
                let before = tokens.insert(id.clone(), after);
                self.held += usize::from(before.is_none());
                if let Some(before) = before {
                    tokens.insert(id, before.max(after));
                }
                return tenant;
            }
            Revocation::Subject { tenant, subject, issued_until } => {
                let cuts = self.tenants.entry(tenant.clone()).or_default();
                let mut slot = cuts.subjects.get(&subject).copied();
                self.held += usize::from(slot.is_none());
                Cut::merge(&mut slot, Cut { issued_until, after });
                cuts.subjects.extend(slot.map(|cut| (subject, cut)));
                return Some(tenant);
            }
            Revocation::Tenant { tenant, issued_until } => {
                let cuts = self.tenants.entry(tenant.clone()).or_default();
                self.held += usize::from(cuts.all.is_none());
                Cut::merge(&mut cuts.all, Cut { issued_until, after });
                tenant
            }
            Revocation::Tokens { tenant, issued_until } => {
                let cuts = self.tenants.entry(tenant.clone()).or_default();
                self.held += usize::from(cuts.floor.is_none());
                Cut::merge(&mut cuts.floor, Cut { issued_until, after });
                tenant
            }
        };
        Some(tenant)
    }

    /// Draws one line for a tenant in place of more than `max` of its own.
    fn settle(&mut self, tenant: &TenantId, max: usize, now: SystemTime) {
        let Some(cuts) = self.tenants.get_mut(tenant).filter(|cuts| cuts.single() > max) else {
            return;
        };
        tracing::error!(%tenant, held = cuts.single(),
            "too many revocations of a tenant: all its tokens are stopped");
        let subjects = cuts.subjects.drain().map(|(_, cut)| cut.after);
        let after = subjects.chain(cuts.tokens.drain().map(|(_, after)| after)).max();
        let after = after.unwrap_or(now);
        Cut::merge(&mut cuts.floor, Cut { issued_until: now, after });
        self.count();
    }

    fn sweep(&mut self, now: SystemTime) {
        self.tokens.retain(|_, after| *after > now);
        self.tenants.retain(|_, cuts| {
            cuts.tokens.retain(|_, after| *after > now);
            cuts.all = cuts.all.filter(|cut| cut.after > now);
            cuts.floor = cuts.floor.filter(|cut| cut.after > now);
            cuts.subjects.retain(|_, cut| cut.after > now);
            cuts.held() > 0
        });
        self.count();
    }

    fn count(&mut self) {
        self.held = self.tokens.len() + self.tenants.values().map(TenantCuts::held).sum::<usize>();
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
            renewable: true,
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
        let one = Revocation::Token { id: TokenId::new("1"), tenant: Some(acme.clone()) };
        set.add(one.clone(), at(1_000), at(60));
        assert!(set.cover(&identity("acme", "ann", "1", Some(50))));
        assert!(!set.cover(&identity("acme", "ann", "2", Some(50))));
        // Other issuers may count their tokens from 1, too.
        let others = identity("other", "ann", "1", Some(50));
        assert!(!set.cover(&others) && !one.covers(&others));
        assert!(!set.cover_token(&TokenId::new("1")), "an operator's");

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

    #[test]
    fn a_tenant_with_too_many_is_stopped_itself_and_nobody_else() {
        let (acme, set) = (TenantId::parse("acme").expect("id"), set());
        let key = |kind| {
            Identity::proven(Proof {
                kind,
                renewable: false,
                tenant: acme.clone(),
                role: Role::App,
                subject: "k".into(),
                token_id: TokenId::new("k"),
                issued_at: Some(at(50)),
                expires_at: None,
                scopes: Vec::new(),
            })
        };
        for n in 0..=TENANT_REVOCATIONS_MAX {
            assert!(!set.cover(&identity("acme", "ann", "1", Some(60))), "{n}");
            let one = if n % 2 == 0 {
                let id = TokenId::new(&format!("t{n}"));
                Revocation::Token { id, tenant: Some(acme.clone()) }
            } else {
                let subject = format!("s{n}").into();
                Revocation::Subject { tenant: acme.clone(), subject, issued_until: at(60) }
            };
            set.add(one.clone(), at(1_000), at(60));
            // Heard twice, counted once.
            set.add(one, at(1_000), at(60));
        }
        assert!(set.cover(&identity("acme", "ann", "1", Some(60))), "all of its tokens");
        assert!(!set.cover(&identity("acme", "ann", "1", Some(61))), "not those of after");
        assert!(set.cover(&key(Kind::Jwt)) && !set.cover(&key(Kind::ApiKey)));
        assert!(!set.cover(&identity("other", "ann", "1", Some(60))), "the neighbour's");
        set.sweep(at(1_001));
        assert_eq!(set.metrics.revocations.get(), 0);
    }

    #[test]
    fn when_all_hold_too_many_the_one_with_the_most_pays() {
        let set = set();
        let tenants = REVOCATIONS_MAX / 4_000 + 1;
        let name = |n: usize| TenantId::parse(&format!("t{n}")).expect("id");
        let add = |n: usize, k: usize| {
            let (id, tenant) = (TokenId::new(&format!("{n}/{k}")), Some(name(n)));
            set.add(Revocation::Token { id, tenant }, at(1_000), at(60));
        };
        add(tenants, 0);
        (0..tenants).for_each(|n| (0..4_000).for_each(|k| add(n, k)));
        let stopped =
            (0..tenants).filter(|n| set.cover(&identity(name(*n).as_str(), "ann", "1", Some(60))));
        assert_eq!(stopped.count(), 1);
        assert!(!set.cover(&identity(name(tenants).as_str(), "ann", "1", Some(60))));
    }
}
