//! PostgreSQL as a child process: made, started, stopped, kept for the next start.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio_postgres::NoTls;

use super::place::Place;
use super::{Account, Binaries, ClusterError, leftover};

/// The superuser of every dev cluster.
const SUPERUSER: &str = "postgres";

/// The longest a start may take: crash recovery included, `initdb` not.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// How often a start is tried again when the reason is one that passes.
const TRIES: u32 = 20;

/// A start begins a new log when the old one is longer.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Settings of every dev cluster, each with a reason in `docs/OPERATING.md`.
const SETTINGS: [&str; 8] = [
    "listen_addresses=127.0.0.1",
    "max_connections=200",
    "password_encryption=scram-sha-256",
    "autovacuum_naptime=5min",
    "max_wal_size=4GB",
    "logging_collector=off",
    "log_destination=stderr",
    "cluster_name=pgusher_dev",
];

/// Settings that depend on how PostgreSQL was built; used where it knows them.
const SETTINGS_IF_KNOWN: [(&str, &str); 2] =
    [("recovery_init_sync_method", "syncfs"), ("wal_compression", "lz4")];

/// Trust for the superuser on this machine, SCRAM for everybody else, nobody from outside.
const HBA: &str = "\
# Written by pgusher dev at every start.
local all postgres              trust
host  all postgres 127.0.0.1/32 trust
local all all                   scram-sha-256
host  all all      127.0.0.1/32 scram-sha-256
";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// The directory for everything the cluster keeps.
    pub data: PathBuf,
    /// The directory of PostgreSQL's programs; searched for when `None`.
    pub binaries: Option<PathBuf>,
    /// The port; that of the last start, else a free one, when `None`.
    pub port: Option<u16>,
    /// Whether nothing waits for the disk. What was committed outlives every process's death, but
    /// not the machine's.
    pub no_sync: bool,
}

/// A running cluster. Dropping it asks PostgreSQL to stop; [`Cluster::stop`] also waits.
#[derive(Debug)]
pub struct Cluster {
    account: Account,
    binaries: Binaries,
    place: Place,
    port: u16,
    moved_from: Option<u16>,
    child: Option<Child>,
    /// Held while the cluster is ours; released by the kernel however this process ends.
    _lock: File,
}

impl Cluster {
    /// Starts the cluster of `spec.data`, making it first when it is not there.
    ///
    /// # Errors
    /// [`ClusterError`], whose text says what to do.
    pub async fn start(spec: &ClusterSpec) -> Result<Self, ClusterError> {
        let account = Account::choose().await?;
        let place = Place::prepare(&spec.data, &account).await?;
        let lock = lock(&place.home)?;
        let pgdata = place.pgdata();
        let made_by = place.made_by().map(|major| (major, pgdata.as_path()));
        let binaries = Binaries::find(&account, spec.binaries.as_deref(), made_by).await?;
        leftover::clear(&account, &binaries, &pgdata).await?;
        if made_by.is_none() {
            initialise(&account, &binaries, &place, spec.no_sync).await?;
        }
        fs::write(place.hba(), HBA).map_err(ClusterError::io("cannot write pg_hba.conf"))?;
        let last_port = last_port(&place);
        let mut settings = settings(&account, &binaries, &place).await;
        if spec.no_sync {
            settings.push("fsync=off".to_owned());
        }
        let mut cluster =
            Self { account, binaries, place, port: 0, moved_from: None, child: None, _lock: lock };
        cluster.bring_up(spec.port, last_port, &settings).await?;
        cluster.moved_from = last_port.filter(|last| *last != cluster.port);
        fs::write(cluster.place.port_file(), cluster.port.to_string())
            .map_err(ClusterError::io("cannot write the port file"))?;
        Ok(cluster)
    }

    /// Where it listens.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of the last start, when this one is another: rows that name it need mending.
    pub fn moved_from(&self) -> Option<u16> {
        self.moved_from
    }

    /// The role that needs no password here.
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The directory of its unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.place.sockets
    }

    /// The `--data` directory, absolute.
    pub fn home(&self) -> &Path {
        &self.place.home
    }

    /// The major version of PostgreSQL.
    pub fn major(&self) -> u32 {
        self.binaries.major()
    }

    /// A connection string for the superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{SUPERUSER}@{}:{}/{database}", self.host(), self.port)
    }

    /// Waits until PostgreSQL ends by itself, which it should not.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn exited(&mut self) -> std::io::Result<ExitStatus> {
        match &mut self.child {
            Some(child) => child.wait().await,
            None => std::future::pending().await,
        }
    }

    /// Stops PostgreSQL: fast, then at once, and at last by force.
    ///
    /// # Errors
    /// When it cannot even be killed.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        self.halt().await
    }

    async fn halt(&mut self) -> Result<(), ClusterError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pgdata = self.place.pgdata();
        if let Ok(Some(_)) = child.try_wait() {
            return Ok(());
        }
        if leftover::stop(&self.account, &self.binaries, &pgdata).await.is_err() {
            child.start_kill().map_err(ClusterError::io("cannot kill postgresql"))?;
        }
        child.wait().await.map_err(ClusterError::io("cannot wait for postgresql"))?;
        Ok(())
    }

    async fn bring_up(
        &mut self,
        asked: Option<u16>,
        last: Option<u16>,
        settings: &[String],
    ) -> Result<(), ClusterError> {
        let mut preferred = last;
        let mut tries = TRIES;
        loop {
            self.port = match asked {
                Some(port) => port,
                None => free_port(preferred.take())?,
            };
            let log_start = self.launch(settings)?;
            let Err(said) = self.until_up(log_start).await else { return Ok(()) };
            self.halt().await?;
            tries -= 1;
            // The workers of a killed server need a moment to notice and leave the shared memory.
            let passes = said.contains("shared memory block")
                || (asked.is_none() && said.contains("Address already in use"));
            if tries == 0 || !passes {
                return Err(ClusterError::NotUp { said, log: self.place.log() });
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Spawns the postmaster; the length of its log until now.
    fn launch(&mut self, settings: &[String]) -> Result<u64, ClusterError> {
        let path = self.place.log();
        if fs::metadata(&path).is_ok_and(|m| m.len() > LOG_BYTES_MAX) {
            drop(fs::remove_file(&path));
        }
        let log = OpenOptions::new().create(true).append(true).open(path);
        let log = log.map_err(ClusterError::io("cannot open postgresql's log"))?;
        let start = log.metadata().map_or(0, |m| m.len());
        let errors = log.try_clone().map_err(ClusterError::io("cannot open postgresql's log"))?;
        let mut command = self.account.command(&self.binaries.program("postgres"));
        command.arg("-D").arg(self.place.pgdata()).arg("-p").arg(self.port.to_string());
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::from(log)).stderr(Stdio::from(errors));
        let child = command.spawn().map_err(ClusterError::io("cannot run postgres"))?;
        self.child = Some(child);
        Ok(start)
    }

    /// Waits until our own cluster answers; otherwise what its log says.
    async fn until_up(&mut self, log_start: u64) -> Result<(), String> {
        let deadline = Instant::now() + UP_WITHIN;
        let Some(child) = &mut self.child else { return Err("not started".to_owned()) };
        let mut last = String::new();
        while Instant::now() < deadline {
            if let Ok(Some(status)) = child.try_wait() {
                let tail = log_tail(&self.place.log(), log_start);
                return Err(format!("it ended with {status}: {tail}"));
            }
            match answers(self.port, &self.place.pgdata()).await {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("no answer within {} s: {last}", UP_WITHIN.as_secs()))
    }
}

impl Drop for Cluster {
    /// The way out of a panic or an early return: asks for a fast stop without waiting for it.
    /// Whatever still runs is stopped by the next start.
    fn drop(&mut self) {
        if self.child.is_none() {
            return;
        }
        let mut command = self.account.command(&self.binaries.program("pg_ctl"));
        command.args(["stop", "--no-wait", "--silent", "--mode", "fast", "--pgdata"]);
        command.arg(self.place.pgdata()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Err(error) = command.as_std_mut().status() {
            tracing::warn!(%error, "postgresql could not be asked to stop");
        }
    }
}

/// One owner per directory. The lock is the kernel's, so that it ends with the process.
fn lock(home: &Path) -> Result<File, ClusterError> {
    let path = home.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(ClusterError::io(format!("cannot open {}", path.display())))?;
    file.try_lock().map_err(|_| ClusterError::InUse(home.to_path_buf()))?;
    Ok(file)
}

/// Runs `initdb` into a directory beside the final one: what a crash leaves half made is never
/// taken for a cluster.
async fn initialise(
    account: &Account,
    binaries: &Binaries,
    place: &Place,
    no_sync: bool,
) -> Result<(), ClusterError> {
    let (made, unfinished) = (place.pgdata(), place.base.join("postgres.new"));
    let mut said = String::new();
    // C.UTF-8 sorts by code point and folds case; where it is unknown, C must do.
    for locale in ["C.UTF-8", "C"] {
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(ClusterError::io("rm postgres.new"))?;
        }
        fs::create_dir(&unfinished).map_err(ClusterError::io("mkdir postgres.new"))?;
        account.give(&unfinished).map_err(ClusterError::io("chown postgres.new"))?;
        let mut command = account.command(&binaries.program("initdb"));
        command.arg("-D").arg(&unfinished).args(["-U", SUPERUSER, "-E", "UTF8"]);
        command.args(["--auth=trust", "--no-instructions", "--locale", locale]);
        command.args(no_sync.then_some("--no-sync"));
        let output = command.output().await.map_err(ClusterError::io("cannot run initdb"))?;
        if output.status.success() {
            return fs::rename(&unfinished, &made)
                .map_err(ClusterError::io(format!("cannot make {}", made.display())));
        }
        String::from_utf8_lossy(&output.stderr).trim().clone_into(&mut said);
    }
    Err(ClusterError::Program { program: "initdb".to_owned(), said })
}

/// The `-c` settings. On the command line rather than in a file: root writes nothing into a
/// directory of another account.
async fn settings(account: &Account, binaries: &Binaries, place: &Place) -> Vec<String> {
    let mut settings: Vec<String> = SETTINGS.iter().map(|s| (*s).to_owned()).collect();
    settings.push(format!("hba_file={}", place.hba().display()));
    settings.push(format!("unix_socket_directories={}", place.sockets.display()));
    for (name, value) in SETTINGS_IF_KNOWN {
        let setting = format!("{name}={value}");
        let mut command = account.command(&binaries.program("postgres"));
        command.arg("-D").arg(place.pgdata()).args(["-C", name, "-c", &setting]);
        if command.output().await.is_ok_and(|o| o.status.success()) {
            settings.push(setting);
        }
    }
    settings
}

fn last_port(place: &Place) -> Option<u16> {
    fs::read_to_string(place.port_file()).ok()?.trim().parse().ok()
}

/// `preferred` when it is free, else any.
fn free_port(preferred: Option<u16>) -> Result<u16, ClusterError> {
    let loopback = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match preferred.map(loopback) {
        Some(Ok(listener)) => Ok(listener),
        _ => loopback(0),
    };
    listener
        .and_then(|l| l.local_addr())
        .map(|addr| addr.port())
        .map_err(ClusterError::io("no free port"))
}

/// Whether what listens on `port` is the cluster of `pgdata` and takes queries.
async fn answers(port: u16, pgdata: &Path) -> Result<(), String> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(SUPERUSER).dbname("postgres");
    config.connect_timeout(Duration::from_secs(2));
    let (client, connection) = config.connect(NoTls).await.map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let row = client.query_one("SHOW data_directory", &[]).await;
    drop(client);
    drop(driver.await);
    let found: String = row.and_then(|r| r.try_get(0)).map_err(|e| e.to_string())?;
    if Path::new(&found) == pgdata {
        Ok(())
    } else {
        Err(format!("port {port} belongs to the cluster in {found}"))
    }
}

/// The last lines PostgreSQL wrote since the log was `start` long.
fn log_tail(log: &Path, start: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let fresh = text.get(usize::try_from(start).unwrap_or(0)..).unwrap_or_default();
    let fresh = String::from_utf8_lossy(fresh);
    let lines: Vec<&str> = fresh.trim().lines().collect();
    lines.get(lines.len().saturating_sub(4)..).unwrap_or_default().join(" | ")
}
