//! The admin console: its vocabulary is PgBouncer's, its powers are held, its commands act.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use pgusher::auth::{Algorithm, Power, Signer, SignerSettings, SigningKeySettings};
use world::wire::{Conn, Login, query};
use world::{Plan, World, bare, code, eventually, server_connections, tools};

/// How long a promise may take to come true.
const SOON: Duration = Duration::from_secs(20);

/// One tenant a test, so that none disturbs another.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::start(Plan::tenants(8)))
}

/// An operator token of this world, minted with its own key.
fn token(world: &World, power: Power, lifetime: Option<Duration>) -> String {
    let key = std::fs::read_to_string(world.dir.join("data/signing.pem")).unwrap();
    let key = SigningKeySettings {
        algorithm: Algorithm::EdDsa,
        secret: key.into(),
        ..SigningKeySettings::default()
    };
    let signer = Signer::new(SignerSettings { keys: vec![key], ..SignerSettings::default() });
    let minted = signer.unwrap().operator(power, "tester", lifetime, SystemTime::now()).unwrap();
    minted.token.expose().to_owned()
}

fn operator(world: &World, power: Power) -> Conn {
    let login = Login::new("operator", &token(world, power, None), "pgusher");
    world.login(&login).unwrap_or_else(|e| panic!("{e:?}"))
}

fn psql(world: &World, power: Power, sql: &str) -> Output {
    let (host, port) = (world.listen.ip().to_string(), world.listen.port().to_string());
    let mut psql = Command::new(tools::program("psql"));
    psql.args(["-X", "-A", "-w", "-h", &host, "-p", &port, "-U", "operator", "-d", "pgusher"])
        .args(["-c", sql])
        .env("PGPASSWORD", token(world, power, None));
    psql.output().unwrap()
}

/// What psql prints: the names of the columns, and the rows.
fn shown(world: &World, sql: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let output = psql(world, Power::Stats, sql);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| line.split('|').map(str::to_owned).collect());
    let columns = lines.next().unwrap_or_default();
    let mut rows: Vec<Vec<String>> = lines.collect();
    let footer = rows.pop().unwrap_or_default();
    assert!(footer[0].starts_with('('), "{sql}: {text}");
    (columns, rows)
}

fn cell(world: &World, sql: &str, key: &str, column: &str) -> Option<String> {
    let (columns, rows) = shown(world, sql);
    let at = columns.iter().position(|name| name == column).expect("the column is there");
    rows.iter().find(|row| row[0] == key).map(|row| row[at].clone())
}

#[test]
fn psql_reads_pgbouncers_columns() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let mut session = world.session(0);
    session.query("begin").unwrap();
    let database = world.tenants[0].database();
    for (sql, columns) in [
        (
            "SHOW POOLS",
            "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req \
             sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login \
             maxwait maxwait_us pool_mode load_balance_hosts",
        ),
        (
            "SHOW DATABASES",
            "name host port database force_user pool_size min_pool_size reserve_pool_size \
             server_lifetime pool_mode load_balance_hosts max_connections current_connections \
             max_client_connections current_client_connections paused disabled",
        ),
        (
            "SHOW STATS",
            "database total_server_assignment_count total_xact_count total_query_count \
             total_received total_sent total_xact_time total_query_time total_wait_time \
             total_client_parse_count total_server_parse_count total_bind_count \
             avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent \
             avg_xact_time avg_query_time avg_wait_time avg_client_parse_count \
             avg_server_parse_count avg_bind_count",
        ),
        (
            "show stats_totals;",
            "database server_assignment_count xact_count query_count bytes_received bytes_sent \
             xact_time query_time wait_time client_parse_count server_parse_count bind_count",
        ),
        (
            "SHOW STATS_AVERAGES",
            "database server_assignment_count xact_count query_count bytes_received bytes_sent \
             xact_time query_time wait_time client_parse_count server_parse_count bind_count",
        ),
        (
            "SHOW USERS",
            "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
             max_user_client_connections current_client_connections",
        ),
        ("SHOW LISTS", "list items"),
        ("SHOW STATE", "key value"),
        ("SHOW CONFIG", "key value default changeable"),
        ("SHOW VERSION", "version"),
        ("SHOW TOTALS", "name value"),
        ("SHOW HELP", "command power"),
        (
            "SHOW BUDGETS",
            "server total used dialing closing pinned pin_max waiting_tenants guaranteed turn_ms",
        ),
    ] {
        let (names, rows) = shown(world, sql);
        assert_eq!(names, columns.split_whitespace().collect::<Vec<_>>(), "{sql}");
        assert!(!rows.is_empty(), "{sql}");
        let by_database = ["database", "name"].contains(&&*names[0]) && names.len() > 8;
        if by_database && sql != "SHOW USERS" {
            assert!(rows.iter().any(|row| row[0] == database), "{sql}: {rows:?}");
        }
    }
    assert_eq!(cell(world, "SHOW POOLS", &database, "sv_active").as_deref(), Some("1"));
    session.query("commit").unwrap();
    let served = cell(world, "SHOW STATS", &database, "total_server_assignment_count").unwrap();
    assert!(served.parse::<u64>().unwrap() >= 1);
    let transactions = cell(world, "SHOW STATS", &database, "total_xact_count").unwrap();
    assert!(transactions.parse::<u64>().unwrap() >= 1);
}

#[test]
fn clients_servers_pins_and_tenants_are_shown() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let (id, database) = (&world.tenants[1].id, world.tenants[1].database());
    let mut pinned = world.session(1);
    pinned.query("create temp table t (a int)").unwrap();
    let sockets = "type user database replication state addr port local_addr local_port \
                   connect_time request_time wait wait_us close_needed ptr link remote_pid tls \
                   application_name prepared_statements id";
    for (sql, kind) in [("SHOW CLIENTS", "C"), ("SHOW SERVERS", "S")] {
        let (names, rows) = shown(world, sql);
        assert_eq!(names, sockets.split_whitespace().collect::<Vec<_>>(), "{sql}");
        let own: Vec<_> = rows.iter().filter(|row| row[2] == database).collect();
        assert!(own.iter().any(|row| row[0] == kind && row[4] == "active"), "{sql}: {rows:?}");
    }
    let (names, rows) = shown(world, "SHOW PINS");
    assert_eq!(names, ["tenant", "reason", "servers"]);
    assert!(rows.contains(&vec![id.clone(), "temp_table".into(), "1".into()]), "{rows:?}");
    for sql in ["SHOW TENANTS".into(), format!("SHOW TENANTS {database}")] {
        assert_eq!(cell(world, &sql, id, "pinned").as_deref(), Some("1"), "{sql}");
        assert_eq!(cell(world, &sql, id, "status").as_deref(), Some("active"), "{sql}");
    }
    // A tenant nobody is connected to, by its id.
    let absent = format!("SHOW TENANTS {}", world.tenants[7].id);
    assert!(cell(world, &absent, &world.tenants[7].id, "server_max").is_some());
    let (_, config) = shown(world, "SHOW CONFIG");
    let key = config.iter().find(|row| row[0] == "auth.master_key").unwrap();
    assert_eq!(key[1], "***");
}

#[test]
fn an_operator_without_the_power_only_looks() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let mut stats = operator(world, Power::Stats);
    let id = &world.tenants[0].id;
    for sql in [
        "PAUSE".to_owned(),
        "RESUME".into(),
        format!("PAUSE {id}"),
        format!("disable {id}"),
        format!("ENABLE {id}"),
        format!("KILL {id}"),
        "KILL".into(),
        "KILL_CLIENT 1".into(),
        "RECONNECT".into(),
        "RELOAD".into(),
        "SHUTDOWN".into(),
        "SHUTDOWN WAIT_FOR_CLIENTS".into(),
    ] {
        assert_eq!(code(stats.query(&sql)), "42501", "{sql}");
    }
    assert!(stats.query("SHOW POOLS").is_ok(), "the conversation goes on");
    let output = psql(world, Power::Stats, "KILL");
    assert!(!output.status.success());
    for sql in ["select 1", "show fds", "begin", "nonsense", "show pools; kill"] {
        let refusal = stats.query(sql).unwrap_err();
        assert_eq!(refusal.code, "42601", "{sql}");
        assert!(refusal.hint.contains("SHOW HELP"), "{refusal:?}");
    }
    assert_eq!(stats.query(";").unwrap(), Vec::<Vec<Option<String>>>::new());
    assert!(stats.query("SET extra_float_digits = 3").is_ok());
}

#[test]
fn tenants_and_operators_are_kept_apart() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[0];
    let into_console = Login::new("anyone", &tenant.token, "pgusher");
    assert_eq!(code(world.login(&into_console)), "28000");
    let admin = token(world, Power::Admin, None);
    for database in ["app", &*tenant.database()] {
        assert_eq!(code(world.login(&Login::new("anyone", &admin, database))), "28000");
    }
    for garbage in ["", "x", "a.b.c"] {
        assert_eq!(code(world.login(&Login::new("anyone", garbage, "pgusher"))), "28P01");
    }
    let key = Login::new(&tenant.key_user, &tenant.key_secret, "pgusher");
    assert_eq!(code(world.login(&key)), "28P01");
    let tls = world.tls.client(&[]);
    let mut inside = world.login(&Login::new("op", &admin, "pgusher").over(&tls)).unwrap();
    assert!(inside.query("SHOW VERSION").is_ok());
}

#[test]
fn an_operators_time_ends_with_the_token() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let short = token(world, Power::Admin, Some(Duration::from_secs(3)));
    let mut conn = world.login(&Login::new("op", &short, "pgusher")).unwrap();
    let refusal = eventually(SOON, "the token expires", || conn.query("SHOW STATE").err());
    assert_eq!((&*refusal.severity, &*refusal.code), ("FATAL", "57P01"));
}

#[test]
fn a_pause_waits_for_leases_and_holds_the_others_until_resume() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[2];
    let (mut busy, mut next) = (world.session(2), world.session(2));
    busy.query("begin").unwrap();
    let mut admin = operator(world, Power::Admin);
    admin.say(&query(&format!("PAUSE {}", tenant.database()))).unwrap();
    let paused = || cell(world, "SHOW DATABASES", &tenant.database(), "paused");
    eventually(SOON, "the pause is on", || (paused()? == "1").then_some(()));
    next.say(&query("select 'served'")).unwrap();
    let waiting = || cell(world, "SHOW POOLS", &tenant.database(), "cl_waiting");
    eventually(SOON, "the next one waits", || (waiting()? == "1").then_some(()));
    // The one that was there goes on to its end; only then is the pause complete.
    assert_eq!(busy.one("select 2").as_deref(), Ok("2"));
    busy.query("commit").unwrap();
    admin.rows().unwrap();
    let held = server_connections(&mut world.superuser("postgres"));
    assert!(!held.iter().any(|(name, _)| *name == tenant.database()), "{held:?}");
    assert_eq!(world.session(0).one("select 1").as_deref(), Ok("1"), "others are served");
    admin.query(&format!("RESUME {}", tenant.id)).unwrap();
    assert_eq!(next.rows().unwrap()[0][0].as_deref(), Some("served"));
    assert_eq!(paused().as_deref(), Some("0"));
    assert_eq!(code(admin.query("PAUSE nobody_of_that_name")), "3D000");
    assert_eq!(code(admin.query("PAUSE \"x'; --\"")), "3D000");
}

#[test]
fn an_operator_who_leaves_a_pause_leaves_it_behind() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[3];
    let mut busy = world.session(3);
    busy.query("begin").unwrap();
    let mut admin = operator(world, Power::Admin);
    admin.say(&query(&format!("PAUSE {}", tenant.id))).unwrap();
    let paused = || cell(world, "SHOW DATABASES", &tenant.database(), "paused");
    eventually(SOON, "the pause is on", || (paused()? == "1").then_some(()));
    drop(admin);
    assert_eq!(paused().as_deref(), Some("1"));
    operator(world, Power::Admin).query(&format!("RESUME {}", tenant.id)).unwrap();
    busy.query("commit").unwrap();
    assert_eq!(busy.one("select 1").as_deref(), Ok("1"));
}

#[test]
fn kill_cuts_sessions_with_57p01_and_the_next_wait_for_resume() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[4];
    let (mut idle, mut busy) = (world.session(4), world.session(4));
    let (mut one, mut bystander) = (world.session(4), world.session(0));
    busy.query("begin").unwrap();
    let mut admin = operator(world, Power::Admin);
    admin.query(&format!("KILL_CLIENT {}", one.pid)).unwrap();
    assert_eq!(one.verdict().expect("it is told why").code, "57P01");
    assert_eq!(code(admin.query(&format!("KILL_CLIENT {}", one.pid))), "42704");
    assert_eq!(idle.one("select 1").as_deref(), Ok("1"), "only that one");
    admin.query(&format!("KILL {}", tenant.id)).unwrap();
    for session in [&mut idle, &mut busy] {
        let verdict = session.verdict().expect("it is told why");
        assert_eq!((&*verdict.severity, &*verdict.code), ("FATAL", "57P01"));
    }
    assert_eq!(bystander.one("select 1").as_deref(), Ok("1"), "others live");
    let mut superuser = world.superuser("postgres");
    eventually(SOON, "the servers are gone", || {
        let held = server_connections(&mut superuser);
        (!held.iter().any(|(name, _)| *name == tenant.database())).then_some(())
    });
    let newcomer = std::thread::spawn(|| self::world().session(4).one("select 'back'"));
    let waiting = || cell(world, "SHOW POOLS", &tenant.database(), "cl_active");
    eventually(SOON, "the newcomer is in the room", || waiting().map(drop));
    admin.query(&format!("RESUME {}", tenant.id)).unwrap();
    assert_eq!(newcomer.join().unwrap().as_deref(), Ok("back"));
}

#[test]
fn disable_refuses_newcomers_and_keeps_those_present() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let tenant = &world.tenants[5];
    let mut present = world.session(5);
    let mut admin = operator(world, Power::Admin);
    admin.query(&format!("DISABLE {}", tenant.id)).unwrap();
    assert_eq!(code(world.login(&tenant.login())), "57P03");
    assert_eq!(present.one("select 1").as_deref(), Ok("1"));
    let disabled = cell(world, "SHOW DATABASES", &tenant.database(), "disabled");
    assert_eq!(disabled.as_deref(), Some("1"));
    admin.query(&format!("ENABLE {}", tenant.id)).unwrap();
    assert_eq!(world.session(5).one("select 1").as_deref(), Ok("1"));
}

#[test]
fn reconnect_replaces_servers_and_reload_is_heard() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let mut session = world.session(6);
    let before = session.one("select pg_backend_pid()").unwrap();
    assert_eq!(session.one("select pg_backend_pid()").as_ref(), Ok(&before));
    let mut admin = operator(world, Power::Admin);
    admin.query(&format!("RECONNECT {}", world.tenants[6].id)).unwrap();
    assert_ne!(session.one("select pg_backend_pid()").unwrap(), before);
    admin.query("RELOAD").unwrap();
    assert_eq!(session.one("select 1").as_deref(), Ok("1"));
}

#[test]
fn a_driver_reads_it_through_the_extended_protocol_in_binary() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let (host, port) = (world.listen.ip(), world.listen.port());
    let password = token(world, Power::Stats, None);
    let url = format!("host={host} port={port} user=op password={password} dbname=pgusher");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let rows = client.query("SHOW LISTS", &[]).await.unwrap();
        let pools = rows.iter().find(|row| row.get::<_, &str>(0) == "pools").unwrap();
        assert!(pools.get::<_, i32>(1) >= 0);
        let rows = client.query("SHOW STATS", &[]).await.unwrap();
        for row in &rows {
            assert!(row.get::<_, i64>("total_xact_time") >= 0);
            assert_eq!(row.get::<_, Option<i64>>("total_query_count"), None);
        }
        let error = client.query("KILL", &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501");
        let error = client.query("select 1", &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42601");
        let statement = client.prepare("SHOW VERSION").await.unwrap();
        for _ in 0..3 {
            let row = client.query_one(&statement, &[]).await.unwrap();
            assert!(row.get::<_, &str>(0).starts_with("pgusher "));
        }
        drop(client);
        driver.await.unwrap().unwrap();
    });
}

#[test]
fn what_is_too_long_or_no_protocol_ends_the_conversation_only() {
    if bare::wanted() {
        return;
    }
    let world = world();
    let long = query(&"x".repeat(70_000));
    for (bytes, code) in [
        (&long[..], "54000"),
        (b"?\0\0\0\x04", "08P01"),
        (b"Q\0\0\0\x04", "08P01"),
        (b"Q\0\0\0\x03", "08P01"),
        (b"d\0\0\0\x04", "08P01"),
    ] {
        let mut conn = operator(world, Power::Admin);
        conn.say(bytes).unwrap();
        let verdict = conn.verdict().expect("it is told why");
        assert_eq!(verdict.code, code, "{}", bytes.escape_ascii());
    }
    assert!(operator(world, Power::Stats).query("SHOW POOLS").is_ok());
    world.assert_no_panic();
}

#[test]
fn shutdown_ends_the_process_in_order() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let mut session = world.session(0);
    let mut admin = operator(&world, Power::Admin);
    let pid = world.pid();
    admin.say(&query("SHUTDOWN")).unwrap();
    assert_eq!(session.verdict().expect("it is told why").code, "57P01");
    // Its parent is the world's shell, which looks at it only at the end: gone or a zombie.
    eventually(SOON, "the process has ended", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    });
}
