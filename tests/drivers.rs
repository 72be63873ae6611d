//! Every driver says the same thing through pgusher as it says to PostgreSQL itself.
//!
//! A script tours PostgreSQL and prints what it saw; the transcript of a direct connection (as
//! the same role of the same database) is the specification. Through pgusher it runs over TLS
//! with the token as the password, in transaction mode and in session mode.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

#[path = "drivers/rustls.rs"]
mod rustls_connector;
#[path = "drivers/tokio_tour.rs"]
mod tokio_tour;
mod world;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use world::{Plan, World, bare, diff, eventually, tools};

/// The ways to one tenant's database.
const MODES: [(&str, &str); 2] = [("transaction", ""), ("session", "-c pgusher.pool_mode=session")];

/// What a script is told.
type Words = HashMap<&'static str, String>;

fn words(world: &World, tenant: usize, options: &str) -> Words {
    let tenant = &world.tenants[tenant];
    let role = direct_role(world, &tenant.database(), tenant);
    let login = tenant.login();
    let psql = tools::program("psql");
    HashMap::from([
        ("T_HOST", "localhost".into()),
        ("T_PORT", world.listen.port().to_string()),
        ("T_USER", login.user),
        ("T_PASSWORD", login.password),
        ("T_DATABASE", tenant.database()),
        ("T_ROLE", role),
        ("T_CA", world.tls.ca.display().to_string()),
        ("T_OPTIONS", options.into()),
        ("T_BIN", psql.parent().unwrap().display().to_string()),
    ])
}

/// The same database as the same role, past pgusher.
fn direct(world: &World, tenant: usize) -> Words {
    let mut words = words(world, tenant, "");
    let role = words["T_ROLE"].clone();
    words.insert("T_PORT", world.server_addr().port().to_string());
    words.insert("T_USER", role);
    words.insert("T_PASSWORD", String::new());
    words.insert("T_CA", String::new());
    words
}

/// The role pgusher uses for a tenant's token, admitted directly for as long as the test lasts.
fn direct_role(world: &World, database: &str, tenant: &world::Tenant) -> String {
    static KNOWN: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(role) = known.get(database) {
        return role.clone();
    }
    let mut session = world.login(&tenant.login()).unwrap_or_else(|e| panic!("{e:?}"));
    let role = session.one("select current_user").unwrap();
    if !bare::wanted() {
        admit(world, database, &role);
    }
    known.insert(database.into(), role.clone());
    role
}

fn admit(world: &World, database: &str, role: &str) {
    let mut superuser = world.superuser("postgres");
    let path = superuser.one("show hba_file").unwrap();
    let rules = fs::read_to_string(&path).unwrap();
    let line = format!("host \"{database}\" \"{role}\" 127.0.0.1/32 trust\n");
    fs::write(&path, line + &rules).unwrap();
    superuser.query("select pg_reload_conf()").unwrap();
    let login = world::wire::Login::new(role, "", database);
    let addr = world.server_addr();
    eventually(Duration::from_secs(20), "PostgreSQL admits the role directly", || {
        world::wire::Conn::login(addr, &login).ok()
    });
}

fn run(words: &Words, program: PathBuf, script: &str) -> String {
    let mut command = Command::new("timeout");
    command.arg("180").arg(program).arg(tools::file(&format!("drivers/{script}")));
    command.envs(words).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || !text.contains("== end") && !script.ends_with("pgbench.sh") {
        let err = String::from_utf8_lossy(&output.stderr);
        let tail: Vec<_> = err.lines().rev().take(12).collect();
        text += &format!("ENDED with {}\n", output.status);
        tail.iter().rev().for_each(|line| text += &format!("    {line}\n"));
    }
    text
}

/// All tours run at once, each with sessions of its own, direct ones too: the database's
/// CONNECTION LIMIT is the cap.
fn wide() -> &'static World {
    static WIDE: std::sync::OnceLock<World> = std::sync::OnceLock::new();
    WIDE.get_or_init(|| World::start(world::Plan::default().set(world::keys::SERVER_MAX, "60")))
}

/// The tour, direct and in both modes.
fn tour(program: impl Fn() -> PathBuf, script: &str) {
    tour_in(wide(), program, script);
}

fn tour_in(world: &World, program: impl Fn() -> PathBuf, script: &str) {
    let specification = run(&direct(world, 0), program(), script);
    assert!(!specification.contains("ENDED with"), "direct:\n{specification}");
    assert!(specification.lines().count() > 15, "a tour that saw nothing:\n{specification}");
    let mut wrong = String::new();
    for (mode, options) in MODES {
        let options = if bare::wanted() { "" } else { options };
        let through = run(&words(world, 0, options), program(), script);
        if let Some(difference) = diff::lines(&specification, &through) {
            wrong += &format!("{script} in {mode} mode: {difference}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    world.assert_no_panic();
}

#[test]
fn psycopg_sees_what_it_sees_directly() {
    tour(tools::python, "psycopg_sync.py");
}

#[test]
fn psycopg_async_and_its_pool_see_what_they_see_directly() {
    tour(tools::python, "psycopg_async.py");
}

#[test]
fn asyncpg_sees_what_it_sees_directly() {
    tour(tools::python, "asyncpg_tour.py");
}

#[test]
fn sqlalchemy_sees_what_it_sees_directly() {
    tour(tools::python, "sqlalchemy_tour.py");
}

#[test]
fn django_sees_what_it_sees_directly() {
    tour(tools::python, "django_tour.py");
}

#[test]
fn psycopg2_sees_what_it_sees_directly() {
    tour(tools::python, "psycopg2_tour.py");
}

#[test]
fn pg8000_sees_what_it_sees_directly() {
    tour(tools::python, "pg8000_tour.py");
}

#[test]
fn node_pg_sees_what_it_sees_directly() {
    tour(tools::node, "node_pg.js");
}

#[test]
fn postgres_js_sees_what_it_sees_directly() {
    tour(tools::node, "postgres_js.js");
}

#[test]
fn psql_sees_what_it_sees_directly() {
    tour(|| tools::program("sh"), "psql.sh");
}

#[test]
fn pgbench_sees_what_it_sees_directly() {
    tour(|| tools::program("sh"), "pgbench.sh");
}

#[test]
fn tokio_postgres_sees_what_it_sees_directly() {
    tokio_tour_in(wide());
}

fn tokio_tour_in(world: &World) {
    let tls = world.tls.client(&[]);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let tour = |words: &Words, tls| {
        let text = runtime.block_on(tokio_tour::run(&tokio_tour::config(words), tls));
        text.replace(&words["T_DATABASE"], "<name>").replace(&words["T_ROLE"], "<name>")
    };
    let specification = tour(&direct(world, 0), None);
    for (mode, options) in MODES {
        let options = if bare::wanted() { "" } else { options };
        let through = tour(&words(world, 0, options), Some(tls.clone()));
        let difference = diff::lines(&specification, &through);
        assert!(difference.is_none(), "tokio-postgres in {mode} mode: {}", difference.unwrap());
    }
    world.assert_no_panic();
}

#[test]
fn on_postgresql_18_it_is_the_same() {
    if bare::wanted() {
        return;
    }
    let plan = Plan { pg_bin: Some(tools::postgres_18()), ..Plan::default() };
    let world = World::start(plan.set(world::keys::SERVER_MAX, "60"));
    let version = world.superuser("postgres").one("show server_version").unwrap();
    assert!(version.starts_with("18"), "{version}");
    let python = [
        "psycopg_sync.py",
        "psycopg_async.py",
        "asyncpg_tour.py",
        "sqlalchemy_tour.py",
        "django_tour.py",
        "psycopg2_tour.py",
        "pg8000_tour.py",
    ];
    std::thread::scope(|scope| {
        scope.spawn(|| python.map(|script| tour_in(&world, tools::python, script)));
        scope.spawn(|| {
            for script in ["node_pg.js", "postgres_js.js"] {
                tour_in(&world, tools::node, script);
            }
            for script in ["psql.sh", "pgbench.sh"] {
                tour_in(&world, || tools::program("sh"), script);
            }
            tokio_tour_in(&world);
        });
    });
}
