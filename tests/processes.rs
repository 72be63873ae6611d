//! Several pgusher processes over one registry: they share a tenant's cap through PostgreSQL, split
//! its server's budget, and hand cancels to one another.
//!
//! Short by default; `make soak-tenants` is the full version.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub, missing_docs)]

mod cluster;
mod fleet;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::Cluster;
use fleet::client::Client;
use fleet::sampler::Sampler;
use fleet::{Fleet, Process};
use tokio::task::JoinSet;
use world::wire::{Conn, Login, cancel, query};
use world::{bare, eventually, report, tools};

/// How long the load runs.
fn time() -> Duration {
    Duration::from_secs(tools::env_or("PGUSHER_SOAK_SECONDS", 5))
}

fn is_full() -> bool {
    tools::env_or("PGUSHER_TENANTS_FULL", 0) > 0
}

/// What the clients of one process saw.
#[derive(Default)]
struct Score {
    done: AtomicU64,
    /// The longest any client waited, in milliseconds.
    waited: AtomicU64,
    /// When an answer came last, and the longest time between two, in milliseconds.
    last: Mutex<Option<Instant>>,
    starved: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Score {
    fn note(&self, asked: Instant) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        self.done.fetch_add(1, Ordering::Relaxed);
        self.waited.fetch_max(millis(asked.elapsed()), Ordering::Relaxed);
        let last = self.last.lock().unwrap().replace(Instant::now());
        let gap = last.unwrap_or(asked).elapsed();
        self.starved.fetch_max(millis(gap), Ordering::Relaxed);
    }

    fn complain(&self, why: &world::wire::Refusal) {
        *self.errors.lock().unwrap().entry(why.text()).or_default() += 1;
    }

    fn tell(&self, name: &str) {
        report(&format!(
            "{name}: {} transactions, the longest wait of a client {} ms, of the process {} ms",
            self.done.load(Ordering::Relaxed),
            self.waited.load(Ordering::Relaxed),
            self.starved.load(Ordering::Relaxed)
        ));
        let errors = self.errors.lock().unwrap();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

/// Clients of one process that ask until then.
fn load(
    clients: &mut JoinSet<()>,
    (count, sql, until): (usize, &'static str, Instant),
    (at, token, id): (SocketAddr, &str, &str),
) -> Arc<Score> {
    let score = Arc::new(Score::default());
    for _ in 0..count {
        let (score, token, database) =
            (Arc::clone(&score), token.to_owned(), format!("tenant_{id}"));
        clients.spawn(async move {
            let mut client = match Client::login(at, &token, &database).await {
                Ok(client) => client,
                Err(why) => return score.complain(&why),
            };
            while Instant::now() < until {
                let asked = Instant::now();
                match client.ask(sql).await {
                    Ok(_) => score.note(asked),
                    Err(why) => return score.complain(&why),
                }
            }
        });
    }
    score
}

async fn join(mut clients: JoinSet<()>) {
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

fn settings(more: &str) -> String {
    format!("[servers.main]\nadmin_url = '{{admin_url}}'\n{more}")
}

#[tokio::test]
async fn two_processes_share_one_cap_and_none_starves() {
    if bare::wanted() {
        return;
    }
    let limits = "[limits]\nserver_max = 10\nqueue_timeout = '60s'";
    let fleet = Fleet::found(Cluster::start(), &settings(limits)).await;
    let (one, two) = (fleet.serve("one"), fleet.serve("two"));
    let id = fleet.create("shared");
    let token = fleet.token(&id);
    let sampler = Sampler::start(fleet.server.port);
    let mut clients = JoinSet::new();
    let until = Instant::now() + time();
    let plan = (200, "select pg_sleep(0.002)", until);
    let first = load(&mut clients, plan, (one.listen, &token, &id));
    // The first has all ten by the time the second comes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = load(&mut clients, plan, (two.listen, &token, &id));
    join(clients).await;
    let seen = sampler.seen();
    report(&format!("{} samples, at most {} connections of 10", seen.samples, seen.highest()));
    first.tell("the first");
    second.tell("the second");
    assert_eq!(seen.highest(), 10, "the cap is used, and not passed");
    for (score, name) in [(&first, "first"), (&second, "second")] {
        let starved = score.starved.load(Ordering::Relaxed);
        // How long is a promise about a machine that has time.
        let most = if is_full() { 1_000 } else { 5_000 };
        assert!(starved <= most, "the {name} process waited {starved} ms");
    }
    let (a, b) = (first.done.load(Ordering::Relaxed), second.done.load(Ordering::Relaxed));
    assert!(b * 4 > a, "{a} and {b} transactions");
    one.assert_no_panic();
    two.assert_no_panic();
}

#[tokio::test]
async fn processes_take_turns_where_the_cap_is_less_than_they_are() {
    if bare::wanted() {
        return;
    }
    let limits = "[limits]\nserver_max = 1\nqueue_timeout = '60s'";
    let fleet = Fleet::found(Cluster::start(), &settings(limits)).await;
    let (one, two) = (fleet.serve("one"), fleet.serve("two"));
    let id = fleet.create("single");
    let token = fleet.token(&id);
    let sampler = Sampler::start(fleet.server.port);
    let mut clients = JoinSet::new();
    let plan = (5, "select pg_sleep(0.002)", Instant::now() + time());
    let first = load(&mut clients, plan, (one.listen, &token, &id));
    let second = load(&mut clients, plan, (two.listen, &token, &id));
    join(clients).await;
    first.tell("the first");
    second.tell("the second");
    assert_eq!(sampler.seen().highest(), 1);
    for score in [&first, &second] {
        assert!(score.done.load(Ordering::Relaxed) > 20, "both are served");
    }
}

/// Of all processes together.
const BUDGET: u64 = 6;

/// What a process may hold of its server, by its console.
fn part(fleet: &Fleet, process: &Process) -> u64 {
    let login = Login::new("operator", &fleet.operator(), "pgusher");
    let mut console = Conn::login(process.listen, &login).unwrap_or_else(|e| panic!("{e:?}"));
    let rows = console.query("SHOW BUDGETS").unwrap();
    rows.iter().find_map(|row| row[1].as_ref()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_budget_is_never_passed_while_processes_come_and_go() {
    if bare::wanted() {
        return;
    }
    let limits = format!("budget = {BUDGET}\n[limits]\nserver_max = 4\nqueue_timeout = '60s'");
    let fleet = Fleet::found(Cluster::start(), &settings(&limits)).await;
    let one = fleet.serve("one");
    let ids: Vec<String> = ["a", "b", "c"].iter().map(|name| fleet.create(name)).collect();
    let sampler = Sampler::start(fleet.server.port);
    let until = Instant::now() + time() + Duration::from_secs(3);
    let mut clients = JoinSet::new();
    let mut scores = Vec::new();
    for id in &ids {
        let plan = (6, "select pg_sleep(0.02)", until);
        scores.push(load(&mut clients, plan, (one.listen, &fleet.token(id), id)));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The first holds the whole budget now, and gives up half of it.
    let two = fleet.serve("two");
    let mut others = JoinSet::new();
    for id in &ids {
        let plan = (6, "select pg_sleep(0.02)", Instant::now() + time() / 2);
        scores.push(load(&mut others, plan, (two.listen, &fleet.token(id), id)));
    }
    join(others).await;
    eventually(Duration::from_secs(20), "each has its half", || {
        ((part(&fleet, &one), part(&fleet, &two)) == (BUDGET / 2, BUDGET / 2)).then_some(())
    });
    if is_full() {
        two.kill();
    }
    drop(two);
    let patience = Duration::from_secs(40);
    eventually(patience, "the first has it all again", || {
        (part(&fleet, &one) == BUDGET).then_some(())
    });
    join(clients).await;
    let seen = sampler.seen();
    report(&format!("{} samples, at most {} connections of {BUDGET}", seen.samples, seen.total));
    scores.iter().enumerate().for_each(|(n, score)| score.tell(&format!("load {n}")));
    assert_eq!(seen.total, BUDGET, "the budget is used, and not passed");
    one.assert_no_panic();
}

/// Until PostgreSQL holds a tenant's cap, each process keeps to its part of it, which may be none.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_holds_up_no_cap_of_another_s() {
    if bare::wanted() {
        return;
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let more = format!(
        "[servers.silent]\nadmin_url = 'postgresql://postgres@127.0.0.1:{port}/postgres'\n\
         weight = 0\n[limits]\nserver_max = 1\nqueue_timeout = '60s'"
    );
    let fleet = Fleet::found(Cluster::start(), &settings(&more)).await;
    let ids: Vec<String> = ["a", "b", "c"].iter().map(|name| fleet.create(name)).collect();
    let all = format!("'{}', '{}'", ids[0], ids[1]);
    let sql = format!("UPDATE pgusher.tenants SET server = 'silent' WHERE tenant_id IN ({all})");
    fleet.registry(&sql).await;
    let processes = [fleet.serve("one"), fleet.serve("two")];
    for process in &processes {
        for id in &ids[..2] {
            let login = Login::new("any", &fleet.token(id), &format!("tenant_{id}"));
            let at = process.listen;
            std::thread::spawn(move || drop(Conn::login(at, &login)));
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let login = Login::new("any", &fleet.token(&ids[2]), &format!("tenant_{}", ids[2]));
    let asked = Instant::now();
    for process in &processes {
        let mut session = Conn::login(process.listen, &login).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(session.one("select 1").as_deref(), Ok("1"));
    }
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

/// Who has its part of the budget next finds none of its connections still counted.
#[tokio::test]
async fn who_shuts_down_leaves_no_server_connection_behind() {
    if bare::wanted() {
        return;
    }
    let limits = "[limits]\nserver_max = 40\nqueue_timeout = '60s'";
    let fleet = Fleet::found(Cluster::start(), &settings(limits)).await;
    let id = fleet.create("left");
    let login = Login::new("any", &fleet.token(&id), &format!("tenant_{id}"));
    let admin = fleet.server.connect("postgres").await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'tenant_%'";
    for round in 0..3 {
        let process = fleet.serve(&format!("p{round}"));
        let mut sessions: Vec<_> = (0..40)
            .map(|_| Conn::login(process.listen, &login).unwrap_or_else(|e| panic!("{e:?}")))
            .collect();
        for session in &mut sessions {
            session.say(&query("select pg_sleep(1)")).unwrap();
        }
        for session in &mut sessions {
            session.rows().unwrap();
        }
        assert_eq!(admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 40);
        drop(sessions);
        let pid = process.pid().to_string();
        tools::run(std::process::Command::new("kill").args(["-TERM", &pid]));
        let stat = format!("/proc/{pid}/stat");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0, "{round}");
        process.assert_no_panic();
    }
}

#[tokio::test]
async fn a_cancel_reaches_its_session_through_another_process() {
    if bare::wanted() {
        return;
    }
    let fleet = Fleet::found(Cluster::start(), &settings("")).await;
    let (one, two) = (fleet.serve("one"), fleet.serve("two"));
    let id = fleet.create("slow");
    let login = Login::new("any", &fleet.token(&id), &format!("tenant_{id}"));
    for mode in ["transaction", "session"] {
        let login = login.clone().with("options", &format!("-c pgusher.pool_mode={mode}"));
        for version in [world::wire::V3_0, world::wire::V3_2] {
            let login = login.clone().version(version);
            let mut session = Conn::login(one.listen, &login).unwrap_or_else(|e| panic!("{e:?}"));
            let mut other = Conn::login(one.listen, &login).unwrap_or_else(|e| panic!("{e:?}"));
            other.say(&query("select pg_sleep(1)")).unwrap();
            session.say(&query("select pg_sleep(30)")).unwrap();
            // A wrong secret cancels nothing.
            let mut wrong = session.key.clone();
            wrong[0] ^= 1;
            let began = Instant::now();
            eventually(Duration::from_secs(20), "the query is cancelled", || {
                Conn::dial(two.listen).say(&cancel(session.pid, &wrong)).unwrap();
                Conn::dial(two.listen).say(&cancel(session.pid, &session.key)).unwrap();
                session.pipe.tcp().set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                let answer = session.rows().err()?;
                (answer.code != "hangs").then(|| assert_eq!(answer.code, "57014", "{answer:?}"))
            });
            assert!(began.elapsed() < Duration::from_secs(20));
            assert!(other.rows().is_ok(), "another session of the tenant is left alone");
            session.pipe.tcp().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            for round in 0..20 {
                session.say(&query("select pg_sleep(0.002)")).unwrap();
                let mut canceller = Conn::dial(two.listen);
                canceller.say(&cancel(session.pid, &session.key)).unwrap();
                assert!(canceller.farewell().is_empty());
                let _ = session.rows();
                // A cancel that has ended does not hit the next query.
                assert!(session.one("select pg_sleep(0.02)").is_ok(), "in round {round}");
            }
        }
    }
    let (mine, own) = (world::http::call(two.ops, "GET", "/metrics", &[], "").text, one.log());
    assert!(mine.contains(r#"pgusher_session_cancels_total{outcome="passed_on"}"#), "{own}");
}
