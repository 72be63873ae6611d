//! A stand-in for `pgusher dev`: a plain PostgreSQL with two roles and databases, trusted.
//!
//! The tests' own test: what PostgreSQL itself fails is the test's fault.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{eventually, tools};

/// Whether the tests are to be run without pgusher.
pub fn wanted() -> bool {
    std::env::var("PGUSHER_TEST_WORLD").is_ok_and(|v| v == "postgres")
}

/// Makes a cluster in `dir`; returns the command that serves it, and its port.
pub fn prepare(dir: &Path) -> (Vec<String>, u16) {
    let data = dir.join("cluster");
    fs::create_dir_all(&data).unwrap();
    tools::run(Command::new("chown").arg("-R").arg("postgres").arg(&data));
    let mut initdb = Command::new("runuser");
    initdb.args(["-u", "postgres", "--"]).arg(tools::program("initdb")).current_dir("/");
    tools::run(initdb.args(["-A", "trust", "-U", "postgres", "-N", "-D"]).arg(&data));
    let key = data.join("server.key");
    fs::copy(dir.join("server.key"), &key).unwrap();
    tools::run(Command::new("chown").arg("postgres").arg(&key));
    tools::run(Command::new("chmod").arg("600").arg(&key));
    let port = free_port();
    let cert = dir.join("server.pem");
    let mut words: Vec<String> = ["runuser", "-u", "postgres", "--"].map(Into::into).into();
    words.push(tools::program("postgres").display().to_string());
    words.extend(["-D".into(), data.display().to_string(), "-p".into(), port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1".into(),
        "max_connections=300".into(),
        "fsync=off".into(),
        "ssl=on".into(),
        format!("ssl_cert_file={}", cert.display()),
        format!("unix_socket_directories={}", data.display()),
    ] {
        words.extend(["-c".into(), setting]);
    }
    (words, port)
}

/// Waits for it, fills it, and says about it what `dev --json` would.
pub fn furnish(port: u16, tenants: usize) -> Value {
    let psql = |sql: &str| {
        let mut command = Command::new(tools::program("psql"));
        command.args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()]);
        command.args(["-c", sql, "postgres"]).output().unwrap().status.success()
    };
    eventually(Duration::from_secs(30), "a server", || psql("select 1").then_some(()));
    assert!(psql("create database registry"));
    let tenants: Vec<Value> = (0..tenants)
        .map(|n| {
            assert!(psql(&format!("create role r{n} login")));
            assert!(psql(&format!("create database tenant_t{n} owner r{n}")));
            tenant(n)
        })
        .collect();
    let listen = format!("127.0.0.1:{port}");
    json!({
        "listen": listen, "http": listen, "ops": listen,
        "server": {"host": "127.0.0.1", "port": port, "superuser": "postgres"},
        "registry": format!("postgresql://postgres@{listen}/registry"),
        "adminUrl": "", "tenants": tenants,
    })
}

fn tenant(n: usize) -> Value {
    json!({
        "tenantId": format!("t{n}"), "email": "", "password": "", "accessToken": "",
        "apiKey": {"user": format!("r{n}"), "secret": ""}, "url": "",
    })
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}
