//! Login by OAUTHBEARER, as bytes and by libpq 18.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::net::SocketAddr;
use std::process::{Command, Output};

use world::served::Served;
use world::wire::{Conn, Login, Refusal};
use world::{World, bare, code, tools};

fn said(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// The server's offer, after a startup message of this user.
fn offered(world: &World, user: &str) -> (Conn, Vec<u8>) {
    let mut conn = Conn::dial(world.listen);
    conn.say(&Login::new(user, "", "app").startup()).unwrap();
    let offer = conn.hear().unwrap();
    (conn, offer.body)
}

/// SASLInitialResponse.
fn initial(conn: &mut Conn, data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    let body = [&b"OAUTHBEARER\0"[..], &length, data].concat();
    conn.say(&said(b'p', &body)).unwrap();
}

#[test]
fn a_token_comes_in_by_oauthbearer_and_nothing_else_does() {
    if bare::wanted() {
        return;
    }
    let world = World::shared();
    let tenant = &world.tenants[0];
    let (mut conn, offer) = offered(world, "oauth");
    assert_eq!(offer, b"\0\0\0\x0aOAUTHBEARER\0\0");
    initial(&mut conn, format!("n,,\x01auth=Bearer {}\x01\x01", tenant.token).as_bytes());
    conn.authenticate("").unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(conn.one("select current_database()"), Ok(tenant.database()));

    // A wrong token: told in JSON first, then turned away in the words of every other method.
    let plain = code(world.login(&Login::new("x", "wrong.token.here", "app")));
    for data in ["n,,\x01auth=Bearer wrong.token.here\x01\x01", "n,,\x01auth=\x01\x01"] {
        let (mut conn, _) = offered(world, "oauth");
        initial(&mut conn, data.as_bytes());
        let told = conn.hear().unwrap();
        assert_eq!(&told.body, b"\0\0\0\x0b{\"status\":\"invalid_token\"}");
        conn.say(&said(b'p', b"\x01")).unwrap();
        let last = conn.hear().unwrap();
        assert_eq!((last.tag, Refusal::parse(&last.body).code), (b'E', plain.clone()));
    }
    let huge = format!("n,,\x01auth=Bearer {}\x01\x01", "a".repeat(20_000));
    for data in ["", "n,,", "n,a=x,\x01auth=Bearer a\x01\x01", huge.as_str()] {
        let (mut conn, _) = offered(world, "oauth");
        initial(&mut conn, data.as_bytes());
        let last = conn.hear().unwrap();
        assert_eq!((last.tag, &*Refusal::parse(&last.body).code), (b'E', "08P01"));
    }
    // Other users go on as before.
    assert_eq!(offered(world, "app").1, b"\0\0\0\x03");
    world.assert_no_panic();
}

fn libpq(at: SocketAddr, token: &str, user: &str) -> Output {
    let script = tools::file("drivers/oauth_libpq.py");
    let dsn = format!(
        "host=127.0.0.1 port={} user={user} dbname=app sslmode=disable require_auth=oauth \
         oauth_issuer=https://id.example oauth_client_id=app",
        at.port()
    );
    let mut python = Command::new(tools::python());
    python.arg(script).arg(dsn).env("PGUSHER_TOKEN", token).output().unwrap()
}

#[test]
fn libpq_18_finds_the_issuer_and_logs_in() {
    if bare::wanted() {
        return;
    }
    let world = World::shared();
    let more = "[session]\ntoken_method = 'oauthbearer'\noauth_issuer = 'https://id.example'\n\
                oauth_scope = 'database'\n";
    let served = Served::beside(world, more);
    let tenant = &world.tenants[1];
    let output = libpq(served.listen, &tenant.token, "anyone");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let place = "https://id.example/.well-known/openid-configuration";
    let wanted = format!("{} {place} database\n", tenant.database());
    assert_eq!(String::from_utf8_lossy(&output.stdout), wanted);

    let output = libpq(served.listen, "not.a.token", "anyone");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("authentication failed"), "{error}");
    // Keys come in as they always did, and so does the sidecar.
    let key = Login::new(&tenant.key_user, &tenant.key_secret, "app");
    let mut by_key = Conn::login(served.listen, &key).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(by_key.one("select 1").as_deref(), Ok("1"));
    let body = serde_json::json!({ "email": tenant.email, "password": tenant.password });
    let answer = world::http::call(served.http, "POST", "/api/auth/login", &[], &body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    world.assert_no_panic();
}
