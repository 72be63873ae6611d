//! A tenant whose database takes messages and never ends with them.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod world;

use std::time::Duration;

use world::telnyx::{bring, inbound};
use world::{Plan, World, eventually};

const NUMBER: &str = "+15550700001";

/// Webhooks of one tenant at work at once, as configured by default.
const EACH: usize = 8;

fn bring_many(world: &World) {
    std::thread::scope(|scope| {
        for n in 0..EACH {
            // Each of a sender of its own: they do not wait for one another.
            let body = inbound(&format!("+1555080000{n}"), &[NUMBER], "stuck").to_string();
            scope.spawn(move || bring(world.http, &body).assert_problem(503));
        }
    });
}

#[test]
fn what_is_given_up_stops_in_the_tenants_server_too() {
    let world = World::start(Plan::tenants(2).telnyx().set("sms.intake.finish_timeout", "3s"));
    let tenant = &world.tenants[0];
    world.cli(&["tenant", "phone", "assign", &tenant.id, NUMBER]);
    let mut owner = world.session(0);
    owner
        .query(
            r#"CREATE FUNCTION sleepy() RETURNS trigger LANGUAGE plpgsql AS
               $f$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $f$;
               CREATE TRIGGER sleepy BEFORE INSERT ON "ConversationMessage"
               FOR EACH ROW EXECUTE FUNCTION sleepy()"#,
        )
        .unwrap();
    let mut admin = world.superuser("postgres");
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state = 'active'",
        tenant.database()
    );
    let mut at_work = || admin.one(&sql).unwrap().parse::<usize>().unwrap();
    bring_many(&world);
    assert!(at_work() > 0, "it hangs");
    eventually(Duration::from_secs(8), "what was given up has stopped", || {
        (at_work() == 0).then_some(())
    });
    bring_many(&world);
    assert!((1..=EACH).contains(&at_work()), "{}", at_work());
    world.assert_no_panic();
}
