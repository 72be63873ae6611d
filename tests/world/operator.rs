//! Operators: their tokens, their connections, and psql as they use it.

use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use pgusher::auth::{Algorithm, Power, Signer, SignerSettings, SigningKeySettings};

use super::wire::{Conn, Login};
use super::{World, tools};

/// An operator token of this world, minted with its own key.
pub fn token(world: &World, power: Power, lifetime: Option<Duration>) -> String {
    let key = std::fs::read_to_string(world.dir.join("data/signing.pem")).unwrap();
    let key = SigningKeySettings {
        algorithm: Algorithm::EdDsa,
        secret: key.into(),
        ..SigningKeySettings::default()
    };
    let signer = Signer::new(SignerSettings { keys: vec![key], ..SignerSettings::default() });
    let minted = signer.unwrap().operator(power, "tester", lifetime, SystemTime::now()).unwrap();
    minted.token.expose().to_owned()
}

/// An operator's connection.
pub fn operator(world: &World, power: Power) -> Conn {
    let login = Login::new("operator", &token(world, power, None), "pgusher");
    world.login(&login).unwrap_or_else(|e| panic!("{e:?}"))
}

/// psql in the console.
pub fn psql(world: &World, power: Power, sql: &str) -> Output {
    let (host, port) = (world.listen.ip().to_string(), world.listen.port().to_string());
    let mut psql = Command::new(tools::program("psql"));
    psql.args(["-X", "-A", "-w", "-h", &host, "-p", &port, "-U", "operator", "-d", "pgusher"])
        .args(["-c", sql])
        .env("PGPASSWORD", token(world, power, None));
    psql.output().unwrap()
}

/// What psql prints: the names of the columns, and the rows.
pub fn shown(world: &World, sql: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let output = psql(world, Power::Stats, sql);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| line.split('|').map(str::to_owned).collect());
    let columns = lines.next().unwrap_or_default();
    let mut rows: Vec<Vec<String>> = lines.collect();
    let footer = rows.pop().unwrap_or_default();
    assert!(footer[0].starts_with('('), "{sql}: {text}");
    (columns, rows)
}

/// One value: of the row with this first column, in this column.
pub fn cell(world: &World, sql: &str, key: &str, column: &str) -> Option<String> {
    let (columns, rows) = shown(world, sql);
    let at = columns.iter().position(|name| name == column).expect("the column is there");
    rows.iter().find(|row| row[0] == key).map(|row| row[at].clone())
}

/// The configuration that a `serve` beside this world's `dev` would have.
pub fn config(world: &World, more: &str) -> String {
    let file = world.dir.join("pgusher.toml");
    let data = world.dir.join("data");
    let (server, superuser) = (world.server_addr(), world.superuser_name());
    let text = format!(
        "[registry]\nurl = '{registry}'\n[auth]\nmaster_key_file = '{data}/master.key'\n\
         [[auth.signer.keys]]\nalgorithm = 'EdDSA'\nfile = '{data}/signing.pem'\n\
         [servers.dev]\nadmin_url = 'postgresql://{superuser}@{server}/postgres'\n{more}",
        registry = world.registry,
        data = data.display(),
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}
