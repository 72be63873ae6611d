//! The admin console: its words and columns are PgBouncer's, and everyone's power is held.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::sync::OnceLock;
use std::time::Duration;

use pgusher::auth::Power;
use world::operator::{cell, operator, psql, shown, token};
use world::wire::{Login, query};
use world::{Plan, World, bare, code, eventually};

/// How long a promise may take to come true.
const SOON: Duration = Duration::from_secs(20);

/// One more tenant than is connected to.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::start(Plan::tenants(3)))
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
             maxwait maxwait_us pool_mode load_balance_hosts wait_limit",
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
            "server total of_all used dialing closing pinned pin_max waiting_tenants guaranteed \
             turn_ms",
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
    for (sql, kind, own) in
        [("SHOW CLIENTS", "C", &["wait_limit", "wait_position"][..]), ("SHOW SERVERS", "S", &[])]
    {
        let (names, _) = shown(world, sql);
        let columns: Vec<_> = sockets.split_whitespace().chain(own.iter().copied()).collect();
        assert_eq!(names, columns, "{sql}");
        // The client has its answer before its server is looked at and pinned.
        eventually(SOON, sql, || {
            let (_, rows) = shown(world, sql);
            let own = |row: &&Vec<String>| row[2] == database && row[0] == kind;
            rows.iter().filter(own).any(|row| row[4] == "active").then_some(())
        });
    }
    let pin = vec![id.clone(), "temp_table".into(), "1".into()];
    let (names, _) = shown(world, "SHOW PINS");
    assert_eq!(names, ["tenant", "reason", "servers"]);
    let pinned_once = || shown(world, "SHOW PINS").1.contains(&pin).then_some(());
    eventually(SOON, "SHOW PINS", pinned_once);
    for sql in ["SHOW TENANTS".into(), format!("SHOW TENANTS {database}")] {
        assert_eq!(cell(world, &sql, id, "pinned").as_deref(), Some("1"), "{sql}");
        assert_eq!(cell(world, &sql, id, "status").as_deref(), Some("active"), "{sql}");
    }
    // A tenant nobody is connected to, by its id.
    let absent = format!("SHOW TENANTS {}", world.tenants[2].id);
    assert!(cell(world, &absent, &world.tenants[2].id, "server_max").is_some());
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
fn every_wait_is_explained() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default().set("limits.server_max", "2"));
    let (id, database) = (&world.tenants[0].id, world.tenants[0].database());
    let mut holders: Vec<_> = (0..2).map(|_| world.session(0)).collect();
    for holder in &mut holders {
        holder.query("begin").unwrap();
    }
    let mut waiters: Vec<_> = (0..3).map(|_| world.session(0)).collect();
    for waiter in &mut waiters {
        waiter.say(&query("select 1")).unwrap();
    }
    let of = |sql: &str, column: &str| cell(&world, sql, id, column);
    eventually(SOON, "three wait", || {
        (of("SHOW WAITS", "waiting").as_deref() == Some("3")).then_some(())
    });
    for (column, value) in
        [("limit", "server_max"), ("used", "2"), ("of", "2"), ("tenant_used", "2")]
    {
        assert_eq!(of("SHOW WAITS", column).as_deref(), Some(value), "{column}");
    }
    assert_eq!(cell(&world, "SHOW POOLS", &database, "wait_limit").as_deref(), Some("server_max"));
    let (names, rows) = shown(&world, "SHOW CLIENTS");
    let at = |name: &str| names.iter().position(|n| n == name).unwrap();
    let mut places: Vec<_> = rows
        .iter()
        .filter(|row| row[at("state")] == "waiting")
        .map(|row| (row[at("wait_position")].clone(), row[at("wait_limit")].clone()))
        .collect();
    places.sort();
    let expected = ["1", "2", "3"].map(|n| (n.to_owned(), "server_max".to_owned()));
    assert_eq!(places, expected);
    let metrics = world.metrics();
    let gauge = "pgusher_pool_waiting_clients_by_limit{limit=\"server_max\"} 3";
    assert!(metrics.contains(gauge), "{metrics}");
    let longest = world.figure("pgusher_pool_oldest_wait_seconds");
    assert!(longest > 0.0 && longest < 30.0, "{longest} seconds");
    for holder in &mut holders {
        holder.query("commit").unwrap();
    }
    for waiter in &mut waiters {
        assert!(waiter.rows().is_ok());
    }
    let (_, rows) = shown(&world, "SHOW WAITS");
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test]
async fn the_url_that_dev_hands_out_opens_it() {
    if bare::wanted() {
        return;
    }
    let (client, connection) =
        tokio_postgres::connect(&world().admin_url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let told = client.simple_query("SHOW VERSION").await.unwrap();
    let version = told.iter().find_map(|said| match said {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    assert!(version.is_some_and(|text| text.contains(env!("CARGO_PKG_VERSION"))), "{version:?}");
    // As an admin, who may act and not only look.
    client.simple_query("RELOAD").await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}
