//! Where PostgreSQL is installed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Account, ClusterError};

/// The oldest major version that serves.
const MAJOR_MIN: u32 = 15;

/// Directories that hold one directory per version, and what follows the version in the path.
const SHELVES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The programs a directory must hold to be of use.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// One installation of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    dir: PathBuf,
    version: (u32, u32),
}

impl Binaries {
    /// The installation to use: `explicit` and nothing else when given, otherwise the newest
    /// found on `PATH`, in the usual places, and where `pg_config` points; of the major version
    /// `made_by` when the data directory already has one.
    ///
    /// # Errors
    /// [`ClusterError::NoBinaries`] or [`ClusterError::OtherVersion`], naming what was found.
    pub async fn find(
        account: &Account,
        explicit: Option<&Path>,
        made_by: Option<(u32, &Path)>,
    ) -> Result<Self, ClusterError> {
        let places = match explicit {
            Some(dir) => vec![dir.to_path_buf()],
            None => usual_places().await,
        };
        let mut found = Vec::new();
        let mut tried = String::new();
        for dir in places {
            match probe(account, &dir).await {
                Ok(binaries) => found.push(binaries),
                Err(why) => _ = write!(tried, "; {}: {why}", dir.display()),
            }
        }
        found.sort_by_key(|b| std::cmp::Reverse(b.version));
        let listed = found.iter().map(Self::label).collect::<Vec<_>>().join(", ");
        if let Some((made_by, data)) = made_by {
            let fits = found.into_iter().find(|b| b.major() == made_by);
            return fits.ok_or_else(|| ClusterError::OtherVersion {
                data: data.to_path_buf(),
                made_by,
                found: if listed.is_empty() { "none".to_owned() } else { listed },
            });
        }
        found.into_iter().find(|b| b.major() >= MAJOR_MIN).ok_or_else(|| {
            let seen = if listed.is_empty() { "none".to_owned() } else { format!("only {listed}") };
            ClusterError::NoBinaries { tried: seen + &tried }
        })
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.version.0
    }

    fn label(&self) -> String {
        format!("{}.{} in {}", self.version.0, self.version.1, self.dir.display())
    }
}

/// Directories that may hold PostgreSQL, each once.
async fn usual_places() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    for (shelf, prefix, tail) in SHELVES {
        let Ok(entries) = std::fs::read_dir(shelf) else { continue };
        let named = entries.flatten().filter(|e| {
            e.file_name().to_str().is_some_and(|n| {
                n.strip_prefix(prefix)
                    .is_some_and(|rest| !prefix.is_empty() || starts_numeric(rest))
            })
        });
        dirs.extend(named.map(|e| e.path().join(tail)));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output().await
        && let Ok(dir) = String::from_utf8(output.stdout)
    {
        dirs.push(PathBuf::from(dir.trim()));
    }
    let mut unique: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        if dir.is_absolute()
            && PROGRAMS.iter().all(|p| dir.join(p).is_file())
            && let Ok(real) = dir.join("postgres").canonicalize()
            && let Some(real) = real.parent()
            && !unique.iter().any(|known| known == real)
        {
            unique.push(real.to_path_buf());
        }
    }
    unique
}

fn starts_numeric(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit())
}

/// Runs `postgres --version` as the account that will run the server: what it may not execute is
/// of no use.
async fn probe(account: &Account, dir: &Path) -> Result<Binaries, String> {
    let dir = dir.canonicalize().map_err(|e| e.to_string())?;
    if let Some(missing) = PROGRAMS.iter().find(|p| !dir.join(p).is_file()) {
        return Err(format!("it holds no `{missing}`"));
    }
    if !account.can_enter(&dir).await {
        return Err(format!("the account `{}` may not enter it", account.name()));
    }
    let output = account.command(&dir.join("postgres")).arg("--version").output().await;
    let output = output.map_err(|e| format!("`postgres` does not run: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = read_version(&text).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("`postgres --version` says `{}{}`", text.trim(), said.trim())
    })?;
    Ok(Binaries { dir, version })
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`, `… 18beta1` (as 18.0).
fn read_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split("(PostgreSQL)").nth(1)?.split_whitespace().next()?;
    let digits = |s: &str| s.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let (major, minor) = number.split_once('.').unwrap_or((number, ""));
    Some((digits(major)?, digits(minor).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::read_version;

    #[test]
    fn versions_are_read_as_postgres_prints_them() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(read_version(debian), Some((15, 18)));
        assert_eq!(read_version("postgres (PostgreSQL) 18beta1"), Some((18, 0)));
        assert_eq!(read_version("postgres (PostgreSQL) 18.4"), Some((18, 4)));
        assert_eq!(read_version("postgres (EDB) x"), None);
        assert_eq!(read_version(""), None);
    }
}
