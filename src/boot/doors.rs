//! The HTTP doors and what stands behind them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::figures::LiveFigures;
use super::seams::{OperatorDoor, SessionDoor, SignerMint, VerifierGate};
use super::texting::texting;
use super::{BuildProblems, Built};
use crate::config::Config;
use crate::control::health::Health;
use crate::control::keys::Keys;
use crate::control::login::Login;
use crate::control::mfa::Mfa;
use crate::control::provision::Provisioner;
use crate::control::registration::{AtWork, Builder, Registration, RegistrationMetrics, Warm};
use crate::control::seams::SharedMint;
use crate::control::stripe::{Outbox, StripeHook, StripeMetrics};
use crate::control::{EmailIndex, Pace, Passwords, Presence, Sessions};
use crate::http::{Ops, Public};
use crate::net::DataThread;
use crate::pool::RoomFigures;
use crate::session::Door;

/// Doors that stand open.
pub(super) struct Doors {
    pub(super) http: Option<SocketAddr>,
    pub(super) ops: Option<SocketAddr>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

/// Opens the public door and the operators', and starts what registrations need.
pub(super) async fn open(
    config: &Config,
    built: &Arc<Built>,
    data: &DataThread,
    presence: &Presence,
    listener: Option<SocketAddr>,
) -> Result<Doors, BuildProblems> {
    let mut tasks = Vec::new();
    let parts = Sidecar::new(config, built, data, presence)?;
    let mut problems = Vec::new();
    let texting = texting(config, built, &parts.login)?;
    let gate = Arc::new(VerifierGate(built.verifier.clone()));
    let public =
        Public::new(&config.http, parts.registration.clone(), parts.login, parts.keys, gate)
            .reached_at(listener, built.tls.is_some())
            .with_texting(texting.clone())
            .with_stripe(stripe(config, built, &mut tasks).map_err(|p| vec![p])?);
    let http = serve(config.http.address, public.router(), &mut tasks, &mut problems).await;
    let ops = Ops {
        metrics: built.metrics.clone(),
        registry: built.registry.clone(),
        directory: Arc::clone(&built.directory),
        health: parts.health.clone(),
        figures: Arc::new(LiveFigures(Arc::clone(built))),
        gate: Arc::new(OperatorDoor(built.verifier.clone())),
        texting: Some(texting),
    };
    let ops = serve(config.ops.address, ops.router(), &mut tasks, &mut problems).await;
    if !problems.is_empty() {
        return Err(problems);
    }
    let (warm, janitor, health) = (parts.warm, parts.registration.janitor(), parts.health);
    tasks.push(tokio::spawn(async move { health.run().await }));
    tasks.push(tokio::spawn(async move { warm.run().await }));
    tasks.push(tokio::spawn(async move { janitor.run().await }));
    Ok(Doors { http, ops, tasks })
}

/// Starts telling Stripe of tenants, and gives the hook that hears of them; each where it is
/// configured.
fn stripe(
    config: &Config,
    built: &Built,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<Option<StripeHook>, String> {
    let metrics = StripeMetrics::new(&built.metrics).map_err(|e| format!("metrics: {e}"))?;
    let outbox = Outbox::new(built.registry.clone(), &config.stripe, metrics.clone())?;
    tasks.extend(outbox.map(|outbox| tokio::spawn(outbox.run())));
    Ok(StripeHook::new(built.registry.clone(), &config.stripe, metrics))
}

/// Revokes what PUBLIC may enter on every server, as soon as each can be reached: tenants' roles
/// are members of PUBLIC.
pub(super) fn close_doors(built: &Arc<Built>) -> Vec<JoinHandle<()>> {
    let close = |server: &Arc<Provisioner>| {
        let (server, built) = (Arc::clone(server), Arc::clone(built));
        tokio::spawn(async move {
            let registry = [built.registry.url().database.clone()];
            loop {
                match server.close_doors(&registry).await {
                    Ok(open) if open.is_empty() => return,
                    Ok(open) => {
                        tracing::warn!(?open, "databases that PUBLIC can still enter");
                        return;
                    }
                    Err(fault) => {
                        tracing::warn!(%fault, cause = fault.cause(), "a server's doors are not closed yet");
                    }
                }
                tokio::time::sleep(DOORS_RETRY).await;
            }
        })
    };
    built.servers.values().map(close).collect()
}

/// How long until a server that could not be reached is tried again.
const DOORS_RETRY: Duration = Duration::from_secs(10);

async fn serve(
    address: Option<SocketAddr>,
    router: Router,
    tasks: &mut Vec<JoinHandle<()>>,
    problems: &mut Vec<String>,
) -> Option<SocketAddr> {
    let address = address?;
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            problems.push(format!("cannot listen on {address}: {error}"));
            return None;
        }
    };
    let bound = listener.local_addr().ok();
    tasks.push(tokio::spawn(crate::http::serve(listener, router)));
    bound
}

/// The services of registration and login.
pub(super) struct Sidecar {
    pub(super) registration: Registration,
    pub(super) login: Arc<Login>,
    pub(super) keys: Keys,
    pub(super) warm: Warm,
    pub(super) health: Health,
}

impl Sidecar {
    pub(super) fn new(
        config: &Config,
        built: &Arc<Built>,
        data: &DataThread,
        presence: &Presence,
    ) -> Result<Self, BuildProblems> {
        let registry = built.registry.clone();
        let passwords = Passwords::new(&config.passwords).map_err(|problem| vec![problem])?;
        let emails = EmailIndex::new(built.master_key.clone(), config.auth.legacy_email_hash);
        let mint: SharedMint = Arc::new(SignerMint {
            signer: Arc::clone(&built.signer),
            access_lifetime: config.auth.signer.access_lifetime.get(),
        });
        let sessions = Sessions::new(registry.clone(), Arc::clone(&mint), &config.refresh);
        let servers = Arc::clone(&built.servers);
        let pools = built.pools.clone();
        let pressure = Box::new(move || pools.rooms().iter().any(|room| room.waiting > 0));
        let warm = Warm::new(
            registry.clone(),
            servers.clone(),
            presence.clone(),
            config.warm.clone(),
            pressure,
        );
        let unnamed = |e: prometheus::Error| vec![format!("metrics: {e}")];
        let health =
            Health::new(registry.clone(), servers.clone(), config.health.clone(), &built.metrics)
                .map_err(unnamed)?;
        let metrics = RegistrationMetrics::new(&built.metrics).map_err(unnamed)?;
        let pools = built.pools.clone();
        let is_at_work = |room: &RoomFigures| room.leased > 0 || room.waiting > 0;
        let registration = Builder {
            registry: registry.clone(),
            servers,
            health: health.clone(),
            passwords: passwords.clone(),
            emails: emails.clone(),
            sessions: sessions.clone(),
            presence: presence.clone(),
            warm: warm.clone(),
            at_work: AtWork(Box::new(move || pools.rooms().iter().any(is_at_work))),
            metrics,
        }
        .build(&config.registration);
        let door = SessionDoor(Door::new(Arc::clone(&built.shared), data.clone()));
        let login = Arc::new(Login {
            registry: registry.clone(),
            directory: Arc::clone(&built.directory),
            emails,
            passwords,
            sessions,
            door: Arc::new(door),
            mint,
            mfa: Mfa::new(registry.clone(), &config.mfa),
            pace: Pace::default(),
        });
        Ok(Self { registration, login, keys: Keys::new(registry), warm, health })
    }
}
