//! A suspended tenant's logins are shut on PostgreSQL itself, whoever heard of it and when.
#![allow(clippy::unwrap_used, clippy::large_futures, unreachable_pub, missing_docs)]

mod cluster;
mod fleet;
mod world;

use cluster::{Cluster, until};
use fleet::Fleet;
use world::bare;
use world::tools::pgusher;
use world::wire::{Conn, Login};

async fn found() -> Fleet {
    let settings = "[servers.main]\nadmin_url = '{admin_url}'";
    Fleet::found(Cluster::start(), settings).await
}

fn suspend(fleet: &Fleet, id: &str) {
    let (exit, said) = pgusher(&["tenant", "suspend", id, "--config", &fleet.config()]);
    assert_eq!(exit, 0, "{said}");
}

fn resume(fleet: &Fleet, id: &str) {
    let (exit, said) = pgusher(&["tenant", "resume", id, "--config", &fleet.config()]);
    assert_eq!(exit, 0, "{said}");
}

/// How many of the tenant's four logins may log in.
async fn open(fleet: &Fleet, id: &str) -> i64 {
    let admin = fleet.server.connect("postgres").await;
    let sql = "SELECT count(*) FROM pg_roles WHERE rolcanlogin AND starts_with(rolname, $1)";
    admin.query_one(sql, &[&format!("t_{id}_")]).await.unwrap().get(0)
}

#[tokio::test]
async fn one_suspended_while_no_process_ran_is_shut_by_the_next_start() {
    if bare::wanted() {
        return;
    }
    let fleet = found().await;
    let (id, other) = (fleet.create("quiet"), fleet.create("other"));
    suspend(&fleet, &id);
    assert_eq!(open(&fleet, &id).await, 4, "nobody heard");
    let process = fleet.serve("one");
    until("it is shut", || async { open(&fleet, &id).await == 0 }).await;
    assert_eq!(open(&fleet, &other).await, 4);
    process.assert_no_panic();
}

#[tokio::test]
async fn one_suspended_while_its_server_was_away_is_shut_when_that_is_back() {
    if bare::wanted() {
        return;
    }
    let fleet = found().await;
    let id = fleet.create("away");
    let process = fleet.serve("one");
    fleet.server.down();
    suspend(&fleet, &id);
    until("it was tried", || async { process.log().contains("could not be told") }).await;
    fleet.server.up();
    until("it is shut", || async { open(&fleet, &id).await == 0 }).await;
    resume(&fleet, &id);
    until("it is open again", || async { open(&fleet, &id).await == 4 }).await;
    process.assert_no_panic();
}

#[tokio::test]
async fn a_refused_dial_opens_no_login_that_a_suspension_shut() {
    if bare::wanted() {
        return;
    }
    let fleet = found().await;
    let id = fleet.create("shut");
    let process = fleet.serve("one");
    let login = Login::new("any", &fleet.token(&id), &format!("tenant_{id}"));
    let at = process.listen;
    drop(Conn::login(at, &login).unwrap_or_else(|e| panic!("{e:?}")));
    // This process hears nothing of it; another one shuts the logins and ends the sessions.
    fleet.registry("DROP TRIGGER pgusher_changes ON pgusher.tenants").await;
    suspend(&fleet, &id);
    let admin = fleet.server.connect("postgres").await;
    for role in ["own", "app", "ro", "sys"] {
        let shut = format!("ALTER ROLE t_{id}_{role} NOLOGIN");
        admin.batch_execute(&shut).await.unwrap_or_else(|e| panic!("{shut}: {e:?}"));
    }
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tenant_{id}'"
    );
    admin.batch_execute(&end).await.unwrap();
    until("it is refused as suspended", || async {
        let tried = Conn::login(at, &login).and_then(|mut session| session.one("select 1"));
        tried.is_err_and(|refusal| refusal.code == "57P03")
    })
    .await;
    assert_eq!(open(&fleet, &id).await, 0);
    process.assert_no_panic();
}
