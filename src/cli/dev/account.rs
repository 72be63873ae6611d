//! The account PostgreSQL runs as.

use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command as Plain, Stdio};

use tokio::process::Command;

use super::ClusterError;

/// Who runs PostgreSQL: the caller, or an unprivileged account when the caller is root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: u32,
    dropped: Option<Dropped>,
}

/// The ids root changes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dropped {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The caller, or for root `postgres`, else `nobody`.
    ///
    /// # Errors
    /// [`ClusterError::NoAccount`] when root has nobody to change to.
    pub async fn choose() -> Result<Self, ClusterError> {
        let uid = id(&["-u"]).await.ok_or(ClusterError::NoAccount)?;
        if uid != 0 {
            return Ok(Self { name: "the caller".to_owned(), uid, dropped: None });
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id(&["-u", name]).await, id(&["-g", name]).await) {
                return Ok(Self {
                    name: name.to_owned(),
                    uid,
                    dropped: Some(Dropped { uid, gid }),
                });
            }
        }
        Err(ClusterError::NoAccount)
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user id files of PostgreSQL belong to.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Whether it is another account than the caller's.
    pub fn is_dropped(&self) -> bool {
        self.dropped.is_some()
    }

    /// A command that runs as this account: in a process group of its own, from `/` (the caller's
    /// directory may be closed to it), with messages in English so that they can be read here.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Plain::new(program);
        command.current_dir("/").stdin(Stdio::null()).process_group(0).env("LC_ALL", "C");
        for leaked in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGDATABASE", "PGOPTIONS"] {
            command.env_remove(leaked);
        }
        if let Some(Dropped { uid, gid }) = self.dropped {
            // std clears the supplementary groups with it.
            command.uid(uid).gid(gid);
        }
        command.into()
    }

    /// Gives `path` to this account.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        match self.dropped {
            Some(Dropped { uid, gid }) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// Whether this account can get into `dir`, asked of the kernel rather than computed, so that
    /// ACLs and mounts count.
    pub(super) async fn can_enter(&self, dir: &Path) -> bool {
        if self.dropped.is_none() {
            return true;
        }
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", "cd \"$0\""]).arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    }
}

/// A number from `id`, which knows every directory service the machine uses.
async fn id(args: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(args).output().await.ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
