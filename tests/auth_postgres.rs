//! SCRAM and TLS against the real peers: PostgreSQL's server, and libpq as the client.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use pgusher::auth::scram::{
    Binding, Candidate, KeyCache, MockSecret, Offer, ScramClient, ScramError, ScramServer,
    ScramVerifier,
};
use pgusher::auth::{FreshKey, md5_answer};
use pgusher::cli::dev::{Cluster, ClusterSpec};
use pgusher::net::tls::{
    ClientTls, ClientTlsSettings, Hello, PgTls, ServerTls, SslMode, TlsSettings, peer_end_point,
};
use pgusher::net::{Socket, Stream};
use pgusher::units::Secret;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::NoTls;
use tokio_postgres::config::{ChannelBinding, SslMode as PgSslMode};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Writes a self-signed certificate into `dir`; it is its own authority.
fn certificate(dir: &Path, algorithm: &'static rcgen::SignatureAlgorithm) -> TlsSettings {
    let key = rcgen::KeyPair::generate_for(algorithm).expect("key");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    let (certificate, secret) = (dir.join("tls.pem"), dir.join("tls.key"));
    std::fs::write(&certificate, params.self_signed(&key).expect("sign").pem()).expect("write");
    std::fs::write(&secret, key.serialize_pem()).expect("write");
    TlsSettings { certificate, key: secret, ..TlsSettings::default() }
}

/// Gives the cluster this certificate, as its superuser may.
async fn encrypt(cluster: &Cluster, files: &TlsSettings) {
    let (client, connection) =
        tokio_postgres::connect(&cluster.url("postgres"), NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    for (path, name) in [(&files.certificate, "tls.pem"), (&files.key, "tls.key")] {
        let text = std::fs::read_to_string(path).expect("read");
        let copy = format!(
            "COPY (SELECT unnest(string_to_array('{}', chr(10)))) TO PROGRAM \
             'umask 077 && cat > {name}'",
            text.trim_end()
        );
        client.batch_execute(&copy).await.expect("copied");
    }
    for statement in [
        "ALTER SYSTEM SET ssl_cert_file = 'tls.pem'",
        "ALTER SYSTEM SET ssl_key_file = 'tls.key'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(statement).await.expect(statement);
    }
    drop(client);
    driver.await.expect("no panic").expect("closes");
}

async fn execute(cluster: &Cluster, sql: &str) {
    let (client, connection) =
        tokio_postgres::connect(&cluster.url("postgres"), NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    client.batch_execute(sql).await.expect(sql);
    drop(client);
    driver.await.expect("no panic").expect("closes");
}

/// Reads one message: its tag and its body.
async fn message(stream: &mut Stream) -> io::Result<(u8, Vec<u8>)> {
    let tag = stream.read_u8().await?;
    let length = usize::try_from(stream.read_u32().await?).expect("fits");
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    Ok((tag, body))
}

/// Dials; with an `ca` over TLS. PostgreSQL needs a moment after its reload to say `S`.
async fn dial(port: u16, ca: Option<&Path>) -> Stream {
    for _ in 0..2_000 {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
        let Some(ca) = ca else { return Stream::Plain(Socket::Tcp(socket)) };
        socket.write_all(&SSL_REQUEST).await.expect("write");
        if socket.read_u8().await.expect("read") == b'S' {
            let tls = ClientTls::new(ClientTlsSettings::default()).expect("settings");
            let socket = Socket::Tcp(socket);
            return tls
                .connect(socket, "localhost", SslMode::VerifyFull, Some(ca))
                .await
                .expect("handshake");
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the server never offered TLS");
}

/// Logs in; gives the mechanism that was used, or PostgreSQL's SQLSTATE.
async fn login(
    stream: &mut Stream,
    user: &str,
    password: &Secret,
    cache: &KeyCache,
) -> Result<&'static str, String> {
    let mut out = BytesMut::new();
    frontend::startup_message([("user", user), ("database", "postgres")], &mut out).expect("fits");
    stream.write_all(&out).await.expect("write");
    let mut used = "trust";
    let mut client = None;
    let mut awaited = None;
    loop {
        let (tag, body) = message(stream).await.expect("read");
        if tag == b'E' {
            let text = String::from_utf8_lossy(&body);
            let state = text.split('\0').find_map(|field| field.strip_prefix('C'));
            return Err(state.unwrap_or("?").to_owned());
        }
        assert_eq!(tag, b'R');
        let (code, data) = body.split_at(4);
        out.clear();
        match u32::from_be_bytes(code.try_into().expect("four")) {
            0 => return Ok(used),
            5 => {
                let answer = md5_answer(user, password, data.try_into().expect("salt"));
                frontend::password_message(answer.as_bytes(), &mut out).expect("fits");
                used = "md5";
            }
            10 => {
                let offered = String::from_utf8_lossy(data).into_owned();
                let names: Vec<_> = offered.split('\0').collect();
                let digest = match &*stream {
                    Stream::Tls(tls) => peer_end_point(tls),
                    Stream::Plain(_) => None,
                };
                let scram = ScramClient::new(&Offer {
                    plain: names.contains(&"SCRAM-SHA-256"),
                    plus: names.contains(&"SCRAM-SHA-256-PLUS"),
                    end_point: digest.as_deref(),
                    require_binding: digest.is_some(),
                })
                .expect("offered");
                used = scram.mechanism();
                frontend::sasl_initial_response(used, &scram.first(), &mut out).expect("fits");
                client = Some(scram);
            }
            11 => {
                let scram = client.take().expect("begun");
                let challenge = scram.server_first(data).expect("challenge");
                let (salt, rounds) = (challenge.salt().to_vec(), challenge.iterations());
                let keys = cache
                    .known(password, &salt, rounds)
                    .unwrap_or_else(|| cache.derive(password, &salt, rounds));
                let (answer, next) = challenge.answer(&keys);
                frontend::sasl_response(&answer, &mut out).expect("fits");
                awaited = Some(next);
            }
            12 => {
                awaited.take().expect("answered").server_final(data).expect("it is our server");
                continue;
            }
            other => panic!("authentication request {other}"),
        }
        stream.write_all(&out).await.expect("write");
    }
}

#[tokio::test]
async fn postgresql_lets_us_in_by_every_method_and_bound_to_its_certificate() {
    let dir = tempfile::tempdir().expect("a directory");
    let spec =
        ClusterSpec { data: dir.path().join("data"), binaries: None, port: None, no_sync: true };
    let cluster = Cluster::start(&spec).await.expect("starts");
    let port = cluster.port();
    // ª is a under SASLprep, and PostgreSQL stores the prepared one.
    execute(&cluster, "CREATE ROLE prepared LOGIN PASSWORD 'pªssw\u{f6}rd'").await;
    let rounds = std::num::NonZeroU32::new(2).expect("two");
    let ours = ScramVerifier::make("derived", rounds).expect("random");
    execute(&cluster, &format!("CREATE ROLE ours LOGIN PASSWORD '{ours}'")).await;
    let hba = dir.path().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).expect("reads");
    std::fs::write(&hba, format!("host all old 127.0.0.1/32 md5\n{rules}")).expect("writes");
    let old = "SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'legacy'; \
               SELECT pg_reload_conf()";
    execute(&cluster, old).await;
    let cache = KeyCache::new(100).expect("random");
    let scram = Ok("SCRAM-SHA-256");
    let try_plain = async |user: &str, password: &str| {
        let mut stream = dial(port, None).await;
        login(&mut stream, user, &Secret::from(password), &cache).await
    };
    assert_eq!(try_plain("prepared", "pªssw\u{f6}rd").await, scram);
    assert_eq!(try_plain("prepared", "passw\u{f6}rd").await, scram);
    for _ in 0..2 {
        assert_eq!(try_plain("ours", "derived").await, scram, "our own verifier, then cached");
    }
    let refused = Err("28P01".to_owned());
    assert_eq!(try_plain("ours", "wrong").await, refused);
    assert_eq!(try_plain("nobody", "x").await, refused);
    // The reload of pg_hba.conf happens when it happens.
    let mut by_md5 = try_plain("old", "legacy").await;
    for _ in 0..2_000 {
        if by_md5.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        by_md5 = try_plain("old", "legacy").await;
    }
    assert_eq!(by_md5, Ok("md5"));
    assert_eq!(try_plain("old", "wrong").await, refused);

    let files = certificate(dir.path(), &rcgen::PKCS_ECDSA_P384_SHA384);
    encrypt(&cluster, &files).await;
    let mut stream = dial(port, Some(&files.certificate)).await;
    let bound = login(&mut stream, "ours", &Secret::from("derived"), &cache).await;
    assert_eq!(bound, Ok("SCRAM-SHA-256-PLUS"));

    // tokio-postgres over the same TLS, insisting on the binding.
    let tls = ClientTls::new(ClientTlsSettings::default()).expect("settings");
    let ca = Some(files.certificate.as_path());
    let connector = PgTls::new(&tls, SslMode::VerifyFull, ca).await.expect("connector");
    let mut config = tokio_postgres::Config::new();
    config.host("localhost").hostaddr([127, 0, 0, 1].into()).port(port);
    config.user("ours").password("derived").dbname("postgres");
    config.ssl_mode(PgSslMode::Require).channel_binding(ChannelBinding::Require);
    let (client, connection) = config.connect(connector).await.expect("connects");
    let driver = tokio::spawn(connection);
    let row = client
        .query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[])
        .await
        .expect("asks");
    assert!(row.get::<_, bool>(0));
    drop(client);
    driver.await.expect("no panic").expect("closes");
    cluster.stop().await.expect("stops");
}

/// One login of a libpq client by API key, as `session` will do it; says what libpq did.
async fn serve_one(
    listener: &TcpListener,
    tls: Option<&ServerTls>,
    verifier: Option<&ScramVerifier>,
) -> Result<(), ScramError> {
    let (socket, _) = listener.accept().await.expect("accepts");
    let mut socket = Socket::Tcp(socket);
    let mut header = [0; 8];
    let mut stream;
    let mut binding = Binding::Unavailable;
    loop {
        socket.read_exact(&mut header).await.expect("reads");
        if header != SSL_REQUEST {
            stream = Stream::Plain(socket);
            break;
        }
        let Some(tls) = tls else {
            socket.write_all(b"N").await.expect("writes");
            continue;
        };
        socket.write_all(b"S").await.expect("writes");
        let accepted = tls.snapshot().accept(socket, Hello::Asked).await.expect("handshake");
        binding = accepted.end_point.map_or(Binding::Unavailable, Binding::EndPoint);
        stream = accepted.stream;
        stream.read_exact(&mut header).await.expect("reads");
        break;
    }
    let length = u32::from_be_bytes(header[..4].try_into().expect("four"));
    let mut rest = vec![0; usize::try_from(length).expect("fits") - 8];
    stream.read_exact(&mut rest).await.expect("startup");

    let server = ScramServer::new(binding);
    let mut names = Vec::new();
    for name in server.mechanisms() {
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    names.push(0);
    send(&mut stream, 10, &names).await;
    let (tag, body) = message(&mut stream).await.expect("SASLInitialResponse");
    assert_eq!(tag, b'p');
    let end = body.iter().position(|byte| *byte == 0).expect("a name");
    let mechanism = String::from_utf8(body[..end].to_vec()).expect("text");
    let mock = MockSecret::from_shared(b"shared");
    let candidate =
        verifier.map_or(Candidate::Unknown { mock: &mock, id: "nobody" }, Candidate::Known);
    let (challenge, awaited) = server.client_first(&mechanism, &body[end + 5..], &candidate)?;
    send(&mut stream, 11, &challenge).await;
    let (_, proof) = message(&mut stream).await.expect("SASLResponse");
    let last = awaited.client_final(&proof)?;
    send(&mut stream, 12, &last).await;
    send(&mut stream, 0, &[]).await;
    // Enough of a session for `psql -c ''`: ReadyForQuery, then an empty query's answer.
    stream.write_all(b"Z\0\0\0\x05I").await.expect("ready");
    stream.flush().await.expect("flush");
    while let Ok((tag, _)) = message(&mut stream).await {
        if tag == b'Q' {
            stream.write_all(b"I\0\0\0\x04Z\0\0\0\x05I").await.expect("answer");
            stream.flush().await.expect("flush");
        }
    }
    Ok(())
}

async fn send(stream: &mut Stream, code: u32, data: &[u8]) {
    let length = u32::try_from(data.len() + 8).expect("fits");
    let mut out = vec![b'R'];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(data);
    stream.write_all(&out).await.expect("writes");
    stream.flush().await.expect("flush");
}

#[tokio::test]
async fn libpq_logs_in_by_api_key_bound_to_our_certificate() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = FreshKey::generate().expect("random");
    let listener = Arc::new(TcpListener::bind(("127.0.0.1", 0)).await.expect("listens"));
    let port = listener.local_addr().expect("bound").port();
    let run = async |options: &str, password: &str| {
        let url = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user={} dbname=app {options}",
            key.user()
        );
        let output = tokio::process::Command::new("psql")
            .env("PGPASSWORD", password)
            .args(["--no-psqlrc", "--command", ";", &url])
            .kill_on_drop(true)
            .output()
            .await
            .expect("psql runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let secret = key.secret.expose();
    for (algorithm, bound) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, true),
        (&rcgen::PKCS_ECDSA_P384_SHA384, true),
        (&rcgen::PKCS_RSA_SHA512, true),
        // No digest is defined for it: -PLUS is not offered, and libpq says it could have.
        (&rcgen::PKCS_ED25519, false),
    ] {
        let files = certificate(dir.path(), algorithm);
        let tls = ServerTls::load(files.clone()).expect("loads");
        let require = if bound { "channel_binding=require" } else { "" };
        let options =
            format!("sslmode=verify-full sslrootcert={} {require}", files.certificate.display());
        let (served, (good, said)) = tokio::join!(
            serve_one(&listener, Some(&tls), Some(&key.verifier)),
            run(&options, secret)
        );
        assert_eq!(served, Ok(()), "{said}");
        assert!(good, "{said}");
    }
    // Without TLS an API key works as well: nothing that could be replayed goes over the wire.
    let (served, (good, said)) = tokio::join!(
        serve_one(&listener, None, Some(&key.verifier)),
        run("sslmode=prefer", secret)
    );
    assert_eq!(served, Ok(()), "{said}");
    assert!(good, "{said}");
    // A wrong secret and an unknown id get equally far.
    for (verifier, password) in [(Some(&key.verifier), "wrong"), (None, secret)] {
        let (served, (good, _)) =
            tokio::join!(serve_one(&listener, None, verifier), run("sslmode=disable", password));
        assert_eq!(served, Err(ScramError::Proof));
        assert!(!good);
    }
}
