//! What the owner of a database may write into it, and how much of that comes to pgusher itself.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use serde_json::json;
use world::http::{Answer, call};
use world::wire::Conn;
use world::{Plan, Tenant, World, bare, report};

/// What all attacks together may add to the highest resident memory.
const MEMORY: u64 = 64 << 20;

fn login(world: &World, tenant: &Tenant) -> Answer {
    let body = json!({ "email": tenant.email, "password": tenant.password });
    call(world.http, "POST", "/api/auth/login", &[], &body.to_string())
}

fn run(session: &mut Conn, sql: &str) {
    session.query(sql).unwrap_or_else(|refused| panic!("{sql}: {refused:?}"));
}

#[test]
fn a_hundred_megabytes_in_an_admin_s_row_stay_in_the_tenant_s_database() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(2));
    let (hostile, neighbour) = (&world.tenants[0], &world.tenants[1]);
    assert_eq!(login(&world, hostile).status, 200);
    let before = world.rss_peak();
    let mut owner = world.superuser(&hostile.database());

    run(&mut owner, r#"alter table "Admin" alter "firstName" type text"#);
    run(&mut owner, r#"update "Admin" set "firstName" = repeat('x', 100000000)"#);
    let answer = login(&world, hostile);
    assert_eq!(answer.status, 200, "the rest of the row is good: {answer:?}");
    assert_eq!(answer.json["admin"]["firstName"], "", "{answer:?}");

    // In place of the hash, the role, the second factor's secret.
    run(&mut owner, r#"update "Admin" set "firstName" = 'x', "password" = repeat('x', 100000000)"#);
    let answer = login(&world, hostile);
    assert_eq!(answer.status, 401, "{answer:?}");

    // Not in the row at all, but in everything the server says while it is read.
    run(
        &mut owner,
        r#"create function shout() returns text language plpgsql as $$ begin
               raise notice '%', repeat('x', 100000000); return ''; end $$;
           alter table "Admin" rename to "Admin_";
           create view "Admin" as select *, shout() as shouted from "Admin_";
           grant select on "Admin" to pgusher_sidecar, pgusher_app;
           grant execute on function shout() to pgusher_sidecar, pgusher_app"#,
    );
    for _ in 0..4 {
        let answer = login(&world, hostile);
        assert!(answer.status >= 500, "{answer:?}");
        assert_eq!(login(&world, neighbour).status, 200);
    }
    assert!(world.log().contains("more than it may"), "it is told why");
    let grown = world.rss_peak().saturating_sub(before);
    report(&format!("rows of 100 MB: {} MiB more at the peak", grown >> 20));
    assert!(grown < MEMORY, "{grown} bytes more");
    world.assert_no_panic();
}
