//! `pgusher dev`, from its flags to its last goodbye.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::keys::DevKeys;
use super::settle::{DECIDED, REGISTRY, by_cluster, by_word};
use super::{Cluster, DevArguments, Ready, ReadyServer, Samples, socket};
use crate::auth::{Grant, Power, Signer};
use crate::boot::{self, Running};
use crate::cli::command::Common;
use crate::cli::serve::{Told, control_runtime};
use crate::cli::{Answer, Client, Failure};
use crate::config::Config;
use crate::control::schema::{MigrationSet, migrate_registry};
use crate::ident::{Role, TenantId};
use crate::tenant::DatabaseUrl;
use crate::units::Secret;

/// How long the tokens that are handed out live.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long sessions may go on after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs a whole pgusher until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting; whatever was started is stopped again.
pub(crate) fn dev(common: &Common, arguments: &DevArguments) -> Result<Answer, Failure> {
    let sources = common.sources();
    let mut config = sources.load_but(DECIDED)?;
    config.log.install().map_err(Failure::new)?;
    by_word(&mut config, arguments, &sources)?;
    let (json, arguments) = (common.json, arguments.clone());
    control_runtime(&config)?.block_on(async move {
        let mut told = Told::listen().map_err(Failure::new)?;
        let mut cluster = Cluster::start(&arguments.cluster()).await.map_err(Failure::new)?;
        let outcome = tokio::select! {
            outcome = run(config, &arguments, &mut cluster, json) => outcome,
            () = told.stopped() => Ok(()),
        };
        cluster.stop().await.map_err(Failure::new)?;
        outcome.map(|()| Answer::new("stopped", json!({ "stopped": true })))
    })
}

/// Ends only when something fails.
async fn run(
    mut config: Config,
    arguments: &DevArguments,
    cluster: &mut Cluster,
    json: bool,
) -> Result<(), Failure> {
    let keys = DevKeys::load(cluster.home()).map_err(Failure::new)?;
    by_cluster(&mut config, cluster, &keys);
    let socket = socket::settle(&mut config, cluster.home());
    prepare_registry(&config, cluster).await?;
    let running =
        Box::pin(boot::start(&config)).await.map_err(|all| Failure::new(all.join("\n")))?;
    let running = Guard(Some(running));
    let ready = ready(&running, arguments, cluster, socket).await?;
    let text =
        if json { serde_json::to_string(&ready).map_err(Failure::new)? } else { ready.text() };
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::new)?;
    let Some(running) = &running.0 else { return Ok(()) };
    let alone = async {
        // As `serve` does, it goes on without its PostgreSQL and finds it again when it is back.
        let status = cluster.exited().await.map_err(Failure::new)?;
        tracing::error!(%status, "postgresql has ended by itself");
        std::future::pending().await
    };
    tokio::select! {
        failed = alone => failed,
        // An operator's SHUTDOWN: in order here whichever way it was asked for.
        _ = running.asked_to_stop() => Ok(()),
    }
}

async fn prepare_registry(config: &Config, cluster: &Cluster) -> Result<(), Failure> {
    let admin = DatabaseUrl::parse(&cluster.url("postgres")).map_err(Failure::new)?;
    let timeout = config.registry.connect_timeout.get();
    let client = crate::tenant::connect(&admin, timeout).await.map_err(Failure::new)?;
    let sql = "SELECT FROM pg_database WHERE datname = $1";
    if client.query_opt(sql, &[&REGISTRY]).await.map_err(Failure::new)?.is_none() {
        client.batch_execute(&format!("CREATE DATABASE {REGISTRY}")).await.map_err(Failure::new)?;
    }
    // PostgreSQL lets everyone into a new database; tenants' roles are to enter their own only.
    for open in [REGISTRY, "postgres", "template1"] {
        let sql = format!("REVOKE CONNECT, TEMPORARY ON DATABASE {open} FROM PUBLIC");
        client.batch_execute(&sql).await.map_err(Failure::new)?;
    }
    // The url in the configuration is the cluster's own, made above.
    let url = DatabaseUrl::parse(config.registry.url.expose()).map_err(Failure::new)?;
    migrate_registry(&url, &MigrationSet::registry(), Duration::from_secs(30))
        .await
        .map_err(Failure::new)?;
    if let Some(old) = cluster.moved_from() {
        mend_ports(&url, old, cluster.port(), timeout).await?;
    }
    Ok(())
}

/// PostgreSQL got another port than last time: the tenants' rows name the old one.
async fn mend_ports(
    url: &DatabaseUrl,
    old: u16,
    new: u16,
    timeout: Duration,
) -> Result<(), Failure> {
    let client = crate::tenant::connect(url, timeout).await.map_err(Failure::new)?;
    let sql = r#"UPDATE public."Tenant" SET "databasePort" = $2,
                 "databaseUrl" = replace("databaseUrl", ':' || $1::int || '/', ':' || $2::int || '/')
                 WHERE "databasePort" = $1"#;
    client.execute(sql, &[&i32::from(old), &i32::from(new)]).await.map_err(Failure::new)?;
    Ok(())
}

async fn ready(
    running: &Guard,
    arguments: &DevArguments,
    cluster: &Cluster,
    socket: Result<PathBuf, String>,
) -> Result<Ready, Failure> {
    let Some(running) = &running.0 else { return Err(Failure::new("not running")) };
    let addresses = &running.addresses;
    let none = || Failure::new("a listener has no address");
    let listen = *addresses.listen.first().ok_or_else(none)?;
    let (http, ops) = (addresses.http.ok_or_else(none)?, addresses.ops.ok_or_else(none)?);
    let signer = Arc::clone(&running.built.signer);
    let mint = |tenant: &str, admin: &str| token(&signer, tenant, admin);
    let samples =
        Samples { api: Client::new(http), listen, home: cluster.home().to_owned(), mint: &mint };
    let tenants = samples.ensure(usize::from(arguments.tenants)).await.map_err(Failure::new)?;
    let now = SystemTime::now();
    let operator = running
        .built
        .signer
        .operator(Power::Admin, "dev", Some(TOKEN_LIFETIME), now)
        .map_err(Failure::new)?;
    Ok(Ready {
        listen,
        socket,
        http,
        ops,
        server: ReadyServer {
            host: cluster.host().to_owned(),
            port: cluster.port(),
            superuser: cluster.superuser().to_owned(),
        },
        registry: cluster.url(REGISTRY),
        // Printed on purpose: the console's password for the one who started this.
        admin_url: format!("postgresql://admin:{}@{listen}/pgusher", operator.token.expose()),
        tenants,
    })
}

/// A token of the tenant's PRIMARY admin; empty when the ids are not ours.
fn token(signer: &Signer, tenant: &str, admin: &str) -> String {
    let Ok(tenant) = TenantId::parse(tenant) else { return String::new() };
    let grant = Grant {
        tenant,
        role: Role::Owner,
        subject: admin.to_owned(),
        scopes: Vec::new(),
        lifetime: Some(TOKEN_LIFETIME),
    };
    // Printed on purpose: it is what `dev` hands out.
    signer
        .access(&grant, SystemTime::now())
        .map(|minted| Secret::expose(&minted.token).to_owned())
        .unwrap_or_default()
}

/// Drains when the future that holds it ends, in whatever way.
struct Guard(Option<Running>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(running.drain_within(DRAIN));
            });
        }
    }
}
