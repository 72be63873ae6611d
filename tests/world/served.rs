//! A second pgusher over a world's registry: `pgusher serve` beside its `dev`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::World;
use super::operator::config;

/// `pgusher serve`, ended when dropped.
pub struct Served {
    child: Child,
    pub listen: SocketAddr,
    pub http: SocketAddr,
}

impl Served {
    /// Starts it beside `world`, on ports of its own.
    pub fn beside(world: &World, more: &str) -> Self {
        let file = config(world, more);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
        command.args(["serve", "--config", &file, "--set", "log.format=json"]);
        for (key, value) in [
            ("listen.addresses", "[\"127.0.0.1:0\"]"),
            ("http.address", "127.0.0.1:0"),
            ("ops.address", "127.0.0.1:0"),
        ] {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = String::new();
        let ready = lines.find(|line| {
            seen += &format!("{line}\n");
            line.contains("\"ready\"")
        });
        let ready = ready.unwrap_or_else(|| panic!("not ready:\n{seen}"));
        // Somebody has to read what else it says.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, listen: address(&ready, "listen"), http: address(&ready, "http") }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first address after a field of the log's line.
fn address(line: &str, field: &str) -> SocketAddr {
    let at = line.find(&format!("\"{field}\"")).unwrap_or_else(|| panic!("no {field}: {line}"));
    let from = at + line[at..].find("127.0.0.1:").unwrap_or_else(|| panic!("{field}: {line}"));
    let rest = &line[from..];
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).unwrap();
    rest[..end].parse().unwrap()
}
