//! A PostgreSQL that an earlier `pgusher dev` left running or left a pid file of.

use std::fs;
use std::path::Path;

use super::{Account, Binaries, ClusterError};

/// Makes the data directory free to start in: a server that still runs there (its pgusher was
/// killed) is stopped, a pid file without a server is removed. The caller holds the lock of the
/// directory, so such a server is nobody's.
pub(super) async fn clear(
    account: &Account,
    binaries: &Binaries,
    pgdata: &Path,
) -> Result<(), ClusterError> {
    let pid_file = pgdata.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&pid_file) else { return Ok(()) };
    let pid = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
    let alive = match pid {
        Some(pid) => runs_here(pid, pgdata).await,
        None => false,
    };
    if alive {
        tracing::info!(pid, "stopping the postgresql that an earlier run left behind");
        return stop(account, binaries, pgdata).await;
    }
    // PostgreSQL removes a stale file itself, unless the pid has been given to another process
    // of the same account since, as happens in containers.
    tracing::info!(pid, "removing the pid file of a postgresql that is gone");
    fs::remove_file(&pid_file).map_err(ClusterError::io("cannot remove postmaster.pid"))
}

/// Stops the server of `pgdata`: fast, and when that does not help, at once.
pub(super) async fn stop(
    account: &Account,
    binaries: &Binaries,
    pgdata: &Path,
) -> Result<(), ClusterError> {
    let mut said = String::new();
    for (mode, seconds) in [("fast", "20"), ("immediate", "10")] {
        let mut command = account.command(&binaries.program("pg_ctl"));
        command.args(["stop", "--wait", "--silent", "--mode", mode, "--timeout", seconds]);
        let output = command.arg("--pgdata").arg(pgdata).output().await;
        let output = output.map_err(ClusterError::io("cannot run pg_ctl"))?;
        // It may end by itself meanwhile; the pid file is the last thing it removes.
        if output.status.success() || !pgdata.join("postmaster.pid").exists() {
            return Ok(());
        }
        String::from_utf8_lossy(&output.stderr).trim().clone_into(&mut said);
        tracing::warn!(mode, said, "pg_ctl could not stop postgresql");
    }
    Err(ClusterError::Program { program: "pg_ctl stop".to_owned(), said })
}

/// Whether process `pid` is the postmaster of `pgdata`: a postmaster's working directory is its
/// data directory. Without `/proc`, its command line has to do.
async fn runs_here(pid: u32, pgdata: &Path) -> bool {
    if Path::new("/proc/self/cwd").exists() {
        return fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == pgdata);
    }
    let mut command = tokio::process::Command::new("ps");
    let output = command.args(["-o", "command=", "-p", &pid.to_string()]).output().await;
    output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(&*pgdata.to_string_lossy()))
}
