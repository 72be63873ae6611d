//! A second pgusher over a world's registry: `pgusher serve` beside its `dev`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::operator::config;
use super::{World, tools};

/// `pgusher serve`, ended when dropped.
pub struct Served {
    child: Child,
    pub listen: SocketAddr,
    pub http: SocketAddr,
    pub ops: SocketAddr,
}

impl Served {
    /// Starts it beside `world`, on ports of its own.
    pub fn beside(world: &World, more: &str) -> Self {
        Self::listening(world, more, "127.0.0.1:0")
    }

    /// The same, for clients at this address.
    pub fn listening(world: &World, more: &str, at: &str) -> Self {
        let file = config(world, more);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgusher"));
        command.args(["serve", "--config", &file, "--set", "log.format=json"]);
        for (key, value) in [
            ("listen.addresses", &*format!("[\"{at}\"]")),
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
        let at = |field| address(&ready, field);
        Self { child, listen: at("listen"), http: at("http"), ops: at("ops") }
    }
}

impl Served {
    /// Asks it to end, as an operator does; whoever is still there may end first.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        tools::run(Command::new("kill").args([signal, &self.child.id().to_string()]));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first address of a field of the log's line: `Some(ADDRESS)`, or `[ADDRESS, …]`.
fn address(line: &str, field: &str) -> SocketAddr {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let text = json[field].as_str().unwrap_or_else(|| panic!("no {field}: {line}"));
    let first = text.trim_start_matches("Some(").split([',', ')']).next().unwrap();
    let first = first.strip_prefix('[').filter(|_| text.ends_with(']')).unwrap_or(first);
    let whole = first.strip_suffix(']').unwrap_or(first);
    whole.parse().unwrap_or_else(|e| panic!("{field}: {e}: {line}"))
}
