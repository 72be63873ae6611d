//! An attacker with a tenant of their own: what they may not see, be, cancel or guess.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use world::wire::{Conn, Login, Refusal};
use world::{Plan, Tenant, World, code, eventually};

fn refused(world: &World, login: &Login) -> Refusal {
    match world.login(login) {
        Ok(_) => panic!("let in as {} to {}", login.user, login.database),
        Err(refusal) => refusal,
    }
}

fn with_token(tenant: &Tenant, token: &str) -> Login {
    Login::new("anyone", token, &tenant.database())
}

/// The three parts of a JWT, the first two decoded.
fn parts(token: &str) -> (Value, Value, String) {
    let mut parts = token.split('.');
    let mut decoded = || {
        let bytes = BASE64.decode(parts.next().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let (header, claims) = (decoded(), decoded());
    (header, claims, parts.next().unwrap().to_owned())
}

fn joined(header: &Value, claims: &Value, signature: &str) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
    format!("{header}.{claims}.{signature}")
}

#[test]
fn each_token_opens_its_own_database_only() {
    let world = World::shared();
    for (own, other) in [(0, 1), (1, 0)] {
        let tenant = &world.tenants[own];
        for database in [tenant.database(), "app".into(), "anything".into()] {
            let mut session = world.login(&tenant.login().database(&database)).unwrap();
            assert_eq!(session.one("select current_database()"), Ok(tenant.database()));
        }
        let foreign = tenant.login().database(&world.tenants[other].database());
        let refusal = refused(world, &foreign);
        assert_eq!((&*refusal.severity, &*refusal.code), ("FATAL", "28000"), "{refusal:?}");
        for database in ["tenant_nobody", "tenant_", "tenant_A", "pgusher"] {
            let login = tenant.login().database(database);
            assert_eq!(refused(world, &login).code, "28000", "{database}");
        }
        let registry = tenant.login().database(&world.registry_database());
        let inside = world.login(&registry).and_then(|mut s| s.one("select current_database()"));
        assert!(matches!(&inside, Err(e) if e.code == "28000") || inside == Ok(tenant.database()));
    }
}

#[test]
fn each_api_key_opens_its_own_database_only() {
    let world = World::shared();
    let (a, b) = (&world.tenants[0], &world.tenants[1]);
    let key = |key: &Tenant, database: &Tenant| {
        Login::new(&key.key_user, &key.key_secret, &database.database())
    };
    assert!(world.login(&key(a, a)).is_ok());
    assert_eq!(refused(world, &key(a, b)).code, "28000");
    let crossed = Login::new(&a.key_user, &b.key_secret, &a.database());
    assert_eq!(refused(world, &crossed).code, "28P01");
    let token_as_secret = Login::new(&a.key_user, &a.token, &a.database());
    assert_eq!(refused(world, &token_as_secret).code, "28P01");
}

#[test]
fn a_token_tampered_with_is_refused() {
    let world = World::shared();
    let (a, b) = (&world.tenants[0], &world.tenants[1]);
    let (header, claims, signature) = parts(&a.token);
    let claim = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let head = |algorithm: &str| {
        let mut header = header.clone();
        header["alg"] = algorithm.into();
        header
    };
    let resigned = |secret: &str| {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let mut head = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        head.kid = header["kid"].as_str().map(str::to_owned);
        jsonwebtoken::encode(&head, &claim("tenantId", json!(b.id)), &key).unwrap()
    };
    let other_signature = parts(&b.token).2;
    let mut forged = vec![
        joined(&header, &claim("tenantId", json!(b.id)), &signature),
        joined(&header, &claim("churchId", json!(b.id)), &signature),
        joined(&header, &claim("role", json!("sidecar")), &signature),
        joined(&header, &claim("exp", json!(9_999_999_999_u64)), &signature),
        joined(&header, &claim("exp", json!("tomorrow")), &signature),
        joined(&header, &claims, &other_signature),
        joined(&header, &claims, ""),
        joined(&header, &claims, "AAAA"),
        a.token.trim_end_matches(|c| c != '.').to_owned(),
        format!("{}.", a.token),
        format!("{}.{}", a.token, signature),
        format!(" {}", a.token),
        a.token.replace('.', ".."),
        a.token.to_ascii_uppercase(),
        resigned(""),
        resigned("secret"),
        resigned(&a.id),
    ];
    for algorithm in ["none", "None", "NONE", "HS256", "HS512", "RS256", "ES256", "", "x"] {
        let claims = claim("tenantId", json!(b.id));
        forged.push(joined(&head(algorithm), &claims, ""));
        forged.push(joined(&head(algorithm), &claims, &signature));
    }
    for (name, value) in
        [("kid", "../../etc/passwd"), ("jku", "http://127.0.0.1:1/"), ("crit", "x")]
    {
        let mut header = header.clone();
        header[name] = value.into();
        forged.push(joined(&header, &claims, &signature));
    }
    for token in forged {
        for target in [a, b] {
            let refusal = refused(world, &with_token(target, &token));
            assert_eq!(refusal.code, "28P01", "{token}: {refusal:?}");
            assert_eq!(refusal.severity, "FATAL");
            assert_no_hint(&refusal, &token);
        }
    }
    assert!(world.login(&a.login()).is_ok(), "the untampered one still opens");
}

/// A refusal before proof tells nothing that depends on what exists.
fn assert_no_hint(refusal: &Refusal, token: &str) {
    let text = refusal.text().to_lowercase();
    for word in ["signature", "algorithm", "kid", "issuer", "tenant_", "expired at"] {
        assert!(!text.contains(word), "`{word}` in {text} for {token}");
    }
}

#[test]
fn before_proof_every_refusal_reads_the_same() {
    let world = World::shared();
    let tenant = &world.tenants[0];
    let mut texts: Vec<String> = [
        Login::new("anyone", "x.y.z", &tenant.database()),
        Login::new("anyone", "x.y.z", "tenant_nobody"),
        Login::new("anyone", "", &tenant.database()),
        Login::new(&tenant.key_user, "wrong", &tenant.database()),
        Login::new("key_doesnotexist", "wrong", &tenant.database()),
        Login::new("key_doesnotexist", "wrong", "tenant_nobody"),
    ]
    .iter()
    .map(|login| refused(world, login).text())
    .collect();
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:#?}");
}

#[test]
fn an_unknown_api_key_looks_like_a_known_one() {
    let world = World::shared();
    let tenant = &world.tenants[0];
    // The same salt and iteration count each time, as a stored verifier would have.
    let challenge = |user: &str| {
        let mut conn = Conn::dial(world.listen);
        conn.say(&Login::new(user, "", &tenant.database()).startup()).unwrap();
        let methods = conn.hear().unwrap();
        let first = b"SCRAM-SHA-256\0\0\0\0\x0en,,n=,r=abcdef";
        conn.say(&world::wire::message(b'p', first)).unwrap();
        let body = String::from_utf8(conn.hear().unwrap().body[4..].to_vec()).unwrap();
        let salt = body.split(',').find(|p| p.starts_with("s=")).unwrap().to_owned();
        let rounds = body.split(',').find(|p| p.starts_with("i=")).unwrap().to_owned();
        (methods, salt, rounds)
    };
    let known = challenge(&tenant.key_user);
    let unknown = challenge("key_doesnotexist");
    assert_eq!(known.0, unknown.0, "the same methods are offered");
    assert_eq!((known.1.len(), &known.2), (unknown.1.len(), &unknown.2));
    assert_eq!(unknown.1, challenge("key_doesnotexist").1, "a mock salt stays");
    assert_ne!(unknown.1, challenge("key_another").1, "a mock salt is one user's");
    // The class of the time taken, not its last microsecond: medians within a factor.
    let median = |user: &str| {
        let login = Login::new(user, "wrong", &tenant.database());
        let mut times: Vec<Duration> = (0..41)
            .map(|_| {
                let started = Instant::now();
                assert_eq!(code(world.login(&login)), "28P01");
                started.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let (known, unknown) = (median(&tenant.key_user), median("key_doesnotexist"));
    let (low, high) = (known.min(unknown), known.max(unknown));
    assert!(high < low * 3 + Duration::from_millis(2), "{known:?} and {unknown:?}");
}

#[test]
fn startup_options_change_nobody() {
    let world = World::shared();
    let tenant = &world.tenants[0];
    let superuser = world.superuser_name().to_owned();
    let owner = world.session(0).one("select current_user").unwrap();
    let attempts = [
        ("role", superuser.clone()),
        ("session_authorization", superuser.clone()),
        ("options", format!("-c role={superuser}")),
        ("options", format!("-c session_authorization={superuser}")),
        ("options", format!("--role={superuser}")),
        ("options", format!("-crole={superuser}")),
        ("options", format!("-c ROLE={superuser}")),
        ("options", "-c is_superuser=on".into()),
        ("options", "-c local_preload_libraries=x".into()),
        ("options", "-c session_preload_libraries=x".into()),
        ("options", "-c data_directory=/".into()),
        ("options", "-c pgusher.tenant=x".into()),
        ("options", "-c pgusher.pool_mode=neither".into()),
        ("options", "-P".into()),
        ("options", "-c".into()),
        ("options", "-c =".into()),
        ("database\0role", superuser),
        ("replication", "database".into()),
    ];
    for (name, value) in attempts {
        let who = world
            .login(&tenant.login().with(name, &value))
            .and_then(|mut s| s.one("select concat(session_user, ' ', current_user)"));
        match who {
            Ok(who) => assert_eq!(who, format!("{owner} {owner}"), "{name}={value}"),
            Err(refusal) => {
                assert_eq!(refusal.severity, "FATAL", "{name}={value}: {refusal:?}");
                let known =
                    ["22023", "28000", "42501", "0A000", "08P01", "55P02", "42704", "42601"];
                assert!(known.contains(&&*refusal.code), "{name}={value}: {refusal:?}");
            }
        }
    }
}

#[test]
fn what_a_session_set_reaches_no_other_session() {
    let world = World::shared();
    let login = world.tenants[0].login().with("options", "-c search_path=evil,public");
    let mut evil = world.login(&login).unwrap();
    assert_eq!(evil.one("show search_path").as_deref(), Ok("evil,public"));
    for statement in [
        "set my.secret = 'mine'",
        "set statement_timeout = '12345ms'",
        "create temp table left_behind as select 'mine' as secret",
        "prepare left_behind as select 'mine'",
        "select set_config('role', current_user, false)",
    ] {
        evil.query(statement).unwrap();
    }
    // More sessions than servers were ever open: one of them gets the one just used.
    for n in 0..12 {
        let mut next = world.session(0);
        let seen = next.query(
            "select current_setting('search_path'), current_setting('my.secret', true), \
             current_setting('statement_timeout'), to_regclass('left_behind')::text, \
             (select count(*) from pg_prepared_statements)",
        );
        let row = seen.unwrap().remove(0);
        assert_ne!(row[0].as_deref(), Some("evil,public"), "session {n}");
        assert_eq!(row[1].clone().unwrap_or_default(), "", "session {n}");
        assert_ne!(row[2].as_deref(), Some("12345ms"), "session {n}");
        assert_eq!((row[3].as_deref(), row[4].as_deref()), (None, Some("0")), "session {n}");
        if n == 5 {
            drop(std::mem::replace(&mut evil, world.session(0)));
        }
    }
}

#[test]
fn from_inside_a_session_the_tenant_stays_in_its_database() {
    let world = World::shared();
    let other = world.tenants[1].database();
    let registry = world.registry_database();
    let superuser = world.superuser_name();
    let mut session = world.session(0);
    for statement in [
        format!("set role {superuser}"),
        format!("set session authorization {superuser}"),
        format!("alter database {other} connection limit -1"),
        format!("alter database {} connection limit -1", world.tenants[0].database()),
        format!("drop database {other}"),
        "create database mine".into(),
        "create role mine login superuser".into(),
        "alter role current_user superuser".into(),
        "select pg_read_file('/etc/passwd')".into(),
        "copy (select 1) to program 'true'".into(),
        "copy (select 1) to '/tmp/pgusher-isolation'".into(),
        "select rolpassword from pg_authid".into(),
        "create extension dblink".into(),
        "alter system set log_statement = 'all'".into(),
        "select * from pgusher.anything".into(),
    ] {
        let refusal = session.query(&statement).err();
        assert!(refusal.is_some(), "allowed: {statement}");
    }
    let sees = "select count(*) from pg_database where datname = any($$ {A,B} $$::name[]) \
                and has_database_privilege(datname, 'connect')"
        .replace('A', &other)
        .replace('B', &registry);
    assert_eq!(session.one(&sees).as_deref(), Ok("0"), "may connect to others' databases");
}

#[test]
fn a_tenant_role_enters_no_other_database_directly() {
    let world = World::shared();
    let mut superuser = world.superuser("postgres");
    for (own, other) in [(0, 1), (1, 0)] {
        let role = world.session(own).one("select current_user").unwrap();
        let foreign = [world.tenants[other].database(), world.registry_database()];
        for database in foreign.iter().map(String::as_str).chain(["postgres", "template1"]) {
            let sql = format!("select has_database_privilege('{role}', '{database}', 'connect')");
            assert_eq!(superuser.one(&sql).as_deref(), Ok("f"), "{role} into {database}");
        }
        let sql = format!(
            "select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls \
             from pg_roles where rolname = '{role}'"
        );
        assert_eq!(superuser.one(&sql).as_deref(), Ok("f"), "{role}");
        let direct = Login::new(&role, "guess", &world.tenants[own].database());
        assert_eq!(code(Conn::login(world.server_addr(), &direct)), "28P01", "no trust for {role}");
    }
}

#[test]
fn a_tenant_that_left_the_registry_is_unknown() {
    let mut world = World::start(Plan::tenants(3));
    let gone = world.tenants[2].clone();
    let mut registry = world.superuser(&world.registry_database());
    let sql = format!(
        "delete from \"Church\" where id = (select \"churchId\" from \"Tenant\" where id = '{}')",
        gone.id
    );
    registry.query(&sql).unwrap();
    drop(registry);
    world.restart();
    let refusal = refused(&world, &gone.login());
    assert_eq!((&*refusal.severity, &*refusal.code), ("FATAL", "3D000"), "{refusal:?}");
    assert!(world.login(&world.tenants[0].login()).is_ok());
}

#[test]
fn suspension_cuts_and_refuses_and_resuming_undoes_it() {
    let world = World::start(Plan::default());
    let (suspended, other) = (&world.tenants[0], &world.tenants[1]);
    let mut live = world.session(0);
    let mut bystander = world.session(1);
    assert_eq!(live.one("select 1").as_deref(), Ok("1"));
    world.cli(&["tenant", "suspend", &suspended.id]);
    eventually(Duration::from_secs(10), "a suspended tenant is refused with 57P03", || {
        (code(world.login(&suspended.login())) == "57P03").then_some(())
    });
    let key = Login::new(&suspended.key_user, &suspended.key_secret, &suspended.database());
    assert_eq!(code(world.login(&key)), "57P03");
    let wrong = with_token(suspended, "not.a.token");
    assert_eq!(code(world.login(&wrong)), "28P01", "suspension is not told to strangers");
    let cut = live.farewell();
    let fatal = cut.iter().find(|m| m.tag == b'E').map(|m| Refusal::parse(&m.body));
    assert_eq!(fatal.map(|f| f.code).as_deref(), Some("57P01"), "the live session is cut");
    assert_eq!(bystander.one("select 1").as_deref(), Ok("1"));
    assert!(world.login(&other.login()).is_ok());
    world.cli(&["tenant", "resume", &suspended.id]);
    eventually(Duration::from_secs(10), "a resumed tenant is let in", || {
        world.login(&suspended.login()).ok()
    });
}
