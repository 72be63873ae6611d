//! `pgusher dev` from its flags to its line: who decides what, and every way in that it tells of.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use world::keeper::{Keeper, first_json_line};
use world::{http, tools};

/// How long a cluster and its samples may take.
const READY: Duration = Duration::from_secs(120);

/// A directory that whoever runs PostgreSQL can enter.
fn place() -> TempDir {
    let dir = tempfile::Builder::new().prefix("pgusher-dev-").tempdir().unwrap();
    tools::run(Command::new("chmod").arg("755").arg(dir.path()));
    dir
}

/// `pgusher dev` with its data in `data`; its log lies in `dir`.
fn dev(dir: &Path, data: &Path, arguments: &[&str]) -> Command {
    let mut command = Keeper::command(dir);
    command.arg(env!("CARGO_BIN_EXE_pgusher")).args(["dev", "--tenants", "1", "--data"]).arg(data);
    command.args(["--set", "warm.target=0"]).args(arguments);
    command
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn log(dir: &TempDir) -> String {
    std::fs::read_to_string(dir.path().join("log")).unwrap_or_default()
}

#[test]
fn what_is_set_or_flagged_stands_over_devs_own_defaults() {
    let dir = place();
    let (listen, http, flagged) = (free(), free(), free());
    let file = dir.path().join("pgusher.toml");
    let of_a_serve = "[registry]\nurl = 'postgresql://nobody@127.0.0.1:1/none'\n[ops]\n\
                      address = '127.0.0.1:1'\n[auth.throttle]\nenabled = true\n";
    std::fs::write(&file, of_a_serve).unwrap();
    let (set_listen, set_http) =
        (format!("listen.addresses=[\"{listen}\"]"), format!("http.address={http}"));
    let set = ["--set", &*set_listen, "--set", &*set_http, "--set", "ops.address=127.0.0.1:1"];
    let rate = ["--set", "http.rate.enabled=true", "--set", "http.rate.login_per_minute=3"];
    let flags = ["--ops", &*flagged.to_string(), "--config", file.to_str().unwrap(), "--json"];
    let all = [&set[..], &rate, &flags].concat();
    let (_kept, out) = Keeper::start(&mut dev(dir.path(), &dir.path().join("data"), &all));
    let line = first_json_line(out, READY).unwrap_or_else(|why| panic!("{why}\n{}", log(&dir)));
    for (key, at) in [("listen", listen), ("http", http), ("ops", flagged)] {
        assert_eq!(line[key], at.to_string(), "{line}");
    }
    let mut keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let fixed = ["adminUrl", "http", "listen", "ops", "registry", "server", "tenants"];
    assert_eq!(keys, fixed, "the line is what programs read");
    let login = r#"{"email":"a@example.org","password":"wrong"}"#;
    let tried = || http::call(http, "POST", "/api/auth/login", &[], login).status;
    let statuses: Vec<_> = (0..5).map(|_| tried()).collect();
    assert!(statuses.contains(&429), "the rate that was set is in force: {statuses:?}");
    // What a file says of a `serve` is not followed, and not passed over in silence.
    for key in ["registry.url", "auth.throttle.enabled"] {
        let told =
            log(&dir).lines().any(|line| line.contains(key) && line.contains("pgusher.toml"));
        assert!(told, "nothing about {key}:\n{}", log(&dir));
    }
}

#[test]
fn what_dev_has_to_decide_itself_is_refused_all_at_once() {
    let dir = place();
    // A wrong value of another kind stands beside each.
    let table: &[&str] = &["servers.dev={host=\"h\",budget=9}", "log.level=a=b=c"];
    let keys: &[&str] = &[
        "registry.url=postgresql://h/r",
        "servers.dev.admin_url=postgresql://h/d",
        "servers.dev.port=5432",
        "servers.dev.budget=9",
        "log.level=a=b=c",
    ];
    let named = ["registry.url", "servers.dev.admin_url", "servers.dev.port", "log.level"];
    for (set, named) in [(table, &["servers.dev.host", "log.level"][..]), (keys, &named)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
        command.arg("dev").arg("--data").arg(dir.path().join("data")).env_remove("PGUSHER_CONFIG");
        let output = command.args(set.iter().flat_map(|set| ["--set", set])).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        for key in named {
            assert!(err.contains(&format!("--set: {key}: ")), "{key}: {err}");
        }
        assert_eq!(err.lines().count(), named.len(), "{err}");
        assert!(err.contains("--pg-port"), "{err}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was begun");
}

#[test]
fn the_unix_socket_in_its_directory_takes_a_token() {
    let dir = place();
    let any = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ops", "127.0.0.1:0"];
    let (_kept, out) = Keeper::start(&mut dev(dir.path(), &dir.path().join("data"), &any));
    let lines = BufReader::new(out).lines().map_while(Result::ok);
    let told: Vec<_> = lines.take_while(|line| !line.starts_with("Ctrl-C")).collect();
    let one = |start: &str, end: &str| {
        let found = told.iter().find_map(|line| line.split_once(start)?.1.split_once(end));
        found.unwrap_or_else(|| panic!("no {start}: {told:#?}\n{}", log(&dir))).0.to_owned()
    };
    let host = one("socket    psql -h '", "'");
    let port = one(&format!("socket    psql -h '{host}' -p "), " ");
    let token = one("postgresql://app:", "@");
    let mut psql = Command::new(tools::program("psql"));
    psql.args(["-XAtw", "-h", &host, "-p", &port, "-U", "app", "-c", "select current_database()"]);
    let database = tools::run(psql.arg("app").env("PGPASSWORD", token));
    assert!(database.starts_with("tenant_"), "{database}");
    assert_eq!(Path::new(&host), dir.path().join("data").canonicalize().unwrap());
}

#[test]
fn where_a_sockets_path_would_be_too_long_it_goes_without() {
    let dir = place();
    let data = dir.path().join("a".repeat(100));
    let any = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ops", "127.0.0.1:0"];
    let (_kept, out) =
        Keeper::start(&mut dev(dir.path(), &data, &[&any[..], &["--json"]].concat()));
    let line = first_json_line(out, READY).unwrap_or_else(|why| panic!("{why}\n{}", log(&dir)));
    assert!(line["listen"].is_string(), "{line}");
    assert!(log(&dir).contains("its path would be too long"), "{}", log(&dir));
}
