//! The world of the tests: a real PostgreSQL, a real pgusher, real tenants.
//!
//! Everything is started by `pgusher dev --json`, the one seam the tests know. A world belongs to
//! a shell that waits on our end of a pipe: whatever way the test process ends, the world ends
//! with it. With `PGUSHER_TEST_WORLD=postgres` the same tests talk to a plain PostgreSQL instead,
//! which tells a wrong test from a wrong proxy.
//!
//! Every test binary uses a part of this only.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::format_push_string)]

pub mod bare;
pub mod diff;
pub mod figures;
pub mod http;
pub mod keeper;
pub mod keys;
pub mod operator;
mod packet;
pub mod pipeline;
pub mod postmaster;
pub mod served;
pub mod stripe;
pub mod telnyx;
pub mod tls;
pub mod tools;
pub mod wire;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use keeper::Keeper;
use serde_json::Value;
use wire::{Conn, Login, Refusal};

/// How long `pgusher dev` may take to be ready: initdb, cluster, registry; and each tenant more.
const READY: Duration = Duration::from_secs(120);
const READY_EACH: Duration = Duration::from_secs(4);

/// What a world should be.
#[derive(Clone, Default)]
pub struct Plan {
    /// How many sample tenants; 0 means two.
    pub tenants: usize,
    /// `--set key=value` overrides.
    pub set: Vec<(String, String)>,
    /// Another PostgreSQL than the one `dev` finds.
    pub pg_bin: Option<PathBuf>,
    /// Another program than the one cargo just built.
    pub program: Option<PathBuf>,
    /// Further arguments of `dev`.
    pub args: Vec<String>,
}

impl Plan {
    /// A plan with `n` tenants.
    pub fn tenants(n: usize) -> Self {
        Self { tenants: n, ..Self::default() }
    }

    /// Adds an override.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.set.push((key.into(), value.into()));
        self
    }
}

/// A tenant as `dev --json` introduces it.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: String,
    pub email: String,
    pub password: String,
    pub token: String,
    pub key_user: String,
    pub key_secret: String,
    pub url: String,
}

impl Tenant {
    /// Its database.
    pub fn database(&self) -> String {
        format!("tenant_{}", self.id)
    }

    /// Its token as the password, for its own database.
    pub fn login(&self) -> Login {
        let user = if bare::wanted() { &*self.key_user } else { "anyone" };
        Login::new(user, &self.token, &self.database())
    }
}

/// PostgreSQL, pgusher and tenants, alive until dropped.
pub struct World {
    pub listen: SocketAddr,
    pub http: SocketAddr,
    pub ops: SocketAddr,
    pub registry: String,
    pub admin_url: String,
    pub tenants: Vec<Tenant>,
    pub tls: tls::Certificates,
    pub dir: PathBuf,
    server: (String, u16, String),
    plan: Plan,
    keeper: Option<Keeper>,
}

impl World {
    /// The one world of this test binary: two tenants, TLS.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<World> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Plan::default()))
    }

    /// A world of its own for one test.
    pub fn start(plan: Plan) -> Self {
        let dir = tempfile::Builder::new().prefix("pgusher-world-").tempdir().unwrap().keep();
        // PostgreSQL runs as another user below it.
        tools::run(Command::new("chmod").arg("755").arg(&dir));
        let tls = tls::Certificates::make(&dir);
        let mut world = Self {
            listen: ([127, 0, 0, 1], 0).into(),
            http: ([127, 0, 0, 1], 0).into(),
            ops: ([127, 0, 0, 1], 0).into(),
            registry: String::new(),
            admin_url: String::new(),
            tenants: Vec::new(),
            tls,
            dir,
            server: (String::new(), 0, String::new()),
            plan,
            keeper: None,
        };
        keeper::show_logs_on_panic(&world.log_path());
        if bare::wanted() {
            let (words, port) = bare::prepare(&world.dir);
            world.keeper = Some(Keeper::start(Keeper::command(&world.dir).args(words)).0);
            world.ready(&bare::furnish(port, world.plan.tenants.max(2)));
        } else {
            world.launch();
        }
        world
    }

    /// Stops pgusher as an operator would and starts it again on the same data.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    fn launch(&mut self) {
        let built = PathBuf::from(env!("CARGO_BIN_EXE_pgusher"));
        let program = self.plan.program.clone().unwrap_or(built);
        let tenants = self.plan.tenants.max(2).to_string();
        let mut command = Keeper::command(&self.dir);
        command.arg(program).args(["dev", "--json", "--no-sync"]);
        command.arg("--data").arg(self.dir.join("data"));
        for flag in ["--listen", "--http", "--ops"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.args(["--tenants", &tenants]).args(&self.plan.args);
        if let Some(bin) = &self.plan.pg_bin {
            command.arg("--pg-bin").arg(bin);
        }
        command.arg("--set").arg(format!("{}={}", keys::TLS_CERT, self.tls.cert.display()));
        command.arg("--set").arg(format!("{}={}", keys::TLS_KEY, self.tls.key.display()));
        // Databases made in the background would be counted among the tenants'.
        command.args(["--set", "warm.target=0"]);
        for (key, value) in &self.plan.set {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let (keeper, stdout) = Keeper::start(&mut command);
        self.keeper = Some(keeper);
        let tenants = u32::try_from(self.plan.tenants).unwrap();
        let line =
            keeper::first_json_line(stdout, READY + READY_EACH * tenants).unwrap_or_else(|why| {
                panic!("pgusher dev --json printed no line: {why}\n{}", self.log())
            });
        self.ready(&line);
    }

    fn ready(&mut self, line: &Value) {
        let addr = |key: &str| -> SocketAddr {
            let text = text(line, key);
            text.parse().unwrap_or_else(|e| panic!("{key}: {text}: {e}"))
        };
        (self.listen, self.http, self.ops) = (addr("listen"), addr("http"), addr("ops"));
        self.registry = text(line, "registry");
        self.admin_url = text(line, "adminUrl");
        let server = &line["server"];
        let port = u16::try_from(server["port"].as_u64().expect("server.port")).unwrap();
        self.server = (text(server, "host"), port, text(server, "superuser"));
        self.tenants = line["tenants"].as_array().expect("tenants").iter().map(tenant).collect();
        assert!(self.tenants.len() >= self.plan.tenants.max(2), "too few tenants: {line}");
    }

    /// Ends pgusher: SIGTERM, then SIGKILL after ten seconds, then whatever PostgreSQL it left.
    pub fn stop(&mut self) {
        drop(self.keeper.take());
    }

    /// pgusher's process id.
    pub fn pid(&self) -> u32 {
        let path = self.dir.join("pid");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().parse().unwrap()
    }

    /// pgusher's resident memory, in bytes.
    pub fn rss(&self) -> u64 {
        tools::status_kib(self.pid(), "VmRSS:") * 1024
    }

    /// The highest it ever was.
    pub fn rss_peak(&self) -> u64 {
        tools::status_kib(self.pid(), "VmHWM:") * 1024
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// What pgusher logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Fails if pgusher's log tells of a bug.
    pub fn assert_no_panic(&self) {
        let log = self.log();
        let bad = log.lines().find(|l| l.contains("panicked") || l.contains("XX000"));
        assert!(bad.is_none(), "in pgusher's log: {}", bad.unwrap());
    }

    /// PostgreSQL itself, as its superuser.
    pub fn superuser(&self, database: &str) -> Conn {
        self.try_superuser(database).unwrap_or_else(|e| panic!("superuser: {e:?}"))
    }

    /// PostgreSQL itself, which may be down.
    pub fn try_superuser(&self, database: &str) -> Result<Conn, Refusal> {
        let (host, port, user) = &self.server;
        let login = Login::new(user, "", database);
        if host.starts_with('/') {
            let path = format!("{host}/.s.PGSQL.{port}");
            let unix = std::os::unix::net::UnixStream::connect(path)?;
            unix.set_read_timeout(Some(wire::PATIENCE))?;
            let mut conn = Conn::on(wire::Pipe::Unix(unix));
            conn.say(&login.startup())?;
            conn.authenticate("")?;
            return Ok(conn);
        }
        let ip = if host == "localhost" { "127.0.0.1" } else { host };
        let addr: SocketAddr = format!("{ip}:{port}").parse().unwrap();
        let tcp = std::net::TcpStream::connect(addr)?;
        tcp.set_read_timeout(Some(wire::PATIENCE))?;
        let mut conn = Conn::on(wire::Pipe::Tcp(tcp));
        conn.say(&login.startup())?;
        conn.authenticate("")?;
        Ok(conn)
    }

    /// PostgreSQL's address over TCP.
    pub fn server_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.server.1))
    }

    /// PostgreSQL's superuser.
    pub fn superuser_name(&self) -> &str {
        &self.server.2
    }

    /// The registry's database name.
    pub fn registry_database(&self) -> String {
        let tail = self.registry.rsplit('/').next().unwrap_or_default();
        tail.split('?').next().unwrap_or_default().to_owned()
    }

    /// Logs in through pgusher over plain loopback.
    pub fn login(&self, login: &Login) -> Result<Conn, Refusal> {
        Conn::login(self.listen, login)
    }

    /// A session of tenant `n`, in the clear over loopback.
    pub fn session(&self, n: usize) -> Conn {
        let login = self.tenants[n].login();
        self.login(&login).unwrap_or_else(|e| panic!("tenant {n}: {e:?}"))
    }

    /// Runs `pgusher ARGS --registry URL` and returns what it printed.
    pub fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
        command.args(args).args(["--registry", &self.registry]);
        tools::run(&mut command)
    }

    /// The metrics page.
    pub fn metrics(&self) -> String {
        http::call(self.ops, "GET", "/metrics", &[], "").text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
        keeper::forget(&self.log_path());
        if std::env::var_os("PGUSHER_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn text(value: &Value, key: &str) -> String {
    let text = value[key].as_str();
    text.unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

fn tenant(value: &Value) -> Tenant {
    Tenant {
        id: text(value, "tenantId"),
        email: text(value, "email"),
        password: text(value, "password"),
        token: text(value, "accessToken"),
        key_user: text(&value["apiKey"], "user"),
        key_secret: text(&value["apiKey"], "secret"),
        url: text(value, "url"),
    }
}

/// What PostgreSQL shows of tenants' sessions now: database, count.
pub fn server_connections(superuser: &mut Conn) -> Vec<(String, u64)> {
    let sql = "select datname, count(*) from pg_stat_activity \
               where datname like 'tenant\\_%' and backend_type = 'client backend' group by 1";
    let rows = superuser.query(sql).unwrap_or_else(|e| panic!("{e:?}"));
    let pair = |row: Vec<Option<String>>| {
        (row[0].clone().unwrap(), row[1].as_ref().unwrap().parse().unwrap())
    };
    rows.into_iter().map(pair).collect()
}

/// Polls until `what` gives a value, or fails after `within`.
pub fn eventually<T>(within: Duration, promise: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = what() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {promise}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The SQLSTATE of what should have been refused.
pub fn code<T>(result: Result<T, Refusal>) -> String {
    match result {
        Ok(_) => "no error".into(),
        Err(refusal) => refusal.code,
    }
}

/// Writes a line past the capture of the test harness: figures are to be seen.
pub fn report(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "    {line}");
}
