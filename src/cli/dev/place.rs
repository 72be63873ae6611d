//! Where the cluster's files lie.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Account, ClusterError};

/// The longest directory for a unix socket: 103 bytes on macOS, less `/.s.PGSQL.65535`.
const SOCKET_DIR_BYTES_MAX: usize = 103 - 15;

/// The directories of one dev cluster.
///
/// `home` is the `--data` directory and belongs to the caller. PostgreSQL's own files lie in
/// `base`: the same directory, unless the caller is root and the account that runs PostgreSQL
/// cannot get there (a checkout below `/root`, say); then it is a directory in `/var/tmp` named
/// after the path of `home`, so that the next start finds it again.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) home: PathBuf,
    pub(super) base: PathBuf,
    pub(super) sockets: PathBuf,
}

impl Place {
    /// Makes the directories.
    pub(super) async fn prepare(data: &Path, account: &Account) -> Result<Self, ClusterError> {
        let named = |e: &Path| format!("cannot make the data directory {}", e.display());
        fs::create_dir_all(data).map_err(ClusterError::io(named(data)))?;
        let home = data.canonicalize().map_err(ClusterError::io(named(data)))?;
        let key = fnv1a(home.as_os_str().as_encoded_bytes());
        // Only PostgreSQL's own files are another account's; what lies in `home` itself, such as
        // the sample tenants' passwords, is readable by the caller alone, file by file.
        // A directory with something in it keeps the mode its owner gave it.
        if fs::read_dir(&home).is_ok_and(|mut entries| entries.next().is_none()) {
            let mode = if account.is_dropped() { 0o755 } else { 0o700 };
            fs::set_permissions(&home, fs::Permissions::from_mode(mode))
                .map_err(ClusterError::io(named(&home)))?;
        }
        let base = if account.can_enter(&home).await {
            home.clone()
        } else {
            let base = PathBuf::from(format!("/var/tmp/pgusher-dev-{key:016x}"));
            own_dir(&base, 0, 0o755)?;
            tracing::warn!(
                account = account.name(),
                home = %home.display(),
                base = %base.display(),
                "the account that runs postgresql cannot enter the data directory, using another"
            );
            base
        };
        let sockets = sockets(&base, key, account)?;
        Ok(Self { home, base, sockets })
    }

    /// PostgreSQL's data directory.
    pub(super) fn pgdata(&self) -> PathBuf {
        self.base.join("postgres")
    }

    /// The major version that made the data directory, when there is one.
    pub(super) fn made_by(&self) -> Option<u32> {
        fs::read_to_string(self.pgdata().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// PostgreSQL's log.
    pub(super) fn log(&self) -> PathBuf {
        self.base.join("postgres.log")
    }

    /// The rules of who may connect how. Outside the data directory: root writes it, and writes
    /// nothing where another account could have put a symbolic link.
    pub(super) fn hba(&self) -> PathBuf {
        self.base.join("pg_hba.conf")
    }

    /// The port of the last start: tenants' rows in the registry name it.
    pub(super) fn port_file(&self) -> PathBuf {
        self.home.join("port")
    }
}

fn sockets(base: &Path, key: u64, account: &Account) -> Result<PathBuf, ClusterError> {
    let near = base.join("run");
    let dir = if near.as_os_str().len() <= SOCKET_DIR_BYTES_MAX {
        near
    } else {
        PathBuf::from(format!("/tmp/pgusher-dev-{key:016x}"))
    };
    own_dir(&dir, account.uid(), 0o700)?;
    account.give(&dir).map_err(ClusterError::io(format!("chown {}", dir.display())))?;
    Ok(dir)
}

/// Makes `dir`, or accepts it as it is when it is a real directory of `uid` or root: these lie
/// where anybody may write, so a link or a stranger's directory must not be followed.
fn own_dir(dir: &Path, uid: u32, mode: u32) -> Result<(), ClusterError> {
    match fs::DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(dir)
                .map_err(ClusterError::io(format!("stat {}", dir.display())))?;
            let ours = found.is_dir() && (found.uid() == uid || found.uid() == 0);
            if ours { Ok(()) } else { Err(ClusterError::NotOurs(dir.to_path_buf())) }
        }
        Err(e) => Err(ClusterError::io(format!("cannot make {}", dir.display()))(e)),
    }
}

/// FNV-1a: a name must be the same in every release, which std's hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
