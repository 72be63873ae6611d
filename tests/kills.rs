//! `kill -9` of pgusher at every step of a registration: after a restart and one pass of the
//! janitor every tenant is whole or gone.
//!
//! Ten kills every day; `PGUSHER_KILLS=200` for the long version, `PGUSHER_SEED` to repeat one.
#![allow(clippy::unwrap_used, clippy::large_futures, clippy::format_push_string)]
#![allow(clippy::print_stderr, reason = "the count is to be seen")]

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cluster::Cluster;
use serde_json::{Value, json};

/// The points a registration can be held at, and how many kills come at any other time.
const POINTS: [&str; 5] = ["hashed", "claimed", "cloned", "written", "finished"];
const AT_RANDOM: u64 = 5;

/// Registrations under way when the kill comes.
const AT_ONCE: u64 = 3;

/// So many tenants are kept before they are dropped.
const KEPT_MAX: usize = 24;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n
    }
}

/// A `pgusher serve` to be killed.
struct Victim {
    child: Child,
    http: SocketAddr,
    ops: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Victim {
    fn start(file: &str, set: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
        command.args(["serve", "--config", file, "--set", "log.format=json"]);
        for (key, value) in set {
            command.args(["--set", &format!("{key}={value}")]);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let log = Arc::new(Mutex::new(String::new()));
        let ready = lines.by_ref().find(|line| {
            *log.lock().unwrap() += &format!("{line}\n");
            line.contains("\"ready\"")
        });
        let ready = ready.unwrap_or_else(|| panic!("not ready:\n{}", log.lock().unwrap()));
        let address = |key: &str| -> SocketAddr {
            let at = ready.find(&format!("\"{key}\":")).unwrap();
            let rest = &ready[at + ready[at..].find("127.0.0.1:").unwrap()..];
            rest[..rest.find(|c| !matches!(c, '0'..='9' | '.' | ':')).unwrap()].parse().unwrap()
        };
        let (http, ops) = (address("http"), address("ops"));
        let more = Arc::clone(&log);
        thread::spawn(move || lines.for_each(|line| *more.lock().unwrap() += &format!("{line}\n")));
        Self { child, http, ops, log }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn said(&self, text: &str) -> bool {
        self.log.lock().unwrap().contains(text)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn exchange(address: SocketAddr, head: &str, body: &str) -> Option<(u16, Value, String)> {
    let mut tcp = TcpStream::connect(address).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let length = body.len();
    let text = format!(
        "{head}Host: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
                        Content-Length: {length}\r\n\r\n{body}"
    );
    tcp.write_all(text.as_bytes()).ok()?;
    let mut raw = String::new();
    tcp.read_to_string(&mut raw).ok()?;
    let status = raw.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = raw.split_once("\r\n\r\n")?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null), body.to_owned()))
}

/// Asks for a registration, and waits for an answer that may never come.
fn register(
    address: SocketAddr,
    email: String,
    respond_async: bool,
) -> JoinHandle<Option<(u16, String)>> {
    thread::spawn(move || {
        let prefer = if respond_async { "Prefer: respond-async\r\n" } else { "" };
        let head = format!("POST /api/auth/register HTTP/1.1\r\n{prefer}");
        let body = json!({ "email": email, "password": "correct horse", "firstName": "A",
            "lastName": "B", "churchName": "C" });
        let (status, answer, _) = exchange(address, &head, &body.to_string())?;
        let id = answer["registrationId"].as_str().unwrap_or_default().to_owned();
        Some((status, id))
    })
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(90), "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

struct Place {
    cluster: Cluster,
    file: String,
    _home: tempfile::TempDir,
    /// Tenants that were found whole before.
    seen: BTreeSet<String>,
}

impl Place {
    async fn make() -> Self {
        let cluster = Cluster::start();
        cluster.connect("postgres").await.batch_execute("CREATE DATABASE registry").await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("pgusher.toml").display().to_string();
        let text = format!(
            "[registry]\nurl = '{}'\n[auth]\nmaster_key = '{}'\n\
             [[auth.signer.keys]]\nalgorithm = 'HS256'\nkid = 'k'\nsecret = '{}'\n\
             [servers.main]\nadmin_url = '{}'\n[listen]\naddresses = ['127.0.0.1:0']\n\
             [http]\naddress = '127.0.0.1:0'\n[http.rate]\nenabled = false\n\
             [ops]\naddress = '127.0.0.1:0'\n[passwords]\nmemory_kib = 64\npasses = 1\n",
            cluster.superuser("registry"),
            "m".repeat(40),
            "s".repeat(40),
            cluster.superuser("postgres"),
        );
        std::fs::write(&file, text).unwrap();
        let mut migrate = Command::new(env!("CARGO_BIN_EXE_pgusher"));
        migrate.args(["migrate", "registry", "--config", &file]).stdout(Stdio::null());
        assert!(migrate.status().unwrap().success());
        Self { cluster, file, _home: home, seen: BTreeSet::new() }
    }

    async fn list(&self, sql: &str) -> Vec<String> {
        let client = self.cluster.connect("registry").await;
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    async fn set(&self, sql: &str) -> BTreeSet<String> {
        self.list(sql).await.into_iter().collect()
    }

    /// What a kill left, in a word: the step of each job that is not at its end.
    async fn left(&self) -> Vec<String> {
        self.list(
            "SELECT CASE WHEN step IN ('claimed', 'cloned', 'written') THEN step
                         || CASE WHEN was_warm THEN ' (warm)' ELSE '' END ELSE 'at its end' END
             FROM pgusher.registrations WHERE changed_at > now() - interval '1 hour'
             AND step <> 'undone' AND (step <> 'done' OR held_by IS NOT NULL)",
        )
        .await
    }

    /// Fails unless every tenant is whole and nothing else is there.
    async fn assert_whole(&mut self, context: &str) {
        let tenants = self.set("SELECT \"id\" FROM public.\"Tenant\"").await;
        let spare =
            self.set("SELECT tenant_id FROM pgusher.warm_databases WHERE state = 'ready'").await;
        let known: BTreeSet<_> = tenants.union(&spare).cloned().collect();
        let databases = self
            .set("SELECT substr(datname, 8) FROM pg_database WHERE datname LIKE 'tenant\\_%'")
            .await;
        assert_eq!(databases, known, "{context}: databases");
        let roles =
            self.list("SELECT rolname::text FROM pg_roles WHERE rolname LIKE 't\\_%'").await;
        assert_eq!(roles.len(), known.len() * 4, "{context}: {roles:?} of {known:?}");
        for id in &known {
            let own = format!("t_{id}_");
            assert_eq!(roles.iter().filter(|role| role.starts_with(&own)).count(), 4, "{context}");
        }
        for (what, sql) in [
            ("churches", "SELECT \"id\" FROM public.\"Church\""),
            ("e-mails", "SELECT \"tenantId\" FROM public.\"AdminEmailIndex\""),
            ("own rows", "SELECT tenant_id FROM pgusher.tenants"),
            ("finished jobs", "SELECT tenant_id FROM pgusher.registrations WHERE step = 'done'"),
        ] {
            assert_eq!(self.set(sql).await, tenants, "{context}: {what}");
        }
        let open = "SELECT id FROM pgusher.registrations \
                    WHERE step NOT IN ('done', 'undone') OR sealed IS NOT NULL";
        assert_eq!(self.list(open).await, [""; 0], "{context}: jobs");
        let let_in = self.set("SELECT tenant_id FROM pgusher.refresh_families").await;
        assert!(let_in.is_subset(&tenants), "{context}: tokens of {let_in:?}, tenants {tenants:?}");
        let half = "SELECT tenant_id FROM pgusher.warm_databases WHERE state <> 'ready'";
        assert_eq!(self.list(half).await, [""; 0], "{context}: half-made warm databases");
        for id in tenants.difference(&self.seen.clone()) {
            let inside = self.cluster.connect(&format!("tenant_{id}")).await;
            let sql = "SELECT (SELECT tenant_id FROM pgusher.tenant_mark), \
                       (SELECT count(*) FROM \"Admin\")";
            let row = inside.query_one(sql, &[]).await.unwrap();
            let found: (Option<String>, i64) = (row.get(0), row.get(1));
            assert_eq!(found, (Some(id.clone()), 1), "{context}: {id}");
        }
        self.seen = tenants;
        if self.seen.len() > KEPT_MAX {
            self.clear().await;
        }
    }

    /// Drops every tenant, so that the next census is quick.
    async fn clear(&mut self) {
        let client = self.cluster.connect("registry").await;
        for id in std::mem::take(&mut self.seen) {
            client.batch_execute(&format!("DROP DATABASE tenant_{id}")).await.unwrap();
            let sql = "SELECT string_agg(format('DROP ROLE %I', rolname), ';') FROM pg_roles \
                       WHERE rolname LIKE 't\\_' || $1 || '\\_%'";
            let drop: String = client.query_one(sql, &[&id]).await.unwrap().get(0);
            client.batch_execute(&drop).await.unwrap();
        }
        let forget = "DELETE FROM public.\"Church\"; DELETE FROM pgusher.tenants; \
                      DELETE FROM pgusher.registrations; DELETE FROM pgusher.refresh_families";
        client.batch_execute(forget).await.unwrap();
    }
}

#[tokio::test]
async fn every_tenant_is_whole_or_gone_whenever_pgusher_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("PGUSHER_KILLS").unwrap_or(10);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed = number("PGUSHER_SEED").unwrap_or(u64::from(now) | 1);
    eprintln!("    seed {seed}");
    let mut dice = Dice(seed | 1);
    let mut place = Place::make().await;
    let mut at = BTreeMap::<&str, u32>::new();
    let (mut left, mut whole, mut gone) = (BTreeMap::<String, u32>::new(), 0, 0);
    for kill in 0..kills {
        // Every point comes once in ten kills, the others come at any time.
        let turn = usize::try_from(kill % (POINTS.len() as u64 + AT_RANDOM)).unwrap();
        let point = POINTS.get(turn).copied().unwrap_or("never");
        let warm = if point == "cloned" { 0 } else { dice.below(3) }.to_string();
        let set = [("registration.hold_at", point), ("warm.target", &warm)];
        let mut victim = Victim::start(&place.file, &set);
        let context = format!("seed {seed}, kill {kill} at {point}, warm {warm}");
        let asked: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                let email = format!("k{kill}n{n}@example.org");
                let respond_async = dice.below(2) == 0;
                (email.clone(), register(victim.http, email, respond_async))
            })
            .collect();
        if point == "never" {
            thread::sleep(Duration::from_micros(dice.below(700_000)));
        } else {
            let all = |victim: &Victim| victim.log.lock().unwrap().matches("held, as").count();
            let enough = usize::try_from(1 + dice.below(AT_ONCE)).unwrap();
            eventually(&context, || {
                all(&victim) >= enough || asked.iter().all(|(_, one)| one.is_finished())
            });
        }
        victim.kill();
        *at.entry(point).or_default() += 1;
        assert!(!victim.said("panicked"), "{context}");
        for what in place.left().await {
            *left.entry(what).or_default() += 1;
        }
        let mut next = Victim::start(&place.file, &[("warm.target", "0")]);
        let passed = || {
            let metrics = exchange(next.ops, "GET /metrics HTTP/1.1\r\n", "");
            metrics.is_some_and(|(_, _, text)| text.contains("janitor_passes_total 1"))
        };
        eventually(&format!("{context}: a pass"), passed);
        let emails = place.set("SELECT \"email\" FROM public.\"Tenant\"").await;
        for (email, answer) in asked {
            let answer = answer.join().unwrap();
            let made = emails.contains(&email);
            *(if made { &mut whole } else { &mut gone }) += 1;
            // What was answered is there: 201 when it came to be, 202 because it was promised.
            let promised = matches!(answer, Some((201 | 202, _)));
            let log = || next.log.lock().unwrap().clone();
            assert!(made || !promised, "{context}: {email} {answer:?}\n{}", log());
        }
        place.assert_whole(&context).await;
        next.kill();
    }
    eprintln!(
        "    {kills} kills ({at:?}, `never`: at any time) under {} registrations, jobs left at \
         {left:?}: {whole} whole, {gone} gone, nothing else",
        kills * AT_ONCE
    );
    assert!(whole > 0 && gone > 0, "the kills came at one end only");
}
