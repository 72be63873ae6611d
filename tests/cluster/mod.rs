//! A PostgreSQL cluster of the test's own: made, started and stopped by it, on loopback only.
//!
//! `PGUSHER_TEST_PG_BIN` names another version's `bin` folder.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    missing_docs,
    reason = "each test uses a part"
)]

pub mod office;

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgusher::tenant::DatabaseUrl;
use tokio_postgres::{Client, Error, NoTls};

/// A running cluster. The superuser `postgres` is trusted; everybody else needs their password.
pub struct Cluster {
    folder: tempfile::TempDir,
    bin: PathBuf,
    settings: String,
    pub port: u16,
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

fn find_bin() -> PathBuf {
    if let Ok(bin) = std::env::var("PGUSHER_TEST_PG_BIN") {
        return bin.into();
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut bins: Vec<_> = installed.map(|entry| entry.path().join("bin")).collect();
    bins.retain(|bin| bin.join("initdb").exists());
    bins.sort();
    bins.pop().expect("PostgreSQL is installed")
}

/// One below those that the system gives to who connects: while a cluster is down for a moment, nobody
/// else must come to have its port.
fn free_port() -> u16 {
    let any = || 20_000 + u16::try_from(RandomState::new().hash_one(0) % 10_000).unwrap();
    let mut ports = std::iter::repeat_with(any);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

impl Cluster {
    pub fn start() -> Self {
        Self::start_with("-c max_connections=200")
    }

    /// With these settings on its command line.
    pub fn start_with(settings: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("pgusher-test-").tempdir().unwrap();
        let bin = find_bin();
        if is_root() {
            let chown = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(chown.unwrap().success());
        }
        let mut cluster = Self { folder, bin, settings: settings.into(), port: 0 };
        let data = cluster.data();
        cluster.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"]);
        let hba = "local all postgres trust\nhost all postgres all trust\n\
                   host all all all scram-sha-256\nlocal all all scram-sha-256\n";
        std::fs::write(Path::new(&data).join("pg_hba.conf"), hba).unwrap();
        // A port that was free may be another's before PostgreSQL has it.
        let is_up = (0..5).any(|_| {
            cluster.port = free_port();
            cluster.try_up()
        });
        assert!(is_up, "five ports were taken");
        cluster
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, args: &[&str]) {
        assert!(self.try_run(program, args), "{args:?}");
    }

    fn try_run(&self, program: &str, args: &[&str]) -> bool {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(args).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// On the port it had.
    pub fn up(&self) {
        let begun = Instant::now();
        while !self.try_up() {
            assert!(begun.elapsed() < Duration::from_secs(20), "port {} stays taken", self.port);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether it came up; if not, its port was taken.
    fn try_up(&self) -> bool {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off {}",
            self.port,
            self.folder.path().display(),
            self.settings
        );
        let log = self.folder.path().join("log").display().to_string();
        let _ = std::fs::remove_file(&log);
        let start = ["-D", &self.data(), "-l", &log, "-w", "-o", &options, "start"];
        let is_up = self.try_run("pg_ctl", &start);
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(is_up || said().contains("Address already in use"), "{start:?}: {}", said());
        is_up
    }

    pub fn down(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", "immediate", "stop"]);
    }

    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn superuser(&self, database: &str) -> String {
        self.url("postgres", "", database)
    }

    pub async fn connect(&self, database: &str) -> Client {
        let url = DatabaseUrl::parse(&self.superuser(database)).unwrap();
        pgusher::tenant::connect(&url, Duration::from_secs(10)).await.unwrap()
    }

    /// Connects as anyone; the error is the test's to judge.
    pub async fn try_connect(&self, user: &str, password: &str, db: &str) -> Result<Client, Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname(db);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(Path::new(&self.data()).join("postmaster.pid"));
        if pid.is_ok() {
            self.down();
        }
    }
}

/// Waits until `what` holds; for things another process does.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
