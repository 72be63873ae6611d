//! SHOW CLIENTS and SHOW SERVERS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::admin::answer::{Cell, Column, Row, int4, row, text};
use crate::admin::desk::Desk;
use crate::ident::TenantId;
use crate::server::CancelGate;
use crate::session::Card;
use crate::units::Utc;

/// PgBouncer's columns of a socket. pgusher says NULL to what it does not know or has not.
pub(in crate::admin) const SOCKETS: &[Column] = &[
    text("type"),
    text("user"),
    text("database"),
    text("replication"),
    text("state"),
    text("addr"),
    int4("port"),
    text("local_addr"),
    int4("local_port"),
    text("connect_time"),
    text("request_time"),
    int4("wait"),
    int4("wait_us"),
    int4("close_needed"),
    text("ptr"),
    text("link"),
    int4("remote_pid"),
    text("tls"),
    text("application_name"),
    int4("prepared_statements"),
    int4("id"),
];

/// Those of a client, and pgusher's own: what it waits for, and its place in its tenant's line.
pub(in crate::admin) const CLIENTS: &[Column] = &{
    let mut columns = [text("wait_limit"); SOCKETS.len() + 2];
    let mut n = 0;
    while n < SOCKETS.len() {
        columns[n] = SOCKETS[n];
        n += 1;
    }
    columns[SOCKETS.len() + 1] = int4("wait_position");
    columns
};

/// What is known of one socket.
struct Socket<'a> {
    kind: &'static str,
    user: String,
    tenant: &'a TenantId,
    state: &'static str,
    addr: Cell,
    port: Cell,
    connect_time: Cell,
    link: Cell,
    remote_pid: Cell,
    id: Cell,
    waited: Duration,
}

impl Socket<'_> {
    fn row(self, desk: &Desk) -> Row {
        let none = || None::<String>;
        row![
            self.kind,
            self.user,
            desk.database(self.tenant),
            "none",
            self.state,
            self.addr,
            self.port,
            none(),
            none(),
            self.connect_time,
            none(),
            self.waited.as_secs(),
            self.waited.subsec_micros(),
            0,
            none(),
            self.link,
            self.remote_pid,
            none(),
            none(),
            none(),
            self.id,
        ]
    }
}

/// The user a session's queries run as.
pub(super) fn user(desk: &Desk, card: &Card) -> String {
    let (tenant, role) = (card.identity().tenant(), card.identity().role());
    let known = desk.parts.directory.cached(tenant);
    known.map_or_else(|| tenant.login_role(role), |tenant| tenant.login_user(role))
}

/// Every session, in the order they came. Copied first: the roster's locks are held for a moment
/// only.
pub(super) fn cards(desk: &Desk) -> Vec<Arc<Card>> {
    let mut cards = Vec::new();
    desk.roster().each(|card| cards.push(Arc::clone(card)));
    cards.sort_by_key(|card| card.since());
    cards
}

pub(in crate::admin) fn clients(desk: &Desk) -> Vec<Row> {
    let limits: HashMap<TenantId, &'static str> = desk
        .rooms()
        .into_iter()
        .filter_map(|room| Some((room.tenant, room.waits_for?.limit)))
        .collect();
    let cards = cards(desk);
    let lines = lines(&cards);
    let row = |(card, position): (&Arc<Card>, Option<u32>)| {
        let tenant = card.identity().tenant();
        let mut row =
            Socket { user: user(desk, card), ..client(card, position.is_some()) }.row(desk);
        // In the moment it is served the line is shorter already.
        row.push(position.and_then(|_| limits.get(tenant).copied()).map(str::to_owned).into());
        row.push(position.into());
        row
    };
    cards.iter().zip(lines).map(row).collect()
}

/// Each client's place in its tenant's line, counted from one, if it waits.
fn lines(cards: &[Arc<Card>]) -> Vec<Option<u32>> {
    let mut waiting: Vec<_> =
        cards.iter().enumerate().filter_map(|(n, card)| Some((card.waits_since()?, n))).collect();
    waiting.sort_unstable();
    let mut counts: HashMap<&TenantId, u32> = HashMap::new();
    let mut places = vec![None; cards.len()];
    for (_, n) in waiting {
        let count = counts.entry(cards[n].identity().tenant()).or_default();
        *count += 1;
        places[n] = Some(*count);
    }
    places
}

fn client(card: &Card, waits: bool) -> Socket<'_> {
    let server = card.server();
    let state = match (server.is_some(), waits) {
        (true, _) => "active",
        (false, true) => "waiting",
        (false, false) => "idle",
    };
    let peer = card.peer();
    Socket {
        kind: "C",
        user: String::new(),
        tenant: card.identity().tenant(),
        state,
        addr: peer.map_or_else(|| "unix".to_owned(), |peer| peer.ip().to_string()).into(),
        port: peer.map(|peer: SocketAddr| peer.port()).into(),
        connect_time: moment(card.since()).into(),
        link: server.and_then(|gate| gate.key()).map(|key| key.pid.to_string()).into(),
        remote_pid: Cell::Null,
        id: card.pid().into(),
        waited: card.waits_since().map(|since| since.elapsed()).unwrap_or_default(),
    }
}

/// Servers that run a client's query, then idle ones, then those being dialed. Of a dial only the
/// tenant is known.
pub(in crate::admin) fn servers(desk: &Desk) -> Vec<Row> {
    let mut rows = Vec::new();
    for card in cards(desk) {
        if let Some(gate) = card.server() {
            let mut socket = server(card.identity().tenant(), "active", Some(&gate));
            socket.user = user(desk, &card);
            socket.link = card.pid().to_string().into();
            rows.push(socket.row(desk));
        }
    }
    let mut idle = Vec::new();
    desk.pools().each_idle(|tenant, server| {
        idle.push((tenant.clone(), Arc::clone(server.gate()), server.born().elapsed()));
    });
    idle.sort_by(|a, b| a.0.cmp(&b.0));
    for (tenant, gate, age) in idle {
        let mut socket = server(&tenant, "idle", Some(&gate));
        let born = SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH);
        socket.connect_time = moment(born).into();
        rows.push(socket.row(desk));
    }
    for room in desk.rooms() {
        let dials = (0..room.dialing).map(|_| server(&room.tenant, "new", None).row(desk));
        rows.extend(dials);
    }
    rows
}

fn server<'a>(
    tenant: &'a TenantId,
    state: &'static str,
    gate: Option<&Arc<CancelGate>>,
) -> Socket<'a> {
    let endpoint = gate.map(|gate| gate.endpoint());
    let pid = gate.and_then(|gate| gate.key()).map(|key| key.pid);
    Socket {
        kind: "S",
        user: super::pools::EVERY_USER.to_owned(),
        tenant,
        state,
        addr: endpoint.map(|endpoint| endpoint.host.clone()).into(),
        port: endpoint.map(|endpoint| endpoint.port).into(),
        connect_time: Cell::Null,
        link: Cell::Null,
        remote_pid: pid.into(),
        id: pid.into(),
        waited: Duration::ZERO,
    }
}

/// `2026-11-21 18:55:30 UTC`, as PgBouncer writes it.
fn moment(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let Utc { year, month, day, hour, minute, second } =
        Utc::of(i64::try_from(since.as_secs()).unwrap_or(0));
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}
