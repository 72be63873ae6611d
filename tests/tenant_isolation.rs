//! A tenant's login with its real password, on PostgreSQL itself, past pgusher.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may fail and may be large")]

mod cluster;

use std::sync::Arc;

use cluster::Cluster;
use pgusher::control::provision::{NewAdmin, ProvisionMetrics, Provisioner, ServerSettings};
use pgusher::control::schema::{MigrationSet, migrate_registry};
use pgusher::ident::{Role, TenantId};
use pgusher::tenant::{DatabaseUrl, MasterKey};
use tokio_postgres::Client;

struct World {
    cluster: Cluster,
    provisioner: Arc<Provisioner>,
    key: MasterKey,
    a: TenantId,
    b: TenantId,
}

async fn world(superuser: bool) -> World {
    let cluster = Cluster::start();
    let admin = cluster.connect("postgres").await;
    admin.batch_execute("CREATE DATABASE registry").await.unwrap();
    let registry = DatabaseUrl::parse(&cluster.superuser("registry")).unwrap();
    let timeout = std::time::Duration::from_secs(10);
    migrate_registry(&registry, &MigrationSet::registry(), timeout).await.unwrap();
    let admin_url = if superuser {
        cluster.superuser("postgres")
    } else {
        let sql = "CREATE ROLE prov LOGIN CREATEDB CREATEROLE PASSWORD 'pw';
                   GRANT CONNECT ON DATABASE postgres TO prov";
        admin.batch_execute(sql).await.unwrap();
        for database in ["postgres", "template1", "registry"] {
            let sql = format!("REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC");
            admin.batch_execute(&sql).await.unwrap();
        }
        cluster.url("prov", "pw", "postgres")
    };
    let key = MasterKey::new(&"k".repeat(32).as_str().into()).unwrap();
    let settings = ServerSettings {
        admin_url: admin_url.as_str().into(),
        tenant_connections_max: 6,
        ..ServerSettings::default()
    };
    let metrics = ProvisionMetrics::new(&prometheus::Registry::new()).unwrap();
    let provisioner =
        Provisioner::new("main", &settings, MigrationSet::tenant(), key.clone(), metrics).unwrap();
    let still_open = provisioner.close_doors(&["registry".into()]).await.unwrap();
    assert!(still_open.is_empty(), "{still_open:?}");
    let (a, b) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
    for id in [&a, &b] {
        for again in [false, true] {
            provisioner.ensure_tenant(id, 1).await.unwrap();
            let admin = NewAdmin {
                id: "admin-1".into(),
                email: format!("admin@{id}.example"),
                password: "hash".into(),
                first_name: "Ada".into(),
                last_name: "L".into(),
            };
            assert_eq!(provisioner.has_admin(id, "admin-1").await.unwrap(), again);
            provisioner.ensure_admin(id, &admin).await.unwrap();
        }
    }
    World { cluster, provisioner: Arc::new(provisioner), key, a, b }
}

impl World {
    async fn enter(
        &self,
        tenant: &TenantId,
        role: Role,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let password = self.key.role_password(tenant, role, 1);
        let user = tenant.login_role(role);
        self.cluster.try_connect(&user, password.expose(), database).await
    }
}

async fn refused(client: &Client, sql: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let code = error.code().map(tokio_postgres::error::SqlState::code).unwrap_or_default();
    assert_eq!(code, "42501", "{sql}: {error:?}");
}

async fn attack(world: &World) {
    let (a, b) = (&world.a, &world.b);
    // Into other databases.
    for role in Role::ALL {
        let elsewhere = [
            b.database(),
            "registry".into(),
            "postgres".into(),
            "template1".into(),
            "pgusher_template_v3".into(),
        ];
        for database in elsewhere {
            assert!(world.enter(a, role, &database).await.is_err(), "{role} entered {database}");
        }
        let own = world.enter(a, role, &a.database()).await.unwrap();
        let row = own.query_one("SELECT current_database()::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), a.database());
    }

    let owner = world.enter(a, Role::Owner, &a.database()).await.unwrap();
    owner
        .batch_execute("CREATE TABLE mine (n serial, t text); INSERT INTO mine (t) VALUES ('x')")
        .await
        .unwrap();
    owner
        .batch_execute(r#"ALTER TABLE "Member" ADD COLUMN shoe int; CREATE TEMP TABLE t (n int)"#)
        .await
        .unwrap();
    for sql in [
        "ALTER DATABASE tenant_a CONNECTION LIMIT 100",
        "ALTER DATABASE tenant_a OWNER TO t_a_own",
        "ALTER ROLE t_a_own CONNECTION LIMIT 100",
        "ALTER ROLE t_a_own SUPERUSER",
        "ALTER ROLE t_b_own PASSWORD 'x'",
        "GRANT t_a_own TO t_b_own",
        "GRANT pgusher_owner TO t_b_own",
        "SET ROLE pgusher_sidecar",
        "SET ROLE t_b_own",
        "CREATE ROLE friend",
        "CREATE DATABASE tenant_c",
        "CREATE DATABASE tenant_c TEMPLATE tenant_b",
        "DROP DATABASE tenant_b",
        "SELECT * FROM pgusher.tenant_mark",
        "CREATE TABLE pgusher.x (n int)",
        "DROP SCHEMA pgusher CASCADE",
        "COPY mine TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_authid",
        "ALTER SYSTEM SET work_mem = '1GB'",
    ] {
        refused(&owner, sql).await;
    }
    // GRANT by one who may not is a warning, not an error: look at what it did.
    let _ = owner.batch_execute("GRANT CONNECT ON DATABASE tenant_a TO t_b_own, PUBLIC").await;
    let _ = owner
        .batch_execute("SET ROLE pgusher_owner; GRANT CONNECT ON DATABASE tenant_a TO PUBLIC")
        .await;
    owner.batch_execute("RESET ROLE").await.unwrap();
    assert!(world.enter(b, Role::Owner, &a.database()).await.is_err());

    drop(owner);
    attack_as_the_weaker(world).await;
}

async fn attack_as_the_weaker(world: &World) {
    let a = &world.a;
    let app = world.enter(a, Role::App, &a.database()).await.unwrap();
    app.batch_execute(
        r#"INSERT INTO "Member" ("phone") VALUES ('+1'); UPDATE "Member" SET "notes" = 'n';
           DELETE FROM "Member"; INSERT INTO mine (t) VALUES ('app'); CREATE TEMP TABLE t (n int)"#,
    )
    .await
    .unwrap();
    for sql in [
        "CREATE TABLE public.x (n int)",
        "CREATE SCHEMA x",
        r#"DROP TABLE "Member""#,
        "TRUNCATE mine",
        "ALTER TABLE mine ADD COLUMN c int",
        "INSERT INTO _pgusher_migrations VALUES (99, 'x', 'x')",
        "SELECT * FROM pgusher.webhook_inbox",
        "SET ROLE pgusher_owner",
        "SET ROLE t_a_own",
    ] {
        refused(&app, sql).await;
    }
    drop(app);

    let readonly = world.enter(a, Role::Readonly, &a.database()).await.unwrap();
    readonly.batch_execute(r#"SELECT * FROM "Member"; SELECT * FROM mine"#).await.unwrap();
    for sql in [
        "INSERT INTO mine (t) VALUES ('x')",
        r#"UPDATE "Member" SET "notes" = 'x'"#,
        "DELETE FROM mine",
        "CREATE TEMP TABLE t (n int)",
        "CREATE TABLE public.x (n int)",
        "SELECT nextval('mine_n_seq')",
        "SELECT * FROM pgusher.tenant_mark",
    ] {
        refused(&readonly, sql).await;
    }
    drop(readonly);

    let sidecar = world.enter(a, Role::Sidecar, &a.database()).await.unwrap();
    sidecar
        .batch_execute(
            r#"SELECT * FROM pgusher.tenant_mark; UPDATE "Admin" SET "lastLoginAt" = now();
               INSERT INTO mine (t) VALUES ('sidecar');
               INSERT INTO pgusher.webhook_inbox (provider, event_id, kind) VALUES ('t', '1', 'm')"#,
        )
        .await
        .unwrap();
    refused(&sidecar, "UPDATE pgusher.tenant_mark SET tenant_id = 'b'").await;
}

async fn shape(world: &World) {
    let inside = world.cluster.connect(&world.a.database()).await;
    let count = |sql: &'static str| {
        let inside = &inside;
        async move { inside.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) }
    };
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(count(tables).await, 26, "25 and the test's own");
    assert_eq!(count(r#"SELECT count(*) FROM "Admin""#).await, 1);
    let row = inside
        .query_one("SELECT datconnlimit FROM pg_database WHERE datname = 'tenant_a'", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 6);
}

/// All that the owner of one tenant's objects can grant to another tenant's logins.
async fn grant_to(world: &World, ids: &[&TenantId]) {
    let owner = world.enter(&world.a, Role::Owner, &world.a.database()).await.unwrap();
    owner.batch_execute("CREATE TABLE bait (n int); CREATE SCHEMA trap").await.unwrap();
    for login in ids.iter().flat_map(|id| Role::ALL.map(|role| id.login_role(role))) {
        let sql = format!(
            r#"GRANT ALL ON bait, "Member" TO {login}; GRANT USAGE ON SCHEMA trap TO {login};
               ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {login};
               CREATE POLICY for_{login} ON bait TO {login} USING (true)"#
        );
        owner.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

async fn dropped(world: &World) {
    grant_to(world, &[&world.b]).await;
    let guest = world.enter(&world.b, Role::App, &world.b.database()).await.unwrap();
    for _again in 0..2 {
        world.provisioner.drop_tenant(&world.b).await.unwrap();
    }
    assert!(guest.simple_query("SELECT 1").await.is_err());
    let admin = world.cluster.connect("postgres").await;
    let sql = "SELECT (SELECT count(*) FROM pg_database WHERE datname = 'tenant_b') \
               + (SELECT count(*) FROM pg_roles WHERE rolname LIKE 't_b_%')";
    assert_eq!(admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert!(world.enter(&world.a, Role::App, &world.a.database()).await.is_ok());
}

async fn suspended(world: &World) {
    world.provisioner.allow_logins(&world.a, false).await.unwrap();
    assert!(world.enter(&world.a, Role::App, &world.a.database()).await.is_err());
    world.provisioner.allow_logins(&world.a, true).await.unwrap();
    let app = world.enter(&world.a, Role::App, &world.a.database()).await.unwrap();
    app.batch_execute("ALTER ROLE t_a_app PASSWORD 'mine now'").await.unwrap();
    assert!(world.enter(&world.a, Role::App, &world.a.database()).await.is_err());
    world.provisioner.restore_logins(&world.a, 1).await.unwrap();
    assert!(world.enter(&world.a, Role::App, &world.a.database()).await.is_ok());
}

#[tokio::test]
async fn a_tenants_role_reaches_nothing_but_its_own_database() {
    let world = world(true).await;
    attack(&world).await;
    shape(&world).await;
    suspended(&world).await;
    dropped(&world).await;
}

#[tokio::test]
async fn the_same_with_a_provisioner_that_is_no_superuser() {
    let world = world(false).await;
    attack(&world).await;
    shape(&world).await;
    suspended(&world).await;
    dropped(&world).await;
}

#[tokio::test]
async fn a_login_that_is_granted_something_for_good_is_left_and_shut() {
    for superuser in [true, false] {
        let world = world(superuser).await;
        let owner = world.enter(&world.a, Role::Owner, &world.a.database()).await.unwrap();
        let table = "CREATE TABLE bait (n int); GRANT SELECT ON bait TO t_a_app WITH GRANT OPTION";
        owner.batch_execute(table).await.unwrap();
        let app = world.enter(&world.a, Role::App, &world.a.database()).await.unwrap();
        // Granted by another than the owner: DROP OWNED does not see it.
        app.batch_execute("GRANT SELECT ON bait TO t_b_ro").await.unwrap();
        for _again in 0..2 {
            world.provisioner.drop_tenant(&world.b).await.unwrap();
        }
        let admin = world.cluster.connect("postgres").await;
        let left = "SELECT string_agg(rolname, ',') FROM pg_authid WHERE rolname LIKE 't_b_%'
                    AND NOT rolcanlogin AND rolpassword IS NULL";
        let left: String = admin.query_one(left, &[]).await.unwrap().get(0);
        assert_eq!(left, "t_b_ro");
        // As if it were new.
        world.provisioner.ensure_tenant(&world.b, 1).await.unwrap();
        assert!(world.enter(&world.b, Role::Readonly, &world.b.database()).await.is_ok());
        assert!(world.enter(&world.b, Role::Readonly, &world.a.database()).await.is_err());
    }
}

#[tokio::test]
async fn a_clone_is_closed_until_it_is_revoked() {
    let world = world(true).await;
    // What a crash right after CREATE DATABASE leaves.
    let admin = world.cluster.connect("postgres").await;
    let sql = "CREATE DATABASE tenant_c TEMPLATE pgusher_template_v3 ALLOW_CONNECTIONS false";
    admin.batch_execute(sql).await.unwrap();
    assert!(world.enter(&world.a, Role::Owner, "tenant_c").await.is_err());
    let c = TenantId::parse("c").unwrap();
    assert!(!world.provisioner.has_admin(&c, "x").await.unwrap());
    world.provisioner.ensure_tenant(&c, 1).await.unwrap();
    assert!(world.enter(&world.a, Role::Owner, "tenant_c").await.is_err());
    assert!(world.enter(&c, Role::App, "tenant_c").await.is_ok());
}
