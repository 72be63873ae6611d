//! A tenant whose servers are others from one moment to the next: its row's `databaseUrl` changes
//! under live sessions.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub, missing_docs)]

mod cluster;
mod fleet;
mod world;

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{Cluster, until};
use fleet::{Fleet, Process};
use pgusher::ident::Role;
use world::wire::{Conn, Login, query};
use world::{bare, code, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// One adopted tenant, and a second database and a second login for it to go to.
async fn adopted() -> (Fleet, Process, Login) {
    adopted_with("[limits]\nserver_max = 4\nqueue_timeout = '60s'").await
}

async fn adopted_with(more: &str) -> (Fleet, Process, Login) {
    let fleet = Fleet::found(Cluster::start(), more).await;
    fleet.adopt(&["old".into()], 50).await;
    let admin = fleet.server.connect("postgres").await;
    for sql in [
        "CREATE DATABASE tenant_new OWNER shared",
        "CREATE ROLE another LOGIN PASSWORD 'pw'",
        "GRANT shared TO another",
    ] {
        admin.batch_execute(sql).await.unwrap();
    }
    let process = fleet.serve("one");
    let login = Login::new("any", &fleet.token("old"), "app");
    (fleet, process, login)
}

async fn set_url(fleet: &Fleet, login: &str, database: &str) {
    set_url_at(fleet, fleet.server.port, login, database).await;
}

async fn set_url_at(fleet: &Fleet, port: u16, login: &str, database: &str) {
    let url = format!("postgresql://{login}@127.0.0.1:{port}/{database}?sslmode=disable");
    let sql = format!(r#"UPDATE "Tenant" SET "databaseUrl" = '{url}' WHERE "id" = 'old'"#);
    fleet.registry(&sql).await;
}

fn session(process: &Process, login: &Login) -> Conn {
    Conn::login(process.listen, login).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Where a session is, and as whom.
fn place(session: &mut Conn) -> String {
    session.one("select current_database() || ' ' || session_user").unwrap()
}

/// Its own last word, however often it has to be asked before.
fn last_word(session: &mut Conn, was: &str) -> String {
    eventually(PATIENCE, "the session is cut", || {
        match session.one("select current_database() || ' ' || session_user") {
            Ok(now) => {
                assert_eq!(now, was, "a session does not move");
                None
            }
            Err(refusal) => Some(refusal.code),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_url_replaces_servers_and_cuts_those_who_held_the_old_ones() {
    if bare::wanted() {
        return;
    }
    let (fleet, process, login) = adopted().await;
    let own = login.clone().with("options", "-c pgusher.pool_mode=session");
    let admin = fleet.server.connect("postgres").await;
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND usename = $2";
    let mut was = ("tenant_old", "shared", "shared:pw");
    for next in [
        ("tenant_new", "shared", "shared:pw"),
        ("tenant_new", "another", "another:pw"),
        ("tenant_old", "shared", "shared:pw"),
    ] {
        let (old, new) = (format!("{} {}", was.0, was.1), format!("{} {}", next.0, next.1));
        let mut idle = session(&process, &login);
        let mut busy = session(&process, &login);
        let mut alone = session(&process, &own);
        for session in [&mut idle, &mut busy, &mut alone] {
            assert_eq!(place(session), old);
        }
        busy.query("begin").unwrap();
        set_url(&fleet, next.2, next.0).await;
        for session in [&mut idle, &mut busy, &mut alone] {
            assert_eq!(last_word(session, &old), "57P01", "{old} to {new}");
        }
        for login in [&login, &own] {
            let mut fresh = session(&process, login);
            assert_eq!(place(&mut fresh), new);
        }
        let deadline = std::time::Instant::now() + PATIENCE;
        while admin.query_one(left, &[&was.0, &was.1]).await.unwrap().get::<_, i64>(0) > 0 {
            assert!(std::time::Instant::now() < deadline, "the old servers are closed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        was = next;
    }
    process.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_cuts_and_a_changed_name_or_cap_does_not() {
    if bare::wanted() {
        return;
    }
    let (fleet, process, login) = adopted().await;
    let mut held = session(&process, &login);
    assert_eq!(place(&mut held), "tenant_old shared");
    let pid = held.one("select pg_backend_pid()").unwrap();
    let sql = r#"UPDATE "Tenant" SET "name" = 'Another' WHERE "id" = 'old'"#;
    fleet.registry(sql).await;
    let sql = r#"UPDATE "Tenant" SET "databaseUrl" = "databaseUrl" || '&connection_limit=3'"#;
    fleet.registry(sql).await;
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(held.one("select pg_backend_pid()").unwrap(), pid);
    let admin = fleet.server.connect("postgres").await;
    admin.batch_execute("ALTER ROLE shared PASSWORD 'other'").await.unwrap();
    set_url(&fleet, "shared:other", "tenant_old").await;
    assert_eq!(last_word(&mut held, "tenant_old shared"), "57P01");
    assert_ne!(session(&process, &login).one("select pg_backend_pid()").unwrap(), pid);
    set_url(&fleet, "shared:wrong", "tenant_old").await;
    eventually(PATIENCE, "the new password is what counts", || {
        (code(Conn::login(process.listen, &login)) == "08006").then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_readonly_token_of_an_adopted_tenant_reads_unless_it_asks_for_more() {
    if bare::wanted() {
        return;
    }
    let (fleet, process, login) = adopted().await;
    let reader = Login { password: fleet.token_as("old", Role::Readonly), ..login.clone() };
    session(&process, &login).query("create table t (n int)").unwrap();
    let mut reader = session(&process, &reader);
    assert_eq!(reader.one("select count(*) from t").as_deref(), Ok("0"));
    assert_eq!(code(reader.query("insert into t values (1)")), "25006");
    session(&process, &login).query("insert into t values (1)").unwrap();
}

/// A way to PostgreSQL on which nothing moves while it is blocked.
struct Road {
    port: u16,
    is_blocked: Arc<AtomicBool>,
    dials: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Road {
    fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let road =
            Self { port, is_blocked: Arc::default(), dials: Arc::default(), open: Arc::default() };
        let (is_blocked, dials, open) =
            (Arc::clone(&road.is_blocked), Arc::clone(&road.dials), Arc::clone(&road.open));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                dials.fetch_add(1, SeqCst);
                let (is_blocked, open) = (Arc::clone(&is_blocked), Arc::clone(&open));
                std::thread::spawn(move || {
                    while is_blocked.load(SeqCst) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                    open.lock().unwrap().push(server.try_clone().unwrap());
                    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                    std::thread::spawn(move || carry(back.0, back.1));
                    carry(client, server);
                });
            }
        });
        road
    }

    /// Ends all that is open.
    fn cut(&self) {
        self.open.lock().unwrap().drain(..).for_each(|server| {
            let _ = server.shutdown(Shutdown::Both);
        });
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// A client that leaves while its server is dialled leaves the dial to those behind it: PostgreSQL
/// counts the connection until it has answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_is_given_up_keeps_its_place_and_serves_the_next() {
    if bare::wanted() {
        return;
    }
    let more = "[limits]\nserver_max = 1\nqueue_timeout = '60s'";
    let (fleet, process, login) = adopted_with(more).await;
    let road = Road::to(fleet.server.port);
    set_url_at(&fleet, road.port, "shared:pw", "tenant_old").await;
    let mut next = eventually(PATIENCE, "the tenant's server is behind the road", || {
        let session = Conn::login(process.listen, &login).ok();
        session.filter(|_| road.dials.load(SeqCst) > 0)
    });
    let mut first = session(&process, &login);
    road.is_blocked.store(true, SeqCst);
    road.cut();
    // By then it is known that the idle server has gone.
    let idle = "select 1 from pg_stat_activity where datname = 'tenant_old'";
    let admin = fleet.server.connect("postgres").await;
    let is_gone = || async { admin.query(idle, &[]).await.unwrap().is_empty() };
    until("the idle server has gone", is_gone).await;
    let before = road.dials.load(SeqCst);
    first.say(&query("select 1")).unwrap();
    eventually(PATIENCE, "a dial", || (road.dials.load(SeqCst) > before).then_some(()));
    drop(first);
    next.say(&query("select 2")).unwrap();
    // What was asked by who has left is given up after five seconds.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(road.dials.load(SeqCst), before + 1, "dialled beyond the cap");
    road.is_blocked.store(false, SeqCst);
    assert_eq!(next.rows().unwrap()[0][0].as_deref(), Some("2"));
    assert_eq!(road.dials.load(SeqCst), before + 1, "it got the server of the one that left");
    process.assert_no_panic();
}
