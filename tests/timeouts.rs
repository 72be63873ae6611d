//! Timeouts per tenant, told as PostgreSQL tells its own; and the notice of a pin.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use world::wire::{self, Conn, Refusal};
use world::{Plan, World, bare, code, eventually};

fn session(world: &World, mode: &str) -> Conn {
    let options = format!("-c pgusher.pool_mode={mode} -c pgusher.notices=pins");
    let login = world.tenants[0].login().with("options", &options);
    world.login(&login).unwrap_or_else(|e| panic!("{mode}: {e:?}"))
}

/// What a session is told that is ended while it says nothing.
fn last_words(session: &mut Conn) -> Refusal {
    let heard = session.farewell();
    Refusal::parse(&heard.last().unwrap_or_else(|| panic!("not a word")).body)
}

#[test]
fn who_takes_longer_than_the_tenant_may_is_told_as_by_postgresql() {
    if bare::wanted() {
        return;
    }
    let plan = Plan::tenants(1).set("limits.query_timeout", "1s");
    let plan = plan.set("limits.transaction_timeout", "4s");
    let plan = plan.set("limits.idle_in_transaction_timeout", "2s");
    let world = World::start(plan.set("limits.client_idle_timeout", "5s"));
    for mode in ["transaction", "session"] {
        // A query is cancelled, and its session goes on; a transaction goes on to its rollback.
        let mut slow = session(&world, mode);
        let began = Instant::now();
        assert_eq!(code(slow.query("select pg_sleep(60)")), "57014", "{mode}");
        assert!(began.elapsed() < Duration::from_secs(10), "{mode}: {:?}", began.elapsed());
        assert_eq!(slow.one("select 'alive'").as_deref(), Ok("alive"), "{mode}");
        slow.query("begin").unwrap();
        assert_eq!(code(slow.query("select pg_sleep(60)")), "57014", "{mode}");
        assert_eq!(code(slow.query("select 1")), "25P02", "{mode}");
        slow.query("rollback").unwrap();

        // A transaction that is kept busy.
        let mut long = session(&world, mode);
        let began = Instant::now();
        long.query("begin").unwrap();
        let refusal = loop {
            match long.query("select pg_sleep(0.3)") {
                Ok(_) => assert!(began.elapsed() < Duration::from_secs(20), "{mode}"),
                Err(refusal) => break refusal,
            }
        };
        assert_eq!((&*refusal.severity, &*refusal.code), ("FATAL", "25P04"), "{mode}: {refusal:?}");
        assert!(began.elapsed() >= Duration::from_secs(4), "{mode}");

        // Idle, inside a transaction and outside.
        let (mut inside, mut outside) = (session(&world, mode), session(&world, mode));
        inside.query("begin").unwrap();
        outside.query("select 1").unwrap();
        let said = last_words(&mut inside);
        assert_eq!((&*said.severity, &*said.code), ("FATAL", "25P03"), "{mode}: {said:?}");
        let said = last_words(&mut outside);
        assert_eq!((&*said.severity, &*said.code), ("FATAL", "57P05"), "{mode}: {said:?}");
    }
    world.assert_no_panic();
}

#[test]
fn a_tenant_s_own_timeouts_are_changed_live() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(1));
    let mut client = session(&world, "transaction");
    client.query("select pg_sleep(0.5)").unwrap();
    let id = &world.tenants[0].id;
    world.cli(&["tenant", "limits", id, "--query-timeout", "200ms"]);
    eventually(Duration::from_secs(20), "the timeout is in force", || {
        (code(client.query("select pg_sleep(1)")) == "57014").then_some(())
    });
    world.cli(&["tenant", "limits", id, "--reset"]);
    eventually(Duration::from_secs(20), "the timeout is gone", || {
        client.query("select pg_sleep(1)").ok()
    });
    // Those of what is under way as well.
    for mode in ["transaction", "session"] {
        let mut conns = [(); 3].map(|()| session(&world, mode));
        let [busy, inside, outside] = &mut conns;
        inside.query("begin").unwrap();
        busy.say(&wire::query("select pg_sleep(60)")).unwrap();
        let flags = ["--query-timeout", "--idle-in-transaction-timeout"];
        let limits = flags.iter().flat_map(|flag| [*flag, "1s"]);
        let said = ["tenant", "limits", id].into_iter().chain(limits).collect::<Vec<_>>();
        world.cli(&said);
        assert_eq!(last_words(inside).code, "25P03", "{mode}");
        assert_eq!(code(busy.rows()), "57014", "{mode}");
        assert_eq!(outside.one("select 1").as_deref(), Ok("1"));
        world.cli(&["tenant", "limits", id, "--reset"]);
        eventually(Duration::from_secs(20), "the timeouts are gone", || {
            outside.query("select pg_sleep(2)").ok()
        });
    }
    let shown = world.cli(&["tenant", "limits", id, "--client-idle-timeout", "90s", "--json"]);
    assert!(shown.contains("90000"), "{shown}");
}

/// pgusher's own question is given up after a minute. Its process would wait on for as long as the lock
/// is held, and so would its place among the tenant's servers.
#[test]
fn a_server_whose_question_is_given_up_ends() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(1));
    let database = world.tenants[0].database();
    let (mut holder, mut watcher) = (world.superuser(&database), world.superuser("postgres"));
    holder.query("begin; lock table pg_catalog.pg_cursors").unwrap();
    let mut client = world.session(0);
    client.say(&wire::query("select set_config('app.x', '1', false)")).unwrap();
    let waiting = format!(
        "select count(*) from pg_stat_activity \
         where datname = '{database}' and wait_event_type = 'Lock'"
    );
    let mut waits = |count: &str| (watcher.one(&waiting).as_deref() == Ok(count)).then_some(());
    eventually(Duration::from_secs(20), "the question waits", || waits("1"));
    eventually(Duration::from_secs(90), "its process has ended", || waits("0"));
    assert_eq!(last_words(&mut client).code, "08006");
    holder.query("rollback").unwrap();
    assert_eq!(world.session(0).one("select 1").as_deref(), Ok("1"));
}

/// A server that waits to be read reads nothing itself: it takes the end of its session all the same.
#[test]
fn a_server_left_in_the_middle_of_both_ways_ends() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(1).set("limits.server_max", "1"));
    let mut client = world.session(0);
    // While it sleeps the next question fills what there is of buffers towards it; then it answers, and
    // nobody reads that.
    let answer = wire::query("select pg_sleep(2), repeat('x', 200000000)");
    let next = wire::query(&format!("select length('{}')", "y".repeat(60_000_000)));
    client.pipe.tcp().set_write_timeout(Some(Duration::from_secs(4))).unwrap();
    let said = client.say(&[answer, next].concat());
    assert!(said.is_err(), "more is buffered than was thought");
    drop(client);
    let mut other = world.session(0);
    assert_eq!(other.one("select 'served'").as_deref(), Ok("served"));
}

#[test]
fn who_asks_is_told_why_it_is_pinned() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(1));
    let mut client = session(&world, "transaction");
    client.query("create temp table mine (n int)").unwrap();
    client.query("listen news").unwrap();
    client.query("select 1").unwrap();
    let told: Vec<_> = client.notices.iter().map(|notice| notice.message.clone()).collect();
    let start = "session pinned to its server connection: ";
    assert_eq!(told, [format!("{start}temp_table"), format!("{start}temp_table, listen")]);
    assert!(client.notices[0].detail.contains("1 of at most 10"), "{:?}", client.notices);
    client.query("drop table mine").unwrap();
    client.query("unlisten *").unwrap();
    let mut other = world.session(0);
    other.query("create temp table quiet (n int)").unwrap();
    other.query("select 1").unwrap();
    assert!(other.notices.is_empty(), "{:?}", other.notices);
}
