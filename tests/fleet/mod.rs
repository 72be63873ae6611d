//! Several pgusher processes over one registry, and PostgreSQL servers of the test's own.
//!
//! Where `world` is what `pgusher dev` makes, this is what an operator would: clusters, a
//! configuration file, `pgusher serve` as often as wanted, tenants adopted in bulk.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod client;
pub mod sampler;
pub mod watch;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgusher::auth::{
    Algorithm, Grant, Power, Signer, SignerSettings, SigningKeySettings, generate_signing_key,
};
use pgusher::control::schema::{MigrationSet, migrate_registry};
use pgusher::ident::{Role, TenantId};
use pgusher::tenant::DatabaseUrl;

use crate::cluster::Cluster;
use crate::world::eventually;
use crate::world::keeper::{self, Keeper};

const MASTER_KEY: &str = "0123456789abcdef0123456789abcdef0123456789ab";

/// One registry, its tenants' server, and a folder with the configuration.
pub struct Fleet {
    pub server: Cluster,
    registry: Cluster,
    home: tempfile::TempDir,
    signer: Signer,
}

/// A running `pgusher serve`; ends when dropped.
pub struct Process {
    pub listen: SocketAddr,
    pub ops: SocketAddr,
    dir: PathBuf,
    _keeper: Keeper,
}

impl Fleet {
    /// Clusters, a migrated registry, a configuration with these further lines.
    pub async fn found(server: Cluster, more: &str) -> Self {
        let more = more.replace("{admin_url}", &server.superuser("postgres"));
        let registry = Cluster::start();
        let admin = registry.connect("postgres").await;
        admin.batch_execute("CREATE DATABASE registry").await.unwrap();
        let url = registry.superuser("registry");
        let parsed = DatabaseUrl::parse(&url).unwrap();
        let patience = Duration::from_secs(20);
        migrate_registry(&parsed, &MigrationSet::registry(), patience).await.unwrap();
        let home = tempfile::Builder::new().prefix("pgusher-fleet-").tempdir().unwrap();
        let pem = generate_signing_key().unwrap();
        let signing = home.path().join("signing.pem");
        std::fs::write(&signing, pem.expose()).unwrap();
        let key = SigningKeySettings {
            algorithm: Algorithm::EdDsa,
            secret: pem,
            ..SigningKeySettings::default()
        };
        let settings = SignerSettings { keys: vec![key], ..SignerSettings::default() };
        let config = format!(
            "[registry]\nurl = '{url}'\n[auth]\nmaster_key = '{MASTER_KEY}'\n\
             [[auth.signer.keys]]\nalgorithm = 'EdDSA'\nfile = '{}'\n\
             [listen]\naddresses = ['127.0.0.1:0']\nhalf_open_max = 10000\n\
             [http]\naddress = '127.0.0.1:0'\n[ops]\naddress = '127.0.0.1:0'\n\
             [log]\nformat = 'json'\n[warm]\ntarget = 0\n{more}\n",
            signing.display()
        );
        std::fs::write(home.path().join("pgusher.toml"), config).unwrap();
        Self { server, registry, home, signer: Signer::new(settings).unwrap() }
    }

    /// The configuration's path.
    pub fn config(&self) -> String {
        self.home.path().join("pgusher.toml").display().to_string()
    }

    /// One more process.
    pub fn serve(&self, name: &str) -> Process {
        let dir = self.home.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        keeper::show_logs_on_panic(&dir.join("log"));
        let mut command = Keeper::command(&dir);
        command.arg(env!("CARGO_BIN_EXE_pgusher")).args(["serve", "--config", &self.config()]);
        let (kept, _) = Keeper::start(&mut command);
        let line = eventually(Duration::from_secs(60), "pgusher is ready", || {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            log.lines().find(|line| line.contains("\"ready\"")).map(str::to_owned)
        });
        let address = |field: &str| -> SocketAddr {
            let at = line.find(&format!("\"{field}\"")).expect("the field is there");
            let from = at + line[at..].find("127.0.0.1:").expect("an address");
            let rest = &line[from..];
            let end = rest["127.0.0.1:".len()..].find(|c: char| !c.is_ascii_digit()).unwrap();
            rest[.."127.0.0.1:".len() + end].parse().unwrap()
        };
        Process { listen: address("listen"), ops: address("ops"), dir, _keeper: kept }
    }

    /// SQL in the registry.
    pub async fn registry(&self, sql: &str) {
        let client = self.registry.connect("registry").await;
        client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// A registry as one value.
    pub async fn registry_value(&self, sql: &str) -> String {
        let client = self.registry.connect("registry").await;
        client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Makes databases for these tenants, all owned by one role, and adopts them.
    pub async fn adopt(&self, ids: &[String], connection_limit: u32) {
        let admin = self.server.connect("postgres").await;
        let role = "DO $$ BEGIN CREATE ROLE shared LOGIN PASSWORD 'pw'; \
                    EXCEPTION WHEN duplicate_object THEN NULL; END $$";
        admin.batch_execute(role).await.unwrap();
        // A hundredth of a tenant's ten megabytes are its own: template0 is what a clone costs.
        for id in ids {
            let sql = format!(
                "CREATE DATABASE tenant_{id} TEMPLATE template0 OWNER shared \
                 CONNECTION LIMIT {connection_limit}"
            );
            admin.batch_execute(&sql).await.unwrap();
        }
        let port = self.server.port;
        let mut sql = String::from("BEGIN;");
        for id in ids {
            let url =
                format!("postgresql://shared:pw@127.0.0.1:{port}/tenant_{id}?sslmode=disable");
            write!(
                sql,
                r#"INSERT INTO public."Church" ("id", "name", "email")
                       VALUES ('{id}', '{id}', '{id}@example.org');
                   INSERT INTO public."Tenant" ("id", "churchId", "name", "email", "databaseUrl",
                       "databaseHost", "databasePort", "databaseName")
                       VALUES ('{id}', '{id}', '{id}', '{id}@example.org', '{url}', '127.0.0.1',
                       {port}, 'tenant_{id}');"#
            )
            .unwrap();
        }
        self.registry(&(sql + "COMMIT")).await;
    }

    /// Makes a tenant as an operator would; its id.
    pub fn create(&self, name: &str) -> String {
        let email = format!("{name}@example.org");
        let args = ["tenant", "create", "--name", name, "--email", &email];
        let more = ["--first-name", "A", "--last-name", "B", "--config", &self.config()];
        let (exit, made) = crate::world::tools::pgusher(&[&args[..], &more].concat());
        assert_eq!(exit, 0, "{made}");
        made["tenantId"].as_str().unwrap().to_owned()
    }

    /// A token of an app of the tenant's.
    pub fn token(&self, id: &str) -> String {
        self.token_as(id, Role::App)
    }

    /// A token of that role.
    pub fn token_as(&self, id: &str, role: Role) -> String {
        let grant = Grant {
            tenant: TenantId::parse(id).unwrap(),
            role,
            subject: "tester".into(),
            scopes: Vec::new(),
            lifetime: Some(Duration::from_secs(24 * 3600)),
        };
        let minted = self.signer.access(&grant, std::time::SystemTime::now()).unwrap();
        minted.token.expose().to_owned()
    }

    /// An operator's token.
    pub fn operator(&self) -> String {
        let now = std::time::SystemTime::now();
        let minted = self.signer.operator(Power::Stats, "tester", None, now).unwrap();
        minted.token.expose().to_owned()
    }
}

impl Process {
    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        let path: &Path = &self.dir.join("pid");
        std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }

    /// Ends it without a word.
    pub fn kill(&self) {
        let pid = self.pid().to_string();
        crate::world::tools::run(std::process::Command::new("kill").args(["-KILL", &pid]));
    }

    /// Fails if its log tells of a bug.
    pub fn assert_no_panic(&self) {
        let log = self.log();
        let bad = log.lines().find(|l| l.contains("panicked") || l.contains("XX000"));
        assert!(bad.is_none(), "{bad:?}");
    }
}
