//! What is said before login: TLS by request and at once, versions, options, GSS, cancels.
#![allow(clippy::unwrap_used, clippy::format_push_string, clippy::large_futures)]
#![allow(unreachable_pub, missing_docs)]

mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use world::served::Served;
use world::wire::{self, Conn, Login, query, sized};
use world::{Plan, World, bare, code, eventually, tools};

fn ssl_request() -> Vec<u8> {
    sized(&wire::SSL_REQUEST.to_be_bytes())
}

#[test]
fn tls_is_offered_and_a_token_is_a_password_inside_it() {
    let world = World::shared();
    let tls = world.tls.client(&[]);
    let login = world.tenants[0].login().over(&tls);
    let mut session = world.login(&login).unwrap();
    assert_eq!(session.one("select current_database()"), Ok(world.tenants[0].database()));
}

#[test]
fn an_api_key_logs_in_by_scram_with_and_without_tls() {
    if bare::wanted() {
        return;
    }
    let world = World::shared();
    let tenant = &world.tenants[0];
    assert!(tenant.key_user.starts_with("key_"), "{}", tenant.key_user);
    let login = Login::new(&tenant.key_user, &tenant.key_secret, &tenant.database());
    for login in [login.clone(), login.clone().over(&world.tls.client(&[]))] {
        let mut session = world.login(&login).unwrap();
        assert_eq!(session.one("select current_database()"), Ok(tenant.database()));
    }
    let wrong = Login { password: "wrong".into(), ..login };
    assert_eq!(code(world.login(&wrong)), "28P01");
}

#[test]
fn tls_at_once_needs_the_protocol_named_in_alpn() {
    if bare::wanted() {
        return; // PostgreSQL 17 brought it.
    }
    let world = World::shared();
    let direct = |alpn: &[&str]| Conn::dial(world.listen).upgrade(&world.tls.client(alpn));
    let mut conn = direct(&["postgresql"]).expect("direct TLS");
    let login = world.tenants[0].login();
    conn.say(&login.startup()).unwrap();
    conn.authenticate(&login.password).unwrap();
    assert_eq!(conn.one("select 1").as_deref(), Ok("1"));
    for alpn in [&[][..], &["http/1.1"][..]] {
        // TLS 1.3 lets a client finish before it hears of the refusal.
        let refused = direct(alpn).map_or(true, |mut conn| {
            let _ = conn.say(&login.startup());
            conn.farewell().iter().all(|m| m.tag == b'E')
        });
        assert!(refused, "direct TLS with ALPN {alpn:?}");
    }
}

#[test]
fn tls_by_request_takes_the_right_alpn_or_none() {
    let world = World::shared();
    for alpn in [&[][..], &["postgresql"][..]] {
        let mut conn = Conn::dial_tls(world.listen, &world.tls.client(alpn)).unwrap();
        let login = world.tenants[0].login();
        conn.say(&login.startup()).unwrap();
        conn.authenticate(&login.password).unwrap();
    }
}

#[test]
fn nothing_said_before_tls_is_heard_after_it() {
    let world = World::shared();
    let login = world.tenants[0].login();
    let injected = Login::new("injected", &login.password, &login.database).startup();
    for early in [injected, query("select 1"), vec![0; 8], vec![0x16]] {
        let mut conn = Conn::dial(world.listen);
        conn.say(&[ssl_request(), early].concat()).unwrap();
        let answer = conn.byte();
        if answer.is_ok_and(|b| b == b'S') {
            // The early bytes are no ClientHello; or the connection ends right after it. What must
            // never come is an answer to what was said in the clear.
            if let Ok(mut conn) = conn.upgrade(&world.tls.client(&[])) {
                assert!(conn.farewell().iter().all(|m| m.tag == b'E'), "heard before TLS");
            }
        }
    }
    if bare::wanted() {
        return; // Debian's PostgreSQL knows GSS.
    }
    // The same with GSSENCRequest: refused with N, and nothing stuffed behind it is trusted as GSS.
    let mut conn = Conn::dial(world.listen);
    conn.say(&sized(&wire::GSS_REQUEST.to_be_bytes())).unwrap();
    assert_eq!(conn.byte().unwrap(), b'N');
    conn.say(&ssl_request()).unwrap();
    assert_eq!(conn.byte().unwrap(), b'S');
    let mut conn = conn.upgrade(&world.tls.client(&[])).unwrap();
    conn.say(&login.startup()).unwrap();
    conn.authenticate(&login.password).unwrap();
}

#[test]
fn each_kind_of_encryption_is_asked_for_once() {
    if bare::wanted() {
        return;
    }
    let world = World::shared();
    for request in [wire::GSS_REQUEST, wire::SSL_REQUEST] {
        let mut conn = Conn::dial(world.listen);
        conn.say(&sized(&request.to_be_bytes())).unwrap();
        let first = conn.byte().unwrap();
        let mut conn =
            if first == b'S' { conn.upgrade(&world.tls.client(&[])).unwrap() } else { conn };
        conn.say(&sized(&request.to_be_bytes())).unwrap();
        assert!(conn.farewell().iter().all(|m| m.tag == b'E'), "asked twice");
    }
}

#[test]
fn in_the_clear_over_loopback_a_token_is_heard() {
    let world = World::shared();
    assert_eq!(world.session(0).one("select 1").as_deref(), Ok("1"));
}

#[test]
fn loopback_is_loopback_to_a_listener_of_both_families() {
    // Where IPv6 is off there is no such listener.
    if bare::wanted() || TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let world = World::shared();
    let served = Served::listening(world, "", "[::]:0");
    let tenant = &world.tenants[0];
    for loopback in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let listen = SocketAddr::new(loopback, served.listen.port());
        let mut session = Conn::login(listen, &tenant.login()).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(session.one("select current_database()"), Ok(tenant.database()));
    }
}

#[test]
fn protocol_3_0_has_keys_of_four_bytes_and_3_2_longer_ones() {
    let world = World::shared();
    let login = world.tenants[0].login();
    let old = world.login(&login).unwrap();
    assert_eq!((old.key.len(), old.negotiated.is_some()), (4, false));
    let new = world.login(&login.version(wire::V3_2)).unwrap();
    if bare::wanted() {
        return;
    }
    assert!(new.negotiated.is_none(), "{:?}", new.negotiated);
    assert!((5..=256).contains(&new.key.len()), "{} bytes", new.key.len());
}

#[test]
fn what_is_not_understood_is_negotiated() {
    let world = World::shared();
    let login = world.tenants[0].login();
    let greased = login.clone().version(wire::V3_9999).with("_pq_.test", "1").with("_pq_.b", "");
    let mut conn = world.login(&greased).unwrap();
    let body = conn.negotiated.take().expect("NegotiateProtocolVersion").body;
    let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
    let newest = if bare::wanted() { wire::V3_0 } else { wire::V3_2 };
    assert_eq!((number(0), number(4)), (newest, 2));
    assert_eq!(&body[8..], b"_pq_.test\0_pq_.b\0");
    assert_eq!(conn.one("select 1").as_deref(), Ok("1"));
    if !bare::wanted() {
        let mut conn = world.login(&login.with("_pq_.unknown", "x")).unwrap();
        let body = conn.negotiated.take().expect("an unknown option is named in 3.0 too").body;
        assert_eq!(&body[8..], b"_pq_.unknown\0");
    }
}

#[test]
fn a_cancel_reaches_its_own_query_in_either_version_and_transport() {
    let world = World::shared();
    let tls = world.tls.client(&[]);
    let plain = world.tenants[0].login();
    let logins = [plain.clone(), plain.clone().version(wire::V3_2), plain.over(&tls)];
    for login in logins {
        let mut victim = world.login(&login).unwrap();
        let mut bystander = world.login(&login).unwrap();
        bystander.say(&query("select pg_sleep(1.5), 'undisturbed'")).unwrap();
        victim.say(&query("select pg_sleep(30) /* greeting-cancel */")).unwrap();
        let mut superuser = world.superuser("postgres");
        let sought = "select count(*) from pg_stat_activity \
                      where state = 'active' and query like '%greeting-cancel%' \
                      and pid <> pg_backend_pid()";
        eventually(Duration::from_secs(20), "the query runs", || {
            (superuser.one(sought).unwrap() == "1").then_some(())
        });
        let mut canceller = match &login.tls {
            Some(tls) => Conn::dial_tls(world.listen, tls).unwrap(),
            None => Conn::dial(world.listen),
        };
        canceller.say(&wire::cancel(victim.pid, &victim.key)).unwrap();
        assert!(canceller.farewell().is_empty(), "a cancel is not answered");
        assert_eq!(code(victim.rows()), "57014");
        assert_eq!(victim.one("select 1").as_deref(), Ok("1"));
        assert_eq!(bystander.rows().unwrap()[0][1].as_deref(), Some("undisturbed"));
    }
}

/// Who cancels takes the end of that connection for its having come to PostgreSQL.
#[test]
fn a_cancel_that_has_ended_does_not_hit_the_next_query() {
    let world = World::shared();
    let login = world.tenants[0].login();
    for login in [login.clone(), login.with("options", "-c pgusher.pool_mode=session")] {
        let mut session = world.login(&login).unwrap();
        for round in 0..100 {
            session.say(&query("select pg_sleep(0.002)")).unwrap();
            std::thread::sleep(Duration::from_micros(1_500 + 20 * round));
            let mut canceller = Conn::dial(world.listen);
            canceller.say(&wire::cancel(session.pid, &session.key)).unwrap();
            assert!(canceller.farewell().is_empty());
            let _ = session.rows();
            assert!(session.one("select pg_sleep(0.003)").is_ok(), "in round {round}");
        }
    }
}

#[test]
fn a_guessed_cancel_key_cancels_nothing() {
    let world = World::shared();
    let mut victim = world.session(0);
    let thief = world.session(1);
    victim.say(&query("select pg_sleep(2), 'slept'")).unwrap();
    let mut guesses: Vec<Vec<u8>> = (0..20u8).map(|n| vec![n; 4]).collect();
    guesses.extend([vec![], thief.key.clone(), [&victim.key[..], b"\0"].concat()]);
    guesses.extend([1, 2, 3].map(|n| victim.key[..n].to_vec()));
    guesses.push(victim.key.iter().map(|b| b ^ 1).collect());
    for key in guesses {
        let mut canceller = Conn::dial(world.listen);
        let _ = canceller.say(&wire::cancel(victim.pid, &key));
        assert!(canceller.farewell().is_empty());
    }
    for pid in [thief.pid, victim.pid.wrapping_add(1), 0, u32::MAX] {
        let mut canceller = Conn::dial(world.listen);
        canceller.say(&wire::cancel(pid, &victim.key)).unwrap();
        assert!(canceller.farewell().is_empty());
    }
    assert_eq!(victim.rows().unwrap()[0][1].as_deref(), Some("slept"));
}

#[test]
fn the_first_sessions_know_what_postgresql_reports() {
    let world = World::shared();
    let direct = world.superuser("postgres");
    let through = world.session(0);
    for (name, value) in &direct.parameters {
        let seen = through.parameters.get(name);
        if !["is_superuser", "session_authorization", "application_name"].contains(&&**name) {
            assert_eq!(seen, Some(value), "{name}");
        }
    }
    let named = world.login(&world.tenants[0].login().with("application_name", "mine")).unwrap();
    assert_eq!(named.parameters["application_name"], "mine");
    let tokyo = world.login(&world.tenants[0].login().with("TimeZone", "Asia/Tokyo")).unwrap();
    assert_eq!(tokyo.parameters["TimeZone"], "Asia/Tokyo");
    let encoded = world.tenants[0].login().with("client_encoding", "LATIN1");
    let mut encoded = world.login(&encoded).unwrap();
    assert_eq!(encoded.parameters["client_encoding"], "LATIN1");
    encoded.say(&query("select chr(233)")).unwrap();
    let heard = encoded.hear_all().unwrap();
    let row = heard.iter().find(|m| m.tag == b'D').unwrap();
    assert_eq!(row.body, b"\0\x01\0\0\0\x01\xe9");
}

#[test]
fn over_a_unix_socket_token_and_key_log_in() {
    if bare::wanted() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join(".s.PGSQL.6432");
    let plan = Plan::default().set("listen.unix_socket", socket.to_str().unwrap());
    let world = World::start(plan);
    let tenant = &world.tenants[0];
    let psql = |user: &str, password: &str| {
        let mut command = Command::new(tools::program("psql"));
        command.args(["-XAt", "-h", place.path().to_str().unwrap(), "-p", "6432", "-U", user]);
        command.args(["-d", &tenant.database(), "-c", "select current_database()"]);
        tools::run(command.env("PGPASSWORD", password)).trim().to_owned()
    };
    assert_eq!(psql("app", &tenant.token), tenant.database());
    assert_eq!(psql(&tenant.key_user, &tenant.key_secret), tenant.database());
}

#[test]
fn a_new_certificate_is_shown_without_dropping_a_session() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default().set("tls.reload_every", "100ms"));
    let old = world.tls.client(&[]);
    let mut session = world.login(&world.tenants[0].login().over(&old)).unwrap();
    assert_eq!(session.one("select 1"), Ok("1".into()));
    // Another authority and another certificate in the same places.
    let new = world.tls.renew().client(&[]);
    let fresh = || world.login(&world.tenants[0].login().over(&new)).ok()?.one("select 1").ok();
    eventually(Duration::from_secs(10), "the new certificate is shown", fresh);
    assert_eq!(session.one("select 2"), Ok("2".into()), "the old session lives");
}

#[test]
fn a_hangup_reads_the_certificate_anew_and_ends_nobody() {
    if bare::wanted() {
        return;
    }
    let world = World::start(Plan::default());
    let (old, tenant) = (world.tls.client(&[]), &world.tenants[0]);
    let (cert, key) = (world.tls.cert.display(), world.tls.key.display());
    let tls = format!("[tls]\ncertificate = '{cert}'\nkey = '{key}'\nreload_every = '0'\n");
    let served = Served::beside(&world, &tls);
    let mut session = Conn::login(served.listen, &tenant.login().over(&old)).unwrap();
    let renewed = world.tls.renew();
    let new = tenant.login().over(&renewed.client(&[]));
    assert!(Conn::login(served.listen, &new).is_err(), "nobody has told it");
    served.signal("-HUP");
    let fresh = || Conn::login(served.listen, &new).ok()?.one("select 1").ok();
    eventually(Duration::from_secs(10), "the new certificate is shown", fresh);
    // Files that do not fit change nothing.
    std::fs::write(&renewed.cert, "no certificate").unwrap();
    served.signal("-HUP");
    assert_eq!(session.one("select 1"), Ok("1".into()), "the old session lives");
    assert_eq!(fresh().as_deref(), Some("1"));
}

#[test]
fn where_certificates_are_required_nobody_comes_around_the_handshake() {
    if bare::wanted() {
        return;
    }
    let world = World::shared();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let tls = format!(
        "[tls]\ncertificate = '{}'\nkey = '{}'\nclient_certificates = 'required'\nclient_ca = '{}'\n",
        path(&world.tls.cert),
        path(&world.tls.key),
        path(&world.tls.ca)
    );
    let served = Served::beside(world, &tls);
    let tenant = &world.tenants[0];
    let key = Login::new(&tenant.key_user, &tenant.key_secret, &tenant.database());
    for login in [tenant.login(), key] {
        assert_eq!(code(Conn::login(served.listen, &login)), "28000");
    }
}
