//! Who decides what of the configuration of `pgusher dev`.
//!
//! A flag or `--set` is a word to this command. A file and the environment are this machine's
//! `serve`'s: over what `dev` has an opinion of its own about, that stands, and the log says so.

use super::{Cluster, DevArguments, keys::DevKeys};
use crate::auth::{Algorithm, SigningKeySettings};
use crate::cli::Failure;
use crate::config::{Config, Named, Sources};
use crate::front::FrontSettings;
use crate::http::{HttpSettings, OpsSettings};

/// The registry's database.
pub(super) const REGISTRY: &str = "pgusher_registry";

/// The name of the only server.
const SERVER: &str = "dev";

const REGISTRY_DECIDED: &str =
    "`pgusher dev` makes a registry of its own; `pgusher serve` takes one that is there";
const SERVER_DECIDED: &str = "`pgusher dev` runs this PostgreSQL itself: see --pg-port, --pg-bin \
                              and --data; `pgusher serve` takes one that is there";

/// What `dev` decides whoever says otherwise.
pub(super) const DECIDED: &[(&str, &str)] = &[
    ("registry.url", REGISTRY_DECIDED),
    ("registry.url_file", REGISTRY_DECIDED),
    ("servers.dev.admin_url", SERVER_DECIDED),
    ("servers.dev.admin_url_file", SERVER_DECIDED),
    ("servers.dev.host", SERVER_DECIDED),
    ("servers.dev.port", SERVER_DECIDED),
];

/// Puts `dev`'s own defaults where neither a flag nor `--set` said otherwise.
///
/// # Errors
/// Wrong usage: no address to listen on.
pub(super) fn by_word(
    config: &mut Config,
    arguments: &DevArguments,
    sources: &Sources,
) -> Result<(), Failure> {
    for (key, _) in DECIDED {
        is_set(sources, key);
    }
    match arguments.listen {
        Some(address) => config.listen.addresses = vec![address],
        None if is_set(sources, "listen.addresses") => {}
        None => config.listen.addresses = FrontSettings::default().addresses,
    }
    if config.listen.addresses.is_empty() {
        return Err(Failure::usage("--set: listen.addresses: `pgusher dev` takes one at least"));
    }
    if !is_set(sources, "listen.unix_socket") {
        config.listen.unix_socket = None;
    }
    match arguments.http {
        Some(address) => config.http.address = Some(address),
        None if is_set(sources, "http.address") => {}
        None => config.http.address = HttpSettings::default().address,
    }
    match arguments.ops {
        Some(address) => config.ops.address = Some(address),
        None if is_set(sources, "ops.address") => {}
        None => config.ops.address = OpsSettings::default().address,
    }
    config.http.rate.enabled &= is_set(sources, "http.rate.enabled");
    config.auth.throttle.enabled &= is_set(sources, "auth.throttle.enabled");
    Ok(())
}

/// Puts in what the cluster and its directory decide.
pub(super) fn by_cluster(config: &mut Config, cluster: &Cluster, keys: &DevKeys) {
    config.registry.url = cluster.url(REGISTRY).into();
    if config.auth.master_key.is_empty() {
        config.auth.master_key = keys.master_key.clone();
    }
    if config.auth.signer.keys.is_empty() {
        config.auth.signer.keys = vec![SigningKeySettings {
            algorithm: Algorithm::EdDsa,
            secret: keys.signing_key.clone(),
            ..SigningKeySettings::default()
        }];
    }
    let server = config.servers.entry(SERVER.to_owned()).or_default();
    server.admin_url = cluster.url("postgres").into();
    cluster.host().clone_into(&mut server.host);
    server.port = cluster.port();
}

/// Whether `--set` names `key`.
fn is_set(sources: &Sources, key: &str) -> bool {
    match sources.named(key) {
        Some(Named::Set) => true,
        Some(Named::Elsewhere(place)) => {
            tracing::info!(key, place, "pgusher dev decides this key itself");
            false
        }
        None => false,
    }
}
