//! Handshakes over real certificates: reload, client certificates, ALPN, sslmode, bindings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect, TlsStream as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::net::{Socket, Stream};

/// An authority and a directory with the files of a server.
struct World {
    dir: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl World {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("authority");
        let world = Self { dir: tempfile::tempdir().expect("dir"), authority };
        std::fs::write(world.path("ca.pem"), world.authority.pem()).expect("write");
        world.issue("server", &["localhost"]);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `<name>.pem` and `<name>.key`; gives the certificate in DER.
    fn issue(&self, name: &str, hosts: &[&str]) -> Vec<u8> {
        let key = KeyPair::generate().expect("key");
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let params = CertificateParams::new(hosts).expect("params");
        let certificate = params.signed_by(&key, &self.authority).expect("sign");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("write");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("write");
        certificate.der().to_vec()
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            ..TlsSettings::default()
        }
    }

    fn server(&self) -> ServerTls {
        ServerTls::load(self.settings()).expect("load")
    }

    /// A client that trusts the authority and offers these protocols.
    fn client(&self, alpn: &[&str]) -> ClientConfig {
        let roots = Roots::load(Some(&self.path("ca.pem"))).expect("roots");
        let mut config = roots.client_config().expect("config");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

type Client = tokio_rustls::client::TlsStream<DuplexStream>;

/// Runs both sides of a handshake.
async fn shake(
    server: &TlsSnapshot,
    hello: Hello,
    client: ClientConfig,
) -> (std::io::Result<Accepted>, std::io::Result<Client>) {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let name = ServerName::try_from("localhost").expect("name");
    let connector = TlsConnector::from(Arc::new(client));
    let accept = async { server.accept(Socket::Pipe(ours), hello).await };
    let connect = async {
        let mut tls = Box::pin(connector.connect(name, theirs)).await?;
        // TLS 1.3 lets the client finish before the server has judged its certificate.
        let mut byte = [0];
        tls.read_exact(&mut byte).await?;
        Ok(tls)
    };
    let accept = async {
        let mut accepted = accept.await?;
        accepted.stream.write_all(b"!").await?;
        accepted.stream.flush().await?;
        Ok(accepted)
    };
    tokio::join!(accept, connect)
}

#[tokio::test]
async fn a_handshake_carries_bytes_and_its_binding() {
    let world = World::new();
    let der = world.issue("server", &["localhost"]);
    let server = world.server();
    let (accepted, client) = shake(&server.snapshot(), Hello::Asked, world.client(&[])).await;
    let (mut accepted, mut client) = (accepted.expect("server"), client.expect("client"));
    assert!(accepted.stream.is_tls() && !accepted.client_certificate);
    let digest = end_point_digest(&der).expect("ECDSA has one");
    assert_eq!(accepted.end_point.as_deref(), Some(&*digest));
    client.write_all(b"ping").await.expect("write");
    let mut got = [0; 4];
    accepted.stream.read_exact(&mut got).await.expect("read");
    assert_eq!(&got, b"ping");
    let seen = tokio_rustls::TlsStream::from(client);
    assert_eq!(peer_end_point(&seen), Some(digest), "both ends see the same");
}

#[tokio::test]
async fn alpn_is_postgresql_or_nothing_and_direct_insists() {
    let world = World::new();
    let server = world.server().snapshot();
    for (hello, alpn, good) in [
        (Hello::Asked, &[][..], true),
        (Hello::Asked, &["postgresql"][..], true),
        (Hello::Asked, &["http/1.1", "postgresql"][..], true),
        (Hello::Asked, &["http/1.1"][..], false),
        (Hello::Direct, &["postgresql"][..], true),
        (Hello::Direct, &[][..], false),
        (Hello::Direct, &["h2"][..], false),
    ] {
        let (accepted, _) = shake(&server, hello, world.client(alpn)).await;
        assert_eq!(accepted.is_ok(), good, "{hello:?} {alpn:?}");
    }
}

#[tokio::test]
async fn the_minimum_version_holds() {
    let world = World::new();
    let old = |world: &World| {
        let roots = Roots::load(Some(&world.path("ca.pem"))).expect("roots");
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("1.2")
            .with_root_certificates(Arc::clone(roots.store()))
            .with_no_client_auth()
    };
    let (accepted, client) = shake(&world.server().snapshot(), Hello::Asked, old(&world)).await;
    accepted.expect("1.2 is welcome by default");
    assert_eq!(client.expect("1.2").get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let settings = TlsSettings { minimum: TlsMinimum::Tls13, ..world.settings() };
    let strict = ServerTls::load(settings).expect("load").snapshot();
    assert!(shake(&strict, Hello::Asked, old(&world)).await.0.is_err());
    shake(&strict, Hello::Asked, world.client(&[])).await.0.expect("1.3");
}

#[tokio::test]
async fn certificates_change_and_sessions_stay() {
    let world = World::new();
    let server = Arc::new(world.server());
    assert_eq!(server.reload_if_changed(), Ok(false));
    let (accepted, client) = shake(&server.snapshot(), Hello::Asked, world.client(&[])).await;
    let (mut session, mut client) = (accepted.expect("server").stream, client.expect("client"));
    let before = server.snapshot().end_point().cloned();

    let der = world.issue("server", &["localhost"]);
    assert_eq!(server.reload_if_changed(), Ok(true));
    assert_eq!(server.reload_if_changed(), Ok(false));
    let after = server.snapshot().end_point().cloned();
    assert_ne!(before, after);
    assert_eq!(after.as_deref(), end_point_digest(&der).as_deref());
    session.write_all(b"still here").await.expect("write");
    session.flush().await.expect("flush");
    let mut got = [0; 10];
    client.read_exact(&mut got).await.expect("the old session lives");
    let (accepted, _) = shake(&server.snapshot(), Hello::Asked, world.client(&[])).await;
    accepted.expect("the new certificate works");

    // A key that does not fit, half a file, no file: the old certificate stays.
    world.issue("other", &["localhost"]);
    std::fs::copy(world.path("other.key"), world.path("server.key")).expect("copy");
    assert!(server.reload_if_changed().is_err(), "the key is not the certificate's");
    assert_eq!(server.reload_if_changed(), Ok(false), "and is complained about once");
    std::fs::write(world.path("server.pem"), b"-----BEGIN CERTIFICATE-----\nAAA").expect("write");
    assert!(server.reload().is_err());
    std::fs::remove_file(world.path("server.pem")).expect("remove");
    let problems = server.reload().expect_err("missing");
    assert!(problems[0].contains("server.pem"), "{problems:?}");
    assert_eq!(server.snapshot().end_point().cloned(), after);
    let (accepted, _) = shake(&server.snapshot(), Hello::Asked, world.client(&[])).await;
    accepted.expect("still served");

    // The watcher sees a good change by itself.
    let settings = TlsSettings { reload_every: crate::units::Span::millis(1), ..world.settings() };
    world.issue("server", &["localhost"]);
    let server = Arc::new(ServerTls::load(settings).expect("load"));
    let watcher = tokio::spawn(Arc::clone(&server).watch());
    let der = world.issue("server", &["localhost"]);
    let wanted = end_point_digest(&der);
    while server.snapshot().end_point().map(|digest| digest.to_vec()) != wanted {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    watcher.abort();
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_told() {
    let world = World::new();
    let with_certificate = |name: &str| {
        let roots = Roots::load(Some(&world.path("ca.pem"))).expect("roots");
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(Arc::clone(roots.store()))
            .with_client_auth_cert(
                pem::certificates(&world.path(&format!("{name}.pem"))).expect("certificate"),
                pem::private_key(&world.path(&format!("{name}.key"))).expect("key"),
            )
            .expect("client certificate")
    };
    world.issue("app", &["app"]);
    let stranger = World::new();
    stranger.issue("app", &["app"]);
    for file in ["app.pem", "app.key"] {
        std::fs::copy(stranger.path(file), world.path(&format!("bad-{file}"))).expect("copy");
    }
    std::fs::rename(world.path("bad-app.pem"), world.path("bad.pem")).expect("rename");
    std::fs::rename(world.path("bad-app.key"), world.path("bad.key")).expect("rename");

    let server = |client_certificates| {
        let client_ca = Some(world.path("ca.pem"));
        let settings = TlsSettings { client_certificates, client_ca, ..world.settings() };
        ServerTls::load(settings).expect("load").snapshot()
    };
    for (mode, client, good) in [
        (ClientCertificates::Optional, world.client(&[]), Some(false)),
        (ClientCertificates::Optional, with_certificate("app"), Some(true)),
        (ClientCertificates::Optional, with_certificate("bad"), None),
        (ClientCertificates::Required, world.client(&[]), None),
        (ClientCertificates::Required, with_certificate("app"), Some(true)),
        (ClientCertificates::Required, with_certificate("bad"), None),
        (ClientCertificates::Off, with_certificate("bad"), Some(false)),
    ] {
        let (accepted, _) = shake(&server(mode), Hello::Asked, client).await;
        assert_eq!(accepted.ok().map(|a| a.client_certificate), good, "{mode:?}");
    }
    let client_certificates = ClientCertificates::Required;
    let settings = TlsSettings { client_certificates, ..world.settings() };
    assert!(ServerTls::load(settings).is_err(), "without authorities nobody could be checked");
}

#[test]
fn all_problems_of_the_files_are_told_at_once() {
    let settings = TlsSettings {
        certificate: "/nonexistent/cert".into(),
        key: "/nonexistent/key".into(),
        client_certificates: ClientCertificates::Optional,
        client_ca: Some("/nonexistent/ca".into()),
        ..TlsSettings::default()
    };
    let problems = ServerTls::load(settings).expect_err("nothing there");
    assert_eq!(problems.len(), 3, "{problems:?}");
}

/// Connects with [`ClientTls`] to a server that shows `server`.
async fn dial(
    tls: &ClientTls,
    server: &TlsSnapshot,
    (host, mode, ca): (&str, SslMode, Option<&Path>),
) -> std::io::Result<Stream> {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let accept = server.accept(Socket::Pipe(ours), Hello::Asked);
    let connect = tls.connect(Socket::Pipe(theirs), host, mode, ca);
    let (_, stream) = tokio::join!(accept, connect);
    stream
}

#[tokio::test]
async fn sslmode_decides_what_is_checked() {
    let (world, stranger) = (World::new(), World::new());
    let tls = ClientTls::new(ClientTlsSettings::default()).expect("client");
    let server = world.server().snapshot();
    let (ours, others) = (world.path("ca.pem"), stranger.path("ca.pem"));
    for (host, mode, ca, good) in [
        ("localhost", SslMode::VerifyFull, Some(&ours), true),
        ("127.0.0.1", SslMode::VerifyFull, Some(&ours), false),
        ("elsewhere", SslMode::VerifyFull, Some(&ours), false),
        ("localhost", SslMode::VerifyFull, Some(&others), false),
        ("localhost", SslMode::VerifyFull, None, false),
        ("elsewhere", SslMode::VerifyCa, Some(&ours), true),
        ("elsewhere", SslMode::VerifyCa, Some(&others), false),
        // libpq: with authorities at hand `require` checks the chain.
        ("elsewhere", SslMode::Require, Some(&ours), true),
        ("elsewhere", SslMode::Require, Some(&others), false),
        ("elsewhere", SslMode::Require, None, true),
        ("elsewhere", SslMode::Prefer, Some(&others), true),
    ] {
        let result = dial(&tls, &server, (host, mode, ca.map(PathBuf::as_path))).await;
        assert_eq!(result.is_ok(), good, "{host} {mode:?} {result:?}");
    }
    let stream = dial(&tls, &server, ("x", SslMode::Require, None)).await.expect("on");
    let Stream::Tls(stream) = stream else { panic!("tls") };
    assert_eq!(peer_end_point(&stream).as_deref(), server.end_point().map(|digest| &**digest));
    for (text, mode) in [("verify-full", SslMode::VerifyFull), ("allow", SslMode::Prefer)] {
        assert_eq!(text.parse(), Ok(mode));
    }
    assert!("yes".parse::<SslMode>().is_err());
}

#[tokio::test]
async fn a_self_signed_server_may_be_its_own_authority_and_only_itself() {
    let dir = tempfile::tempdir().expect("dir");
    let write = |name: &str, authority: bool| {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&key).expect("sign");
        let (pem, secret) = (dir.path().join(name), dir.path().join(format!("{name}.key")));
        std::fs::write(&pem, certificate.pem()).expect("write");
        std::fs::write(&secret, key.serialize_pem()).expect("write");
        TlsSettings { certificate: pem, key: secret, ..TlsSettings::default() }
    };
    let tls = ClientTls::new(ClientTlsSettings::default()).expect("client");
    for authority in [true, false] {
        let settings = write("own", authority);
        let other = write("other", authority);
        let server = ServerTls::load(settings.clone()).expect("load").snapshot();
        let mode = SslMode::VerifyFull;
        let ca = Some(settings.certificate.as_path());
        dial(&tls, &server, ("localhost", mode, ca)).await.expect("named as its own authority");
        assert!(dial(&tls, &server, ("elsewhere", mode, ca)).await.is_err(), "another name");
        let ca = Some(other.certificate.as_path());
        assert!(dial(&tls, &server, ("localhost", mode, ca)).await.is_err(), "another key");
    }
}

#[tokio::test]
async fn configurations_are_kept_until_a_file_changes() {
    let world = World::new();
    let tls = ClientTls::new(ClientTlsSettings::default()).expect("client");
    let ca = world.path("ca.pem");
    let config = || tls.config(SslMode::VerifyFull, Some(&ca));
    let (one, two) = (config().await.expect("one"), config().await.expect("two"));
    assert!(Arc::ptr_eq(&one, &two));
    std::fs::write(&ca, World::new().authority.pem()).expect("write");
    assert!(!Arc::ptr_eq(&one, &config().await.expect("three")), "the file changed");
    let half = ClientTlsSettings { certificate: Some(ca), key: None };
    assert!(ClientTls::new(half).is_err());
}

#[tokio::test]
async fn pgusher_shows_its_certificate_to_postgresql() {
    let world = World::new();
    world.issue("pgusher", &["pgusher"]);
    let settings = TlsSettings {
        client_certificates: ClientCertificates::Required,
        client_ca: Some(world.path("ca.pem")),
        ..world.settings()
    };
    let server = ServerTls::load(settings).expect("load").snapshot();
    let tls = ClientTls::new(ClientTlsSettings {
        certificate: Some(world.path("pgusher.pem")),
        key: Some(world.path("pgusher.key")),
    });
    let (tls, ca) = (tls.expect("client"), world.path("ca.pem"));
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let accept = server.accept(Socket::Pipe(ours), Hello::Asked);
    let connect = tls.connect(Socket::Pipe(theirs), "localhost", SslMode::VerifyFull, Some(&ca));
    let (accepted, connected) = tokio::join!(accept, connect);
    connected.expect("client");
    assert!(accepted.expect("server").client_certificate);
}

#[tokio::test]
async fn tokio_postgres_connects_and_binds() {
    let world = World::new();
    let server = world.server().snapshot();
    let tls = ClientTls::new(ClientTlsSettings::default()).expect("client");
    let ca = world.path("ca.pem");
    let mut make = PgTls::new(&tls, SslMode::VerifyFull, Some(&ca)).await.expect("connector");
    let connector = MakeTlsConnect::<DuplexStream>::make_tls_connect(&mut make, "localhost");
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let accept = server.accept(Socket::Pipe(ours), Hello::Asked);
    let (accepted, stream) = tokio::join!(accept, connector.expect("name").connect(theirs));
    accepted.expect("server");
    // ChannelBinding shows nothing of itself; that it is made at all is seen by a SCRAM-PLUS login
    // against PostgreSQL in tests/.
    let _ = stream.expect("client").channel_binding();
}
