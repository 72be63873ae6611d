//! PostgreSQL's own process, to be killed and brought back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{World, eventually, tools};

/// The server of one world.
pub struct Postmaster {
    data: PathBuf,
    command: String,
    owner: String,
}

impl Postmaster {
    /// The running server of `world`.
    pub fn of(world: &World) -> Self {
        let data = PathBuf::from(world.superuser("postgres").one("show data_directory").unwrap());
        let command = fs::read_to_string(data.join("postmaster.opts")).unwrap();
        let owner = tools::run(Command::new("stat").args(["-c", "%U"]).arg(&data));
        Self { data, command: command.trim().into(), owner: owner.trim().into() }
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid: u32 = text.lines().next()?.trim().parse().ok()?;
        Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
    }

    /// SIGKILL to it and every child, at once.
    pub fn kill(&self) {
        let pid = self.pid().expect("it runs").to_string();
        let children = Command::new("pgrep").args(["-P", &pid]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        // The postmaster first, or it would begin a crash recovery of its own.
        tools::run(Command::new("kill").args(["-KILL", &pid]));
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", child]).output();
        }
        for process in std::iter::once(&*pid).chain(children.split_whitespace()) {
            let gone = || is_gone(process).then_some(());
            eventually(Duration::from_secs(20), "PostgreSQL is gone", gone);
        }
    }

    /// Starts it as it was started, unless somebody else did.
    pub fn revive(&self, world: &World) {
        eventually(Duration::from_secs(300), "PostgreSQL is back", || {
            if world.try_superuser("postgres").is_ok() {
                return Some(());
            }
            if self.pid().is_none_or(|pid| is_gone(&pid.to_string())) {
                self.spawn();
                std::thread::sleep(Duration::from_millis(300));
            }
            None
        });
    }

    fn spawn(&self) {
        let mut command = Command::new("sh");
        let script = format!("exec {} >/dev/null 2>&1", self.command);
        if self.owner == "root" || std::env::var("USER").is_ok_and(|u| u == self.owner) {
            command.args(["-c", &script]);
        } else {
            command = Command::new("runuser");
            command.args(["-u", &self.owner, "--", "sh", "-c", &script]);
        }
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(command.spawn().unwrap());
    }
}

/// Whether a process has ended and its sockets are closed: a zombie is all that is left, if that.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}
