//! The shell that keeps a world: whatever way the test process ends, the world ends with it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, Once, PoisonError, mpsc};
use std::time::Duration;

use serde_json::Value;

/// Where the logs of the living worlds are, for the panic hook.
static LOGS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A kept process. Dropping it ends the process.
pub struct Keeper {
    shell: Child,
    // Its end is the shell's sign.
    stdin: Option<ChildStdin>,
}

impl Keeper {
    /// The command to which the kept program and its arguments are added.
    pub fn command(dir: &Path) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(KEEPER).arg(dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Starts it; its standard output is the caller's to read.
    pub fn start(command: &mut Command) -> (Self, ChildStdout) {
        let mut shell = command.spawn().expect("sh runs");
        let (stdin, stdout) = (shell.stdin.take(), shell.stdout.take().unwrap());
        (Self { shell, stdin }, stdout)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Runs pgusher and waits for the end of its own standard input, which is ours to close. `$0` is
/// the world's directory, the rest is the command. Removes what the test process can no longer
/// remove itself when it was a `static`'s world.
const KEEPER: &str = r#"
ulimit -n "$(ulimit -Hn)"
"$@" 2>>"$0/log" &
pid=$!
echo $pid >"$0/pid"
exec 1>&- 2>/dev/null
while read -r _; do :; done
kill -TERM $pid 2>/dev/null
n=0
while kill -0 $pid 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
kill -KILL $pid 2>/dev/null
wait $pid
find "$0" -name postmaster.pid 2>/dev/null | while read -r f; do
    kill -QUIT "$(head -n 1 "$f")" 2>/dev/null
done
if [ -z "$PGUSHER_TEST_KEEP" ] && ! kill -0 $PPID 2>/dev/null; then rm -rf "$0"; fi
"#;

/// The first line of JSON a program prints, which must come `within`.
pub fn first_json_line(
    stdout: impl Read + Send + 'static,
    within: Duration,
) -> Result<Value, String> {
    let (say, hear) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let line = lines.find(|line| line.starts_with('{'));
        let _ = say.send(line);
        // The pipe stays open: what else is printed goes nowhere, and blocks nobody.
        lines.for_each(drop);
    });
    let line = hear.recv_timeout(within).map_err(|_| format!("not ready after {within:?}"))?;
    let line = line.ok_or("it ended")?;
    serde_json::from_str(&line).map_err(|e| format!("{e}: {line}"))
}

/// Makes a panic of any test show what the living worlds logged last.
pub fn show_logs_on_panic(log: &Path) {
    static HOOK: Once = Once::new();
    LOGS.lock().unwrap().push(log.to_owned());
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            for path in LOGS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let log = fs::read(path).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let lines: Vec<_> = log.lines().collect();
                eprintln!("--- the end of {}", path.display());
                for line in &lines[lines.len().saturating_sub(40)..] {
                    eprintln!("{line}");
                }
            }
        }));
    });
}

/// The world is gone, and its log with it.
pub fn forget(log: &Path) {
    LOGS.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| path != log);
}
