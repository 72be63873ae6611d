//! Session state in transaction mode, on two servers that all clients of the tenant share: what
//! the clients of a scenario hear is, message by message, what PostgreSQL says directly.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use world::wire::{self, Conn, Message, Refusal, columns};
use world::{Plan, World, bare, diff};

/// One step of a scenario: which client, and what it does.
#[derive(Clone, Copy)]
enum Do {
    /// Runs a statement.
    Run(usize, &'static str),
    /// Waits for a notification.
    Hear(usize),
}

use Do::{Hear, Run};

/// A client's statements one by one.
macro_rules! alone {
    ($($sql:literal),* $(,)?) => { &[$(Run(0, $sql)),*] };
}

/// What a session may do and expect, by name.
#[rustfmt::skip]
const SCENARIOS: &[(&str, &[Do])] = &[
    ("SET LOCAL", alone![
        "begin", "set local work_mem to '9MB'", "show work_mem", "set local datestyle to german",
        "select date '2020-02-01'", "commit", "show work_mem", "select date '2020-02-01'",
        "set local work_mem to '9MB'", "show work_mem", "begin", "set local my.own = 'x'",
        "show my.own", "rollback", "select coalesce(current_setting('my.own', true), '')",
    ]),
    ("SET that is rolled back", alone![
        "set work_mem to '5MB'", "begin", "set work_mem to '9MB'", "set timezone to 'Asia/Tokyo'",
        "show work_mem", "rollback", "show work_mem", "show timezone", "begin",
        "set my.own to 'gone'", "rollback", "select current_setting('my.own', true)", "begin",
        "set work_mem to '8MB'", "select 1/0", "commit", "show work_mem", "begin",
        "set work_mem to '8MB'", "commit", "show work_mem", "reset work_mem", "show work_mem",
    ]),
    ("SET behind a savepoint", alone![
        "begin", "set work_mem to '5MB'", "savepoint a", "set work_mem to '6MB'",
        "set my.own to 'inner'", "rollback to a", "show work_mem", "savepoint b",
        "set work_mem to '7MB'", "release b", "commit", "show work_mem",
        "select current_setting('my.own', true)", "begin", "savepoint a", "set work_mem to '11MB'",
        "rollback to a", "commit", "show work_mem",
    ]),
    ("SET of many kinds", alone![
        "set session characteristics as transaction isolation level serializable",
        "show default_transaction_isolation", "begin", "show transaction_isolation", "commit",
        "set time zone interval '-08:00' hour to minute", "show timezone",
        "set my.own to 'a''b\\c'", "show my.own", "reset my.own", "show my.own",
        "select set_config('my.own', 'set', false)", "show my.own",
        "select set_config('work_mem', '3MB', true)", "show work_mem",
        "set extra_float_digits to 0; set intervalstyle to iso_8601", "select interval '1 day'",
        "set bytea_output to escape", "select '\\x00ff'::bytea", "reset all", "show intervalstyle",
        "discard all", "show work_mem",
    ]),
    ("a temporary table across transactions", alone![
        "create temp table mine (n int primary key, t text)", "insert into mine values (1, 'one')",
        "begin", "insert into mine values (2, 'two')", "rollback", "select * from mine",
        "create temp view seen as select n from mine", "select * from seen",
        "create temp sequence s", "select nextval('s')", "select currval('s')",
        "create temp table brief (n int) on commit drop", "select * from brief", "begin",
        "create temp table brief (n int) on commit drop", "insert into brief values (3)",
        "select * from brief", "commit", "select * from brief", "drop view seen",
        "drop sequence s", "drop table mine", "select * from mine",
        "create temp table mine (n int)", "select * from mine", "discard temp",
        "select * from mine",
    ]),
    ("LISTEN and NOTIFY across two clients", &[
        Run(0, "listen news"), Run(1, "notify news, 'first'"), Hear(0), Run(1, "begin"),
        Run(1, "notify news, 'second'"), Run(0, "select 1"), Run(1, "commit"), Hear(0),
        Run(1, "begin"), Run(1, "notify news, 'never'"), Run(1, "rollback"),
        Run(0, "notify news, 'own'"), Run(1, "listen other"), Run(0, "notify other, 'across'"),
        Hear(1), Run(0, "select pg_listening_channels()"), Run(0, "unlisten *"),
        Run(0, "select pg_listening_channels()"), Run(1, "notify news, 'unheard'"),
        Run(0, "select 2"), Run(1, "unlisten other"),
    ]),
    ("an advisory lock across transactions", &[
        Run(0, "select pg_advisory_lock(815)"), Run(1, "select pg_try_advisory_lock(815)"),
        Run(0, "begin"), Run(0, "select pg_try_advisory_lock(815)"), Run(0, "rollback"),
        Run(0, "select pg_advisory_unlock(815)"), Run(1, "select pg_try_advisory_lock(815)"),
        Run(0, "select pg_advisory_unlock(815)"), Run(1, "select pg_try_advisory_lock(815)"),
        Run(0, "select pg_try_advisory_lock(815)"), Run(0, "select pg_advisory_unlock(815)"),
        Run(1, "begin"), Run(1, "select pg_advisory_xact_lock(816)"),
        Run(0, "select pg_try_advisory_lock(816)"), Run(1, "commit"),
        Run(0, "select pg_try_advisory_lock(816)"), Run(0, "select pg_advisory_unlock_all()"),
        Run(1, "select pg_advisory_unlock_all()"), Run(0, "select pg_try_advisory_lock(815)"),
        Run(0, "select pg_advisory_unlock(815)"),
    ]),
    ("a cursor WITH HOLD", alone![
        "begin", "declare c scroll cursor with hold for select generate_series(1, 9)",
        "fetch 2 from c", "commit", "fetch 3 from c", "select 1", "fetch backward 1 from c",
        "begin", "fetch 1 from c", "rollback", "fetch all from c", "move absolute 1 in c",
        "fetch next from c", "close c", "fetch 1 from c",
        "declare d cursor with hold for select 7", "fetch 1 from d", "close all", "fetch 1 from d",
        "begin", "declare gone cursor with hold for select 1", "rollback", "fetch 1 from gone",
    ]),
    ("SQL PREPARE and EXECUTE", alone![
        "prepare plus (int, int) as select $1 + $2 as sum", "execute plus(1, 2)", "begin",
        "execute plus(3, 4)", "prepare inside as select 'inside'", "rollback", "execute inside",
        "execute plus('x', 1)", "prepare plus as select 1",
        "explain (costs off) execute plus(1, 2)", "create table made as execute plus(5, 6)",
        "select * from made", "drop table made", "deallocate inside", "execute inside",
        "deallocate plus", "execute plus(1, 2)", "prepare again as select 1", "deallocate all",
        "execute again", "deallocate again",
    ]),
    ("what a DO does", alone![
        "do $$ begin perform set_config('my.own', 'done', false); end $$", "show my.own",
        "do $$ begin create temp table t as select 1 as n; end $$", "select * from t",
        "do $$ begin drop table t; perform pg_advisory_lock(9); end $$",
        "select pg_advisory_unlock(9)", "select pg_advisory_unlock(9)",
        "do $$ begin execute 'listen deep'; end $$", "select pg_listening_channels()",
        "unlisten *",
    ]),
];

/// Two servers for all clients of a tenant. Where a scenario holds both, others do not wait long.
fn small() -> World {
    let plan = Plan::tenants(1).set("limits.server_max", "2");
    World::start(plan.set("limits.queue_timeout", "200ms"))
}

/// A message as two servers would have to agree on it.
fn line(who: usize, message: &Message) -> String {
    let text = String::from_utf8_lossy(&message.body).replace('\0', "|");
    let told = match message.tag {
        b'D' => format!("{:?}", columns(&message.body)),
        b'E' | b'N' => {
            let said = Refusal::parse(&message.body);
            format!("{} {}", said.severity, said.text())
        }
        // Whoever sent it.
        b'A' => String::from_utf8_lossy(&message.body[4..]).replace('\0', "|"),
        b'T' => names(&message.body).join(","),
        b'Z' | b'C' | b'S' => text,
        _ => message.body.len().to_string(),
    };
    format!("{who} {} {told}", message.tag as char)
}

/// The names of a RowDescription; object ids differ.
fn names(body: &[u8]) -> Vec<String> {
    let (mut names, mut rest) = (Vec::new(), &body[2..]);
    while let Some(end) = rest.iter().position(|b| *b == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 19..];
    }
    names
}

/// Runs a scenario; between its steps the others have their turns.
fn transcript(
    clients: &mut [Conn],
    steps: &[Do],
    extended: bool,
    turn: &mut dyn FnMut(),
) -> String {
    let mut told = String::new();
    for step in steps {
        turn();
        match *step {
            Run(who, sql) => {
                told += &format!("{who} < {sql}\n");
                let single = !sql.contains(';');
                let asked = if extended && single { whole(sql) } else { wire::query(sql) };
                clients[who].say(&asked).unwrap();
                let heard = clients[who].hear_all().unwrap_or_else(|e| panic!("{sql}: {e:?}"));
                for message in heard {
                    told += &line(who, &message);
                    told += "\n";
                }
            }
            Hear(who) => {
                let message = clients[who].hear().unwrap();
                told += &line(who, &message);
                told += "\n";
            }
        }
    }
    told
}

/// A statement by the extended protocol.
fn whole(sql: &str) -> Vec<u8> {
    let describe = wire::message(b'D', b"P\0");
    [wire::parse("", sql), wire::bind("", &[]), describe, wire::execute(), wire::sync()].concat()
}

/// Every scenario, by both protocols, directly and through the pool while others come and go.
#[test]
fn session_state_reads_as_directly() {
    if bare::wanted() {
        return;
    }
    let world = small();
    let database = world.tenants[0].database();
    let mut others: Vec<_> = (0..4).map(|_| world.session(0)).collect();
    let mut differing = Vec::new();
    for (name, steps) in SCENARIOS {
        for extended in [false, true] {
            let mut direct: Vec<_> = (0..2).map(|_| world.superuser(&database)).collect();
            let wanted = transcript(&mut direct, steps, extended, &mut || {});
            drop(direct);
            let mut pooled: Vec<_> = (0..2).map(|_| world.session(0)).collect();
            let mut turns = 0;
            let mut turn = || {
                turns += 1;
                let mut free = true;
                for (at, other) in others.iter_mut().enumerate() {
                    free = free && disturb(other, turns + at);
                }
            };
            let got = transcript(&mut pooled, steps, extended, &mut turn);
            if let Some(difference) = diff::lines(&wanted, &got) {
                differing.push(format!("{name} (extended: {extended})\n{difference}"));
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    world.assert_no_panic();
}

/// Another client of the tenant: it changes its own settings, and needs the other server. `false`
/// when there is none: the scenario's two clients have one each.
fn disturb(other: &mut Conn, turn: usize) -> bool {
    let sql = match turn % 4 {
        0 => "set work_mem to '1MB'",
        1 => "begin; set local datestyle to sql; select 1; commit",
        2 => "set my.own to 'another''s'",
        _ => "reset all",
    };
    match other.query(sql) {
        Ok(_) => true,
        Err(refusal) if refusal.code == "53300" => false,
        Err(refusal) => panic!("another client: {sql}: {refusal:?}"),
    }
}
