//! Arrival: from an identity to a session in its tenant's room, ready for queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::io::AsyncWriteExt;

use super::clock::Doing;
use super::cut::Cut;
use super::deferred::Deferred;
use super::farewell::Farewell;
use super::habit::Habit;
use super::known::Known;
use super::lengths::Timing;
use super::live::{Counted, Live};
use super::login::Proven;
use super::schema::{Reading, Salted, Schema};
use super::settings::DatabaseNames;
use super::shared::{Shared, way_of};
use super::startup::Wish;
use super::statements::ClientStatements;
use super::taking::{Seat, take, take_plain};
use super::welcomes::Welcome;
use crate::auth::{Identity, Kind};
use crate::fault::{Blame, Fault, SqlState};
use crate::ident::Role;
use crate::net::Stream;
use crate::pool::{Asker, Class, Lease, Membership, Pin};
use crate::server::{Account, DialError, Endpoint, Params, Server, Settings, ToldPid};
use crate::tenant::PoolMode;
use crate::tenant::Tenant;
use crate::wire::{ProtocolVersion, Writer};

/// The secret of a cancel key: 4 bytes in protocol 3.0, 32 as PostgreSQL 18 sends in 3.2.
const LONG_SECRET_BYTES: usize = 32;

/// Brings a proven client into its tenant's room.
pub(super) async fn arrive(shared: &Arc<Shared>, proven: Proven) -> Result<Live, Farewell> {
    let Proven { mut greeted, identity, prelude } = proven;
    let hears_pins = greeted.wish.hears_pins;
    let settled = tokio::select! {
        biased;
        settled = settle(shared, &identity, greeted.wish) => settled,
        // A place in line, or a server, is for those who are still there.
        () = greeted.stream.ended() => return Err(Farewell::silent(greeted.stream)),
    };
    let settled = match settled {
        Ok(settled) => settled,
        Err(fault) => return Err(Farewell::fatal(greeted.stream, fault)),
    };
    let version = greeted.message.version.agreed();
    let mut live = enter(shared, identity, settled, greeted.stream, version);
    live.hears_pins = hears_pins;
    // What was revoked while this session waited was cut before it was on the roster.
    if let Err(fault) = still_welcome(shared, &live).await {
        return Err(Farewell::fatal(live.client, fault).of(live.entry));
    }
    // Its tenant's servers may be others than when it asked where they are.
    if live.membership.check_way().is_err() {
        return Err(Farewell::fatal(live.client, Cut::Killed.fault()).of(live.entry));
    }
    let welcomed = welcome(&mut live, prelude).await;
    if welcomed.is_err() {
        return Err(Farewell::silent(live.client).of(live.entry));
    }
    shared.parts.metrics.logins.inc();
    shared.parts.metrics.login_seconds.observe(greeted.began.elapsed().as_secs_f64());
    Ok(live)
}

/// A client's place in its room, and what its first server said.
struct Settled {
    role: Role,
    /// By which way its servers are dialled.
    mark: u64,
    seat: Seat,
    membership: Membership<Box<Server>>,
    /// Who it is to its room.
    asker: Asker,
    known: Known,
    held: Option<Lease<Box<Server>>>,
    schema: Schema,
    params: Params,
    settings: Settings,
}

async fn settle(shared: &Arc<Shared>, identity: &Identity, wish: Wish) -> Result<Settled, Fault> {
    let Wish { settings, pool_mode, database, .. } = wish;
    let tenant = match shared.parts.directory.cached(identity.tenant()) {
        Some(tenant) => tenant,
        None => shared.parts.directory.tenant(identity.tenant()).await?,
    };
    tenant.served()?;
    if shared.parts.settings.database_names == DatabaseNames::Own {
        known_database(&database, &tenant)?;
    }
    let role = tenant.permits(SystemTime::now()).role(identity.role());
    let settings = if tenant.adopted && (role == Role::Readonly || role != identity.role()) {
        // One login for every role: PostgreSQL cannot hold it to reading, only ask it to.
        settings.with("default_transaction_read_only", "on")
    } else {
        settings
    };
    let limits = shared.parts.rules.of(&tenant);
    let way = way_of(&tenant);
    let mark = way.mark;
    let membership = shared.parts.pools.enter(&tenant.id, &way, &limits)?;
    let schema = shared.schemas.of(&tenant.id, mark);
    let default_mode = shared.parts.settings.pool_mode;
    let mode = pool_mode.or(tenant.pool_mode).unwrap_or(default_mode);
    if mode == PoolMode::Session {
        let seat = own_seat(&tenant, role, &settings);
        membership.room().may_pin()?;
        let mut lease = take(shared, &membership, &seat).await?;
        lease.pin(Pin::Session)?;
        let params = lease.params.clone();
        let known = lease.gate().key().map_or(Known::Otherwise, |key| Known::As(key.pid));
        let (asker, held) = (Asker::new(), Some(lease));
        return Ok(Settled {
            role,
            mark,
            seat,
            membership,
            asker,
            known,
            held,
            schema,
            params,
            settings,
        });
    }
    let mut seat = seat(&tenant, role);
    let (params, settings) = learn(shared, &schema, &seat, &membership, settings).await?;
    flavour(&mut seat, &membership, &settings);
    let mut asker = Asker::new();
    let known = introduce(&seat, &membership, &mut asker);
    Ok(Settled { role, mark, seat, membership, asker, known, held: None, schema, params, settings })
}

/// A tenant's database, as it is called or as every tenant's would be; the sidecar says the latter.
fn known_database(name: &str, tenant: &Tenant) -> Result<(), Fault> {
    if name == &*tenant.database || name == tenant.id.database() {
        return Ok(());
    }
    // The name is the client's own; cut as PostgreSQL would, so that the answer stays small.
    let shown: String = name.chars().take(63).collect();
    let text = format!("database \"{shown}\" does not exist");
    Err(Fault::new(Blame::Client, SqlState::INVALID_CATALOG_NAME, text))
}

/// A seat among those who share servers.
fn seat(tenant: &Tenant, role: Role) -> Seat {
    let class = if tenant.adopted { Class::ONLY } else { Class::new(role.index()) };
    let account = account(tenant, role, class, Settings::default());
    seat_of(tenant, PoolMode::Transaction, account)
}

/// A seat in session mode: its server is dialled for it, with its settings in the startup packet,
/// and is closed behind it. So `RESET` and DISCARD return to what the client asked for, and nothing
/// is there that DISCARD leaves behind: loaded libraries, plan caches, the seed of `random()`.
fn own_seat(tenant: &Tenant, role: Role, settings: &Settings) -> Seat {
    // A class without idle servers, ever.
    let class = Class::new(Role::ALL.len() + if tenant.adopted { 0 } else { role.index() });
    seat_of(tenant, PoolMode::Session, account(tenant, role, class, settings.clone()))
}

fn account(tenant: &Tenant, role: Role, class: Class, startup: Settings) -> Account {
    let login = tenant.login(role);
    Account {
        database: tenant.database.to_string(),
        user: login.user,
        password: login.password,
        // A managed login has a SCRAM verifier, always.
        shows_password: tenant.adopted,
        class,
        startup,
    }
}

fn seat_of(tenant: &Tenant, mode: PoolMode, account: Account) -> Seat {
    let endpoint = Endpoint {
        host: tenant.route.host.to_string(),
        port: tenant.route.port,
        ssl_mode: tenant.route.ssl_mode,
        ca_file: tenant.route.root_cert.as_deref().map(str::to_owned),
    };
    Seat {
        tenant: tenant.id.clone(),
        class: account.class,
        mode,
        endpoint: Arc::new(endpoint),
        account: Arc::new(account),
    }
}

/// `application_name` differs too much to have servers of its own.
fn flavour_of(settings: &Settings) -> Settings {
    settings.retain(|name, _| name != "application_name")
}

/// Gives clients with the same startup settings servers that were dialled with these: `RESET`
/// returns to them inside a transaction, too.
fn flavour(seat: &mut Seat, membership: &Membership<Box<Server>>, settings: &Settings) {
    let startup = flavour_of(settings);
    if startup.is_empty() {
        return;
    }
    let class = membership.room().flavour(seat.class, startup.fingerprint());
    if !class.is_plain() {
        let account = Account { class, startup, ..seat.account.plain(class) };
        (seat.class, seat.account) = (class, Arc::new(account));
    }
}

/// A client that shares servers is told the process id of one that nobody was told and that is
/// idle, and has that one first: while servers are enough, it finds itself under its own id in
/// `pg_backend_pid()`, in notifications and in the catalog.
fn introduce(seat: &Seat, membership: &Membership<Box<Server>>, asker: &mut Asker) -> Known {
    let mut told = None;
    membership.room().introduce(seat.class, asker, |server| {
        told = ToldPid::of(server.gate());
        told.is_some()
    });
    told.map_or(Known::Otherwise, Known::By)
}

/// The parameters a session with these settings is told. Known from an earlier login, or learned
/// from a server; the settings that are the server's own already are dropped, so that they cost
/// nothing later.
async fn learn(
    shared: &Arc<Shared>,
    schema: &Schema,
    seat: &Seat,
    membership: &Membership<Box<Server>>,
    settings: Settings,
) -> Result<(Params, Settings), Fault> {
    let (name, rest) = without_plain_name(&settings);
    if let Some(Welcome { mut params, own, .. }) = schema.welcome(seat.class, &rest) {
        let mut settings = own;
        if let Some(name) = name {
            params.set("application_name", &name);
            settings = settings.with("application_name", &name);
        }
        return Ok((params, settings));
    }
    let mut lease = take_plain(shared, membership, seat).await?;
    let plain = lease.params.clone();
    if let Err(fault) = apply(&mut lease, &rest).await {
        // Refused as a whole: the server is as it was, and others may have it.
        if fault.state() == SqlState::INVALID_PARAMETER_VALUE {
            lease.finish();
        }
        return Err(fault);
    }
    let params = lease.params.clone();
    let own = rest.retain(|name, value| {
        let same = |(n, v): (&str, &str)| n.eq_ignore_ascii_case(name) && v == value;
        !plain.iter().any(same)
    });
    // Those who come will have servers dialled with that.
    if flavour_of(&own).is_empty() {
        lease.finish();
    } else {
        lease.destroy();
    }
    let told = (params.clone(), own.clone());
    shared.remember(schema, Welcome { class: seat.class, asked: rest, params, own });
    let (mut params, mut settings) = told;
    if let Some(name) = name {
        params.set("application_name", &name);
        settings = settings.with("application_name", &name);
    }
    Ok((params, settings))
}

/// `application_name` is different for every app and comes back as it was sent, if it is short
/// and printable: it is left out of what logins are compared by.
fn without_plain_name(settings: &Settings) -> (Option<String>, Settings) {
    let plain = |v: &str| v.len() < 64 && v.bytes().all(|b| (32..127).contains(&b));
    let name = settings.iter().find(|(n, v)| *n == "application_name" && plain(v));
    match name.map(|(_, v)| v.to_owned()) {
        Some(name) => (Some(name), settings.retain(|n, _| n != "application_name")),
        None => (None, settings.clone()),
    }
}

/// A startup setting PostgreSQL does not take ends the login, with PostgreSQL's own words: the
/// token is proven, and the value is the client's.
async fn apply(lease: &mut Lease<Box<Server>>, settings: &Settings) -> Result<(), Fault> {
    lease.apply(settings).await.map_err(|error| match error {
        DialError::Refused { message, .. } => {
            let text = "a setting of the startup packet was refused";
            Fault::new(Blame::Client, SqlState::INVALID_PARAMETER_VALUE, text).detail(message)
        }
        other => other.into_fault(),
    })
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

fn enter(
    shared: &Arc<Shared>,
    identity: Identity,
    settled: Settled,
    stream: Stream,
    version: ProtocolVersion,
) -> Live {
    let mut secret = [0; LONG_SECRET_BYTES];
    // Without randomness no cancel will match; nothing else depends on it.
    let random = aws_lc_rs::rand::fill(&mut secret).is_ok();
    let length = if version.has_long_keys() { LONG_SECRET_BYTES } else { 4 };
    let secret: Box<[u8]> = if random { secret[..length].into() } else { Box::default() };
    let timeouts = Arc::clone(settled.membership.room().timeouts());
    let who = (identity, settled.role, settled.mark);
    let entry = shared.parts.roster.enter(who, stream.peer(), settled.known, secret, timeouts);
    let gauge = shared.parts.metrics.sessions.clone();
    gauge.inc();
    Live {
        shared: Arc::clone(shared),
        client: stream,
        seat: settled.seat,
        membership: settled.membership,
        entry,
        asker: settled.asker,
        habit: Habit::default(),
        held: settled.held,
        params: settled.params,
        startup: settled.settings.clone(),
        settings: settled.settings,
        statements: ClientStatements::default(),
        schema: settled.schema,
        reading: Reading::default(),
        salted: Salted::default(),
        hears_pins: false,
        deferred: Deferred::default(),
        doing: Doing::Waiting,
        turns: 0,
        timing: Timing::default(),
        transactions: 0,
        number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
        _counted: Counted(gauge),
    }
}

/// Whether what was proven still holds: what changes from here on finds the session on the roster. A
/// registry that is away takes nothing back.
async fn still_welcome(shared: &Arc<Shared>, live: &Live) -> Result<(), Fault> {
    let identity = live.entry.card().identity();
    let directory = &shared.parts.directory;
    let key = match identity.kind() {
        Kind::ApiKey => directory.api_key(identity.token_id().as_str()).await.ok(),
        Kind::Jwt => None,
    };
    let is_revoked = key.is_some_and(|row| row.is_none_or(|row| row.revoked));
    if is_revoked || shared.parts.verifier.revocations().cover(identity) {
        return Err(Cut::Revoked.fault());
    }
    let tenant = match directory.tenant(identity.tenant()).await {
        Ok(tenant) => tenant,
        Err(fault) if fault.state() == SqlState::INVALID_CATALOG_NAME => return Err(fault),
        Err(_) => return Ok(()),
    };
    tenant.served()?;
    let role = tenant.permits(SystemTime::now()).role(identity.role());
    if role == live.entry.card().role() { Ok(()) } else { Err(Cut::Subscription.fault()) }
}

/// AuthenticationOk, the parameters, the key, ReadyForQuery: one write.
async fn welcome(live: &mut Live, mut out: Writer) -> std::io::Result<()> {
    out.authentication_ok();
    for (name, value) in live.params.iter() {
        out.parameter_status(name, value);
    }
    out.backend_key_data(live.entry.card().key()).ready_for_query(b'I');
    live.client.write_all(out.bytes()).await?;
    live.client.flush().await
}
