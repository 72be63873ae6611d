//! Requests per address, and per admin whose token was proven.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::StatusCode;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::{Problem, RateSettings};
use crate::control::seams::Caller;
use crate::ident::TenantId;
use crate::net::network;

/// The limits of the public door.
pub(super) struct Limits {
    pub(super) register: Limit,
    pub(super) login: Limit,
    pub(super) all: Limit,
}

/// One limit; `None` is off.
pub(super) struct Limit(Option<Keyed>);

struct Keyed {
    limiter: DefaultKeyedRateLimiter<Who>,
    asked: AtomicU32,
}

/// Whom requests are counted against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Network(IpAddr),
    /// Of strangers behind the same address nothing is counted against an admin.
    Admin(TenantId, String),
}

/// After so many questions, those that were silent are forgotten.
const FORGET_EVERY: u32 = 4096;

impl Limits {
    pub(super) fn new(settings: &RateSettings) -> Self {
        let limit = |per_minute| Limit::new(if settings.enabled { per_minute } else { 0 });
        Self {
            register: limit(settings.register_per_minute),
            login: limit(settings.login_per_minute),
            all: limit(settings.all_per_minute),
        }
    }
}

impl Limit {
    fn new(per_minute: u32) -> Self {
        Self(NonZeroU32::new(per_minute).map(|per_minute| Keyed {
            limiter: RateLimiter::keyed(Quota::per_minute(per_minute)),
            asked: AtomicU32::new(0),
        }))
    }

    /// Counts one request of `address`.
    ///
    /// # Errors
    /// 429, with the time after which to try again.
    pub(super) fn count(&self, address: Option<IpAddr>) -> Result<(), Problem> {
        address.map_or(Ok(()), |address| self.take(&Who::Network(network(address))))
    }

    /// Counts one request of an admin, wherever it comes from.
    ///
    /// # Errors
    /// 429, with the time after which to try again.
    pub(super) fn count_admin(&self, caller: &Caller) -> Result<(), Problem> {
        self.take(&Who::Admin(caller.tenant.clone(), caller.subject.clone()))
    }

    fn take(&self, who: &Who) -> Result<(), Problem> {
        let Some(keyed) = &self.0 else { return Ok(()) };
        if keyed.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            keyed.limiter.retain_recent();
        }
        keyed.limiter.check_key(who).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate-limit", "Too many requests")
                .retry_after(wait.as_secs().saturating_add(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_limited_and_another_is_not() {
        let limit = Limit::new(2);
        let (a, b): (IpAddr, IpAddr) =
            ("10.0.0.1".parse().expect("ip"), "10.0.0.2".parse().expect("ip"));
        assert!(limit.count(Some(a)).is_ok() && limit.count(Some(a)).is_ok());
        assert_eq!(limit.count(Some(a)).expect_err("limited").status, 429);
        assert!(limit.count(Some(b)).is_ok());
        assert!(Limit::new(0).count(Some(a)).is_ok());
    }
}
