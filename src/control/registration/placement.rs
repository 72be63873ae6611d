//! Where a new tenant may live.

use std::sync::Arc;

use crate::control::health::Health;
use crate::control::provision::{Provisioner, Servers};
use crate::control::{FieldProblem, Refused, failed, verifier};
use crate::fault::{Blame, Fault, SqlState};

/// A region new tenants may be placed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Whether a server there takes tenants now.
    pub open: bool,
}

/// Chooses servers.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    servers: Arc<Servers>,
    health: Health,
}

impl Placement {
    pub(super) fn new(servers: Arc<Servers>, health: Health) -> Self {
        Self { servers, health }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// The server of that name.
    pub(super) fn server(&self, name: &str) -> Result<&Arc<Provisioner>, Fault> {
        let server = self.servers.get(name);
        server.ok_or_else(|| failed::internal("the job's server is not configured"))
    }

    /// Every region with a server that may ever take tenants, by name.
    pub(super) fn regions(&self) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        for server in self.servers.values().filter(|server| server.weight() > 0) {
            let (name, open) = (server.region(), self.is_open(server));
            if name.is_empty() {
                continue;
            }
            match regions.iter_mut().find(|region| region.name == name) {
                Some(region) => region.open |= open,
                None => regions.push(Region { name: name.to_owned(), open }),
            }
        }
        regions.sort_by(|a, b| a.name.cmp(&b.name));
        regions
    }

    /// Refuses a region there is not, and names those there are.
    pub(super) fn checked(&self, region: Option<&str>) -> Result<(), Refused> {
        let Some(region) = region else { return Ok(()) };
        let regions = self.regions();
        if regions.iter().any(|known| known.name == region) {
            return Ok(());
        }
        let names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
        let message = if names.is_empty() {
            "there are no regions to choose from here".to_owned()
        } else {
            format!("must be one of {}", names.join(", "))
        };
        Err(Refused::Invalid(vec![FieldProblem::new("region", message)]))
    }

    /// The servers that may take a tenant of this region now, one drawn by weight before the
    /// others.
    pub(super) fn candidates(&self, region: Option<&str>) -> Result<Vec<Arc<Provisioner>>, Fault> {
        let fits = |server: &&Arc<Provisioner>| {
            region.is_none_or(|region| server.region() == region) && self.is_open(server)
        };
        let mut open: Vec<_> = self.servers.values().filter(fits).cloned().collect();
        let total: u64 = open.iter().map(|server| u64::from(server.weight())).sum();
        if total == 0 {
            let text = "no PostgreSQL server takes new tenants at the moment";
            return Err(Fault::new(Blame::Server, SqlState::CONNECTION_FAILURE, text));
        }
        let draw = u64::from_be_bytes(verifier::random::<8>()?) % total;
        let weights: Vec<u32> = open.iter().map(|server| server.weight()).collect();
        open.swap(0, drawn(&weights, draw));
        Ok(open)
    }

    fn is_open(&self, server: &Provisioner) -> bool {
        server.weight() > 0 && self.health.may_be_up(server.name()) && self.health.has_room(server)
    }
}

/// Whose turn `draw` is, of those with these weights.
fn drawn(weights: &[u32], mut draw: u64) -> usize {
    for (at, weight) in weights.iter().enumerate() {
        let weight = u64::from(*weight);
        if draw < weight {
            return at;
        }
        draw -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let turns: Vec<usize> = (0..6).map(|draw| drawn(&[1, 3, 2], draw)).collect();
        assert_eq!(turns, [0, 1, 1, 1, 2, 2]);
    }
}
