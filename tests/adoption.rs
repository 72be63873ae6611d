//! A registry made by the system being replaced is adopted as it stands.
#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use std::time::Duration;

use cluster::Cluster;
use cluster::office::{Office, Wish, organisation};
use pgusher::control::schema::{MigrationSet, migrate_registry};
use pgusher::control::{LegacyEmailHash, Refused};
use pgusher::ident::{Role, TenantId};
use pgusher::tenant::DatabaseUrl;

const OLD_REGISTRY: &str = r#"
    CREATE TABLE "_prisma_migrations" (id text PRIMARY KEY);
    CREATE TABLE "Church" ("id" text PRIMARY KEY, "name" text NOT NULL, "email" text UNIQUE,
        "stripeCustomerId" text, "subscriptionStatus" text, "trialEndsAt" timestamp(3),
        "somethingElse" jsonb);
    CREATE TABLE "Tenant" ("id" text PRIMARY KEY, "churchId" text UNIQUE NOT NULL
        REFERENCES "Church" ON DELETE CASCADE, "name" text NOT NULL, "email" text UNIQUE NOT NULL,
        "databaseUrl" text NOT NULL, "databaseHost" text, "databasePort" integer,
        "databaseName" text, "status" text DEFAULT 'active', "odd" integer);
    CREATE TABLE "AdminEmailIndex" ("id" serial, "emailHash" text PRIMARY KEY, "tenantId" text);
    INSERT INTO "Church" ("id", "name") VALUES ('old1', 'Old'), ('Bad-Id', 'Bad');"#;

#[tokio::test]
async fn an_old_registry_is_adopted_as_it_stands() {
    let cluster = Cluster::start();
    let admin = cluster.connect("postgres").await;
    admin.batch_execute("CREATE DATABASE registry").await.unwrap();
    admin.batch_execute("CREATE DATABASE tenant_old1").await.unwrap();
    admin.batch_execute("CREATE ROLE shared LOGIN PASSWORD 'pw'").await.unwrap();
    let old = cluster.connect("registry").await;
    old.batch_execute(OLD_REGISTRY).await.unwrap();
    let url = "postgresql://shared:pw@127.0.0.1/tenant_old1?sslmode=prefer&connection_limit=30&pool_timeout=45";
    let legacy = "encode(sha256('old@example.org'), 'hex')";
    let rows = format!(
        r#"INSERT INTO "Tenant" ("id", "churchId", "name", "email", "databaseUrl") VALUES
               ('old1', 'old1', 'Old', 'old@example.org', '{url}'),
               ('Bad-Id', 'Bad-Id', 'Bad', 'bad@example.org', 'nonsense');
           INSERT INTO "AdminEmailIndex" ("emailHash", "tenantId") VALUES ({legacy}, 'old1')"#
    );
    old.batch_execute(&rows).await.unwrap();
    let inside = cluster.connect("tenant_old1").await;
    let hash = bcrypt::hash("old password", 4).unwrap();
    let table = format!(
        r#"CREATE TABLE "Admin" ("id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "email" text,
               "password" text, "firstName" text, "lastName" text, "role" text);
           INSERT INTO "Admin" ("email", "password", "firstName", "lastName", "role")
           VALUES ('Old@Example.org', '{hash}', 'O', 'L', 'PRIMARY')"#
    );
    inside.batch_execute(&table).await.unwrap();
    let columns = "SELECT string_agg(table_name || column_name || data_type || is_nullable, ',' \
                   ORDER BY table_name, ordinal_position) FROM information_schema.columns \
                   WHERE table_schema = 'public' AND column_name IN ('id', 'odd', 'somethingElse', \
                   'email', 'status', 'databasePort', 'tenantId')
                   AND table_name <> 'PhoneNumberRegistry'";
    let before: String = old.query_one(columns, &[]).await.unwrap().get(0);

    let parsed = DatabaseUrl::parse(&cluster.superuser("registry")).unwrap();
    let set = MigrationSet::registry();
    let migrate = || migrate_registry(&parsed, &set, Duration::from_secs(10));
    let report = migrate().await.unwrap();
    assert!(report.adopted);
    assert_eq!(report.applied.len(), set.iter().count());
    assert_eq!(report.refused_tenants, ["Bad-Id"]);
    assert_eq!(report.unusable_urls.len(), 1);
    assert!(migrate().await.unwrap().applied.is_empty());
    assert_eq!(old.query_one(columns, &[]).await.unwrap().get::<_, String>(0), before);
    let history = "SELECT to_regclass('public._pgusher_migrations') IS NULL \
                   AND to_regclass('pgusher._pgusher_migrations') IS NOT NULL";
    assert!(old.query_one(history, &[]).await.unwrap().get::<_, bool>(0));

    let wish = Wish { legacy: LegacyEmailHash::Sha256, ..Wish::default() };
    let office = Office::over(cluster, wish).await;
    let id = TenantId::parse("old1").unwrap();
    let tenant = office.directory.tenant(&id).await.unwrap();
    assert!(tenant.adopted);
    assert_eq!((tenant.route.port, tenant.limits.server_max), (5432, Some(30)));
    assert_eq!(tenant.limits.queue_timeout, Some(Duration::from_secs(45)));
    assert_eq!(tenant.login(Role::Owner).user, "shared");
    // Its e-mail is known, and its bcrypt password good; both are upgraded.
    let taken = office.registration.register(organisation("old@example.org"), None).await;
    assert!(matches!(taken, Err(Refused::EmailTaken)));
    let wanted = office.login.login("old@example.org", "old password".into(), None).await.unwrap();
    assert_eq!(wanted.tenant, id);
    let hash: String =
        inside.query_one("SELECT \"password\" FROM \"Admin\"", &[]).await.unwrap().get(0);
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    let legacy = format!("SELECT count(*) FROM \"AdminEmailIndex\" WHERE \"emailHash\" = {legacy}");
    assert_eq!(office.count(&legacy).await, 0);
    office.login.login("old@example.org", "old password".into(), None).await.unwrap();
    // New tenants are made beside the old.
    office.registration.register(organisation("new@example.org"), None).await.unwrap();
}
