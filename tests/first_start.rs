//! The manual's first start, step by step, on a PostgreSQL that has never seen pgusher, with a
//! provisioner that is no superuser; and `pgusher serve`, stopped as an operator stops it.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod cluster;
mod world;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use cluster::Cluster;
use world::tools::pgusher as run;
use world::wire::{Conn, Login};
use world::{code, tools};

/// A child that is ended whatever happens.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Served {
    /// `pgusher serve`, and the address it listens on.
    fn start(file: &str) -> (Self, SocketAddr) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
        command.args(["serve", "--config", file, "--set", "log.format=json"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = std::io::BufReader::new(child.stderr.take().unwrap());
        let served = Self(child);
        let mut seen = String::new();
        let mut lines = std::io::BufRead::lines(log).map_while(Result::ok);
        let ready = lines.find(|line| {
            seen += &format!("{line}\n");
            line.contains("\"ready\"")
        });
        let ready = ready.unwrap_or_else(|| panic!("not ready:\n{seen}"));
        let at = ready.find("127.0.0.1:").unwrap_or_else(|| panic!("no address: {ready}"));
        let end = ready[at..].find(']').unwrap() + at;
        // Somebody has to read what else it says.
        std::thread::spawn(move || lines.for_each(drop));
        (served, ready[at..end].parse().unwrap())
    }

    /// As an operator stops it.
    fn stop(mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        tools::run(Command::new("kill").args(["-TERM", &pid]));
        self.0.wait().unwrap().code()
    }
}

#[test]
fn the_first_start_of_the_manual_works() {
    let cluster = Cluster::start();
    let server = SocketAddr::from(([127, 0, 0, 1], cluster.port));
    let root = Login::new("postgres", "", "postgres");
    let mut superuser = Conn::login(server, &root).unwrap_or_else(|e| panic!("{e:?}"));
    // docs/OPERATING.md, "The first start".
    for sql in [
        "create role pgusher login createdb createrole password 'pw'",
        "grant connect on database postgres to pgusher",
        "revoke connect, temporary on database postgres, template1 from public",
        "create database own_registry owner pgusher",
        "revoke connect, temporary on database own_registry from public",
    ] {
        superuser.query(sql).unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let tls = world::tls::Certificates::make(dir);
    let put = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).unwrap();
        dir.join(name).display().to_string()
    };
    let registry = put("registry.url", &format!("postgresql://pgusher:pw@{server}/own_registry\n"));
    let admin = put("db1.url", &format!("postgresql://pgusher:pw@{server}/postgres\n"));
    let master = put("master.key", "0123456789abcdef0123456789abcdef0123456789ab\n");
    let signing = dir.join("signing.pem").display().to_string();
    tools::run(Command::new("openssl").args([
        "genpkey",
        "-algorithm",
        "ed25519",
        "-out",
        &signing,
    ]));
    let (cert, key) = (tls.cert.display(), tls.key.display());
    let file = put(
        "pgusher.toml",
        &format!(
            "[registry]\nurl_file = '{registry}'\n[auth]\nmaster_key_file = '{master}'\n\
             [[auth.signer.keys]]\nalgorithm = 'EdDSA'\nfile = '{signing}'\n\
             [tls]\ncertificate = '{cert}'\nkey = '{key}'\n\
             [servers.db1]\nadmin_url_file = '{admin}'\nbudget = 80\n\
             [listen]\naddresses = ['127.0.0.1:0']\n\
             [http]\naddress = '127.0.0.1:0'\n[ops]\naddress = '127.0.0.1:0'\n"
        ),
    );
    let (exit, bad) = run(&["check", "--config", &file]);
    assert_eq!(exit, 1, "nothing is migrated yet: {bad}");
    assert_eq!(bad["problems"].as_array().unwrap().len(), 1, "{bad}");
    assert_eq!(run(&["migrate", "registry", "--config", &file]).0, 0);
    let (exit, good) = run(&["check", "--config", &file]);
    assert_eq!(exit, 0, "{good}");
    assert_eq!(good["servers"]["db1"]["superuser"], false);

    let (served, listen) = Served::start(&file);
    let create = ["tenant", "create", "--name", "N", "--email", "a@example.org", "--first-name"];
    let (exit, made) = run(&[&create[..], &["A", "--last-name", "B", "--config", &file]].concat());
    assert_eq!(exit, 0, "{made}");
    let token = made["accessToken"].as_str().unwrap();
    let login = Login::new("x", token, made["databaseName"].as_str().unwrap());
    let mut session = Conn::login(listen, &login).unwrap_or_else(|e| panic!("{e:?}"));
    let sql = "select current_database()";
    assert_eq!(session.one(sql).as_deref(), Ok(made["databaseName"].as_str().unwrap()));
    drop(session);
    let other = Login::new("x", token, "tenant_nobody");
    assert_eq!(code(Conn::login(listen, &other)), "28000");
    assert_eq!(served.stop(), Some(0));
}
