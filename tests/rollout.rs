//! The fleet's schema: canary first, one transaction a tenant, killed and resumed, nobody between
//! versions, and nothing a tenant planted runs with the provisioner's powers.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use world::operator::config;
use world::tools::{self, pgusher as run};
use world::wire::Conn;
use world::{Plan, World, bare, eventually};

/// The tenant schema as shipped, and two migrations more: what the fleet is brought to.
fn next_schema(world: &World) -> PathBuf {
    let folder = world.dir.join("schema");
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(tools::root().join("config/schema/tenant")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let write = |name: &str, sql: &str| fs::write(folder.join(name), sql).unwrap();
    write("0004_nick.sql", r#"ALTER TABLE "Member" ADD COLUMN "nick" text;"#);
    write(
        "0005_extra.sql",
        r#"CREATE TABLE "Extra" ("id" integer PRIMARY KEY);
           UPDATE "Member" SET "nick" = 'none';
           SELECT pg_sleep(0.02);"#,
    );
    folder
}

fn migrate(file: &str, more: &[&str]) -> (i32, Value) {
    run(&[&["migrate", "tenants", "--config", file], more].concat())
}

/// What a tenant's own history says, and whether the tables agree.
fn version(world: &World, database: &str) -> String {
    let mut inside = world.superuser(database);
    let sql = "SELECT (SELECT max(number) FROM public._pgusher_migrations) || '/' ||
        (SELECT count(*) FROM information_schema.columns WHERE column_name = 'nick') || '/' ||
        (SELECT count(*) FROM pg_class WHERE relname = 'Extra' AND relkind = 'r')";
    inside.query(sql).unwrap()[0][0].clone().unwrap()
}

fn registry_says(registry: &mut Conn, version: &str) -> u64 {
    let sql = format!(r#"SELECT count(*) FROM "Tenant" WHERE "schemaVersion" = '{version}'"#);
    registry.query(&sql).unwrap()[0][0].as_ref().unwrap().parse().unwrap()
}

fn kill_halfway(world: &World, file: &str, tenants: u64) {
    let canary = &*world.tenants[0].id;
    let mut child = Command::new(env!("CARGO_BIN_EXE_pgusher"))
        .args(["migrate", "tenants", "--config", file, "--canary", canary, "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut registry = world.superuser(&world.registry_database());
    eventually(Duration::from_secs(120), "half of them are migrated", || {
        (registry_says(&mut registry, "5") >= tenants / 2).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_fleet_is_migrated_over_a_failure_and_a_kill() {
    if bare::wanted() {
        return;
    }
    let tenants = tools::env_or("PGUSHER_ROLLOUT_TENANTS", 12);
    let world = World::start(Plan::tenants(usize::try_from(tenants).unwrap()));
    let folder = next_schema(&world);
    let file = config(&world, &format!("[schema]\ntenant = '{}'\n", folder.display()));
    // One whose own table is in the way of the second migration.
    let broken = &world.tenants[usize::try_from(tenants / 3).unwrap()];
    world.session(0).query("SELECT 1").unwrap();
    world.superuser(&broken.database()).query(r#"CREATE TABLE public."Extra" (x text)"#).unwrap();
    let (exit, status) = migrate(&file, &["--status"]);
    assert_eq!(exit, 1, "{status}");
    assert_eq!(status["versions"][0]["tenants"], tenants, "{status}");

    // A failing canary stops everything.
    let (exit, report) = migrate(&file, &["--canary", &broken.id]);
    assert_eq!((exit, &report["migrated"]), (1, &0.into()), "{report}");
    assert!(report["stopped"].as_str().unwrap().contains("canary"), "{report}");

    kill_halfway(&world, &file, tenants);
    for tenant in &world.tenants {
        let at = version(&world, &tenant.database());
        let whole = ["3/0/0", "5/1/1"].contains(&&*at);
        assert!(whole || (tenant.id == broken.id && at == "3/0/1"), "{}: {at}", tenant.id);
    }

    // A tenant made meanwhile has the new version at once.
    let (exit, made) = run(&[
        "tenant",
        "create",
        "--config",
        &file,
        "--email",
        "late@example.org",
        "--name",
        "Late",
        "--first-name",
        "L",
        "--last-name",
        "Ate",
    ]);
    assert_eq!(exit, 0, "{made}");
    assert_eq!(version(&world, made["databaseName"].as_str().unwrap()), "5/1/1");

    let (exit, report) = migrate(&file, &[]);
    assert_eq!(exit, 1, "{report}");
    let failed = report["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{report}");
    assert_eq!(failed[0]["tenantId"], *broken.id, "{report}");
    let reason = failed[0]["reason"].as_str().unwrap();
    assert!(reason.contains("0005_extra") && reason.contains("already exists"), "{reason}");
    assert_eq!(version(&world, &broken.database()), "3/0/1");
    let mut registry = world.superuser(&world.registry_database());
    assert_eq!(registry_says(&mut registry, "5"), tenants);
    let (exit, status) = migrate(&file, &["--status"]);
    assert_eq!((exit, &status["behind"]), (1, &serde_json::json!([broken.id])), "{status}");

    world.superuser(&broken.database()).query(r#"DROP TABLE public."Extra""#).unwrap();
    let (exit, report) = migrate(&file, &[]);
    assert_eq!((exit, &report["migrated"]), (0, &1.into()), "{report}");
    for tenant in &world.tenants {
        assert_eq!(version(&world, &tenant.database()), "5/1/1", "{}", tenant.id);
    }
    let (exit, status) = migrate(&file, &["--status"]);
    assert_eq!(exit, 0, "{status}");
    // And the tenants are served as before, with the new column.
    let rows = world.session(0).query(r#"SELECT count("nick") FROM "Member""#).unwrap();
    assert_eq!(rows.len(), 1);
    eprintln!("migrated {} tenants, one after a failure", tenants + 1);
}

/// Plants triggers where migrations write: on the product's table, and on the history.
const PLANT: &str = r#"
    CREATE TABLE loot (what text, who text, super boolean);
    CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RESET ROLE;
        INSERT INTO public.loot SELECT TG_TABLE_NAME, session_user, rolsuper OR rolcreaterole
            FROM pg_roles WHERE rolname = session_user;
        RETURN NEW;
    END $$;
    CREATE TRIGGER steal BEFORE INSERT OR UPDATE ON "Member"
        FOR EACH ROW EXECUTE FUNCTION steal();
    INSERT INTO "Member" ("phone") VALUES ('+15550000000');
    CREATE TRIGGER steal BEFORE INSERT ON _pgusher_migrations
        FOR EACH ROW EXECUTE FUNCTION steal();
    TRUNCATE loot;"#;

#[test]
fn what_a_tenant_planted_runs_with_its_own_powers_only() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(2));
    let folder = next_schema(&world);
    let file = config(&world, &format!("[schema]\ntenant = '{}'\n", folder.display()));
    let mut owner = world.session(0);
    owner.query(PLANT).unwrap_or_else(|e| panic!("{e:?}"));
    // A suspended tenant is migrated all the same, and its logins stay shut; they are shut again where a
    // migration was killed that had opened them.
    let suspended = &world.tenants[1].id;
    world.cli(&["tenant", "suspend", suspended]);
    let mut admin = world.superuser("postgres");
    let open =
        format!("SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname LIKE '%{suspended}%'");
    eventually(Duration::from_secs(20), "they are shut", || {
        (admin.one(&open).as_deref() == Ok("f")).then_some(())
    });
    admin.query(&format!("ALTER ROLE t_{suspended}_own LOGIN")).unwrap();
    let (exit, report) = migrate(&file, &[]);
    assert_eq!((exit, &report["migrated"]), (0, &2.into()), "{report}");
    let loot = world.superuser(&world.tenants[0].database());
    let seen = { loot }.query("SELECT DISTINCT what, who, super FROM loot ORDER BY 1").unwrap();
    assert!(!seen.is_empty(), "the trap was never stepped into");
    for row in &seen {
        let who = row[1].as_deref().unwrap();
        assert!(who.contains(&world.tenants[0].id), "ran as {who}");
        assert_eq!(row[2].as_deref(), Some("f"), "ran as {who}");
    }
    assert_eq!(admin.one(&open).as_deref(), Ok("f"));
}

#[test]
fn what_tenants_do_to_themselves_stops_nobody_elses_migration() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(6));
    let folder = next_schema(&world);
    let file = config(&world, &format!("[schema]\ntenant = '{}'\n", folder.display()));
    let mut ids: Vec<_> = world.tenants.iter().map(|tenant| tenant.id.clone()).collect();
    ids.sort();
    let inside = |n: usize| world.superuser(&format!("tenant_{}", ids[n]));
    // A history forged, one that is ahead, and a table somebody holds for good.
    inside(0).query("UPDATE public._pgusher_migrations SET digest = repeat('x', 1000)").unwrap();
    let ahead = "INSERT INTO public._pgusher_migrations VALUES (99, 'ahead', 'x')";
    inside(1).query(ahead).unwrap();
    let mut holder = inside(2);
    holder.query(r#"BEGIN; LOCK TABLE "Member""#).unwrap();
    // And one whose table is in the way: that might be the migration's fault.
    inside(4).query(r#"CREATE TABLE public."Extra" (x text)"#).unwrap();
    let quick = ["--failures-max", "1", "--at-once", "1", "--lock-timeout", "100ms"];
    let (exit, report) = migrate(&file, &quick);
    assert_eq!(exit, 1, "{report}");
    let failed: Vec<_> = report["failed"].as_array().unwrap().iter().collect();
    let failed: Vec<_> = failed
        .iter()
        .map(|one| (one["tenantId"].as_str().unwrap(), one["byOwner"].as_bool().unwrap()))
        .collect();
    let wanted = [(&*ids[0], true), (&*ids[1], true), (&*ids[2], true), (&*ids[4], false)];
    assert_eq!(failed, wanted, "{report}");
    // The fourth was the canary; the fifth was the one failure that counts.
    assert_eq!(report["migrated"], 1, "{report}");
    assert!(report["stopped"].as_str().unwrap().contains("no more are tried"), "{report}");
    assert_eq!(version(&world, &format!("tenant_{}", ids[3])), "5/1/1");
    drop(holder);
    inside(4).query(r#"DROP TABLE public."Extra""#).unwrap();
    let (_, report) = migrate(&file, &quick);
    assert_eq!(report["migrated"], 3, "{report}");
    assert_eq!(report["stopped"], Value::Null, "{report}");
}

#[test]
fn a_tenant_dropped_while_it_is_migrated_leaves_no_logins() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(2));
    let folder = next_schema(&world);
    fs::write(folder.join("0005_extra.sql"), "SELECT pg_sleep(2);").unwrap();
    let section = format!("[schema]\ntenant = '{}'\n", folder.display());
    let file = config(&world, &section);
    let gone = world.tenants.iter().map(|tenant| tenant.id.clone()).min().unwrap();
    let rollout = std::thread::spawn({
        let file = file.clone();
        move || migrate(&file, &[])
    });
    let mut admin = world.superuser("postgres");
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
         AND datname = 'tenant_{gone}' AND query LIKE '%pg_sleep%'"
    );
    eventually(Duration::from_secs(60), "it is being migrated", || {
        (admin.one(&asleep).unwrap() == "1").then_some(())
    });
    let (exit, dropped) = run(&["tenant", "drop", &gone, "--yes", "--config", &file]);
    assert_eq!(exit, 0, "{dropped}");
    let (exit, report) = rollout.join().unwrap();
    assert_eq!((exit, &report["migrated"]), (0, &1.into()), "{report}");
    assert_eq!(report["failed"], serde_json::json!([]), "{report}");
    let left = format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE 't_{gone}_%'");
    assert_eq!(admin.one(&left).as_deref(), Ok("0"));
}

fn write_tenant(world: &World, id: &str) {
    let mut registry = world.superuser(&world.registry_database());
    let (server, superuser) = (world.server_addr(), world.superuser_name());
    let url = format!("postgresql://{superuser}@{server}/old_{id}?sslmode=disable");
    registry
        .query(&format!(
            r#"INSERT INTO "Church" ("id", "name", "email") VALUES ('{id}', 'Old', '{id}@old.org');
               INSERT INTO "Tenant" ("id", "churchId", "name", "email", "databaseUrl",
                   "databaseHost", "databaseName")
               VALUES ('{id}', '{id}', 'Old', '{id}@old.org', '{url}', 'h', 'old_{id}')"#
        ))
        .unwrap_or_else(|e| panic!("{e:?}"));
}

fn sql_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_database_of_another_system_is_taken_over_by_one_command() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(2));
    let folder = next_schema(&world);
    let file = config(&world, &format!("[schema]\ntenant = '{}'\n", folder.display()));
    write_tenant(&world, "older");
    world.superuser("postgres").query("CREATE DATABASE old_older").unwrap();
    let mut old = world.superuser("old_older");
    for name in ["0001_organisation.sql", "0002_messaging.sql", "0003_operations.sql"] {
        old.query(&sql_of(&folder.join(name))).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    }
    let prisma = r#"CREATE TABLE _prisma_migrations (id text);
                    ALTER TABLE "Branch" DROP COLUMN "city""#;
    old.query(prisma).unwrap();
    let (exit, status) = migrate(&file, &["--status"]);
    assert_eq!((exit, &status["notTakenOver"]), (1, &1.into()), "{status}");

    let adopt =
        |more: &[&str]| run(&[&["migrate", "adopt", "older", "--config", &file], more].concat());
    let (exit, seen) = adopt(&["--dry-run"]);
    assert_eq!((exit, &seen["takenOver"]), (0, &false.into()), "{seen}");
    let (exit, done) = adopt(&[]);
    assert_eq!(exit, 0, "{done}");
    assert_eq!((&done["prisma"], &done["schemaVersion"]), (&true.into(), &3.into()), "{done}");
    assert_eq!(done["columnsMissing"], serde_json::json!(["Branch.city"]), "{done}");
    assert_eq!(done["takenOver"], true);
    let again = adopt(&[]);
    assert_eq!(again.0, 0, "{}", again.1);

    let (exit, report) = migrate(&file, &[]);
    assert_eq!((exit, &report["migrated"]), (0, &3.into()), "{report}");
    assert_eq!(version(&world, "old_older"), "5/1/1");
    let own = "SELECT to_regclass('pgusher.webhook_inbox') IS NOT NULL";
    assert_eq!(old.query(own).unwrap()[0][0].as_deref(), Some("t"));
}

/// Nothing was run in it: the first tenants are tried alone all the same.
#[test]
fn a_database_that_was_taken_over_proves_no_migration() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::tenants(2));
    let folder = next_schema(&world);
    let file = config(&world, &format!("[schema]\ntenant = '{}'\n", folder.display()));
    write_tenant(&world, "whole");
    world.superuser("postgres").query("CREATE DATABASE old_whole").unwrap();
    let adopted = run(&["migrate", "adopt", "whole", "--at-version", "5", "--config", &file]);
    assert_eq!((adopted.0, &adopted.1["schemaVersion"]), (0, &5.into()), "{}", adopted.1);
    for tenant in &world.tenants {
        let in_the_way = r#"CREATE TABLE public."Extra" (x text)"#;
        world.superuser(&tenant.database()).query(in_the_way).unwrap();
    }
    let (exit, report) = migrate(&file, &[]);
    assert_eq!(exit, 1, "{report}");
    assert_eq!(report["stopped"], "the first 2 tenants failed; nobody else was touched");
}
