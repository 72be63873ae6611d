//! A folder of migrations, embedded or read from disk.

use std::path::Path;

use aws_lc_rs::digest;

use crate::units::hex;

/// One numbered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The number its name begins with.
    pub number: i32,
    /// The file's name without `.sql`.
    pub name: String,
    /// What it runs.
    pub sql: String,
}

impl Migration {
    /// SHA-256 of the text, in hex: a file that was applied must not change.
    pub fn digest(&self) -> String {
        hex(digest::digest(&digest::SHA256, self.sql.as_bytes()).as_ref())
    }
}

/// Migrations in ascending order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationSet(Vec<Migration>);

macro_rules! embedded {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        MigrationSet(vec![$(Migration {
            number: number_of($name).unwrap_or_default(),
            name: $name.to_owned(),
            sql: include_str!(concat!("../../../config/schema/", $folder, "/", $name, ".sql"))
                .to_owned(),
        }),+])
    };
}

impl MigrationSet {
    /// The registry's.
    pub fn registry() -> Self {
        embedded!(
            "registry":
            "0001_public", "0002_pgusher", "0003_notify", "0004_rollout", "0005_phone",
            "0006_accounts", "0007_registrations", "0008_processes", "0009_timeouts",
            "0010_revocations", "0011_server_tenants", "0012_abandoned"
        )
    }

    /// The tenants', as shipped.
    pub fn tenant() -> Self {
        embedded!("tenant": "0001_organisation", "0002_messaging", "0003_operations")
    }

    /// pgusher's own corner of every tenant's database.
    pub fn own() -> Self {
        embedded!("pgusher": "0001_mark", "0002_sms", "0003_final", "0004_parked")
    }

    /// Reads a folder of `<number>_<name>.sql` files. Other files are left alone.
    ///
    /// # Errors
    /// When the folder cannot be read, holds no migration, or two files share a number.
    pub fn from_folder(folder: &Path) -> Result<Self, String> {
        let at = |e: std::io::Error| format!("{}: {e}", folder.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(at)? {
            let path = entry.map_err(at)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            let Some(number) = number_of(name) else {
                return Err(format!("{}: the name begins with no number", path.display()));
            };
            let sql =
                std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            found.push(Migration { number, name: name.to_owned(), sql });
        }
        found.sort_by_key(|migration| migration.number);
        if let Some(pair) = found.windows(2).find(|pair| pair[0].number == pair[1].number) {
            let (a, b) = (&pair[0].name, &pair[1].name);
            return Err(format!("{}: {a} and {b} share a number", folder.display()));
        }
        if found.is_empty() {
            return Err(format!("{}: no migration in it", folder.display()));
        }
        Ok(Self(found))
    }

    /// The migrations in order.
    pub fn iter(&self) -> impl Iterator<Item = &Migration> {
        self.0.iter()
    }

    /// The highest number: the version a database has when all were applied.
    pub fn version(&self) -> i32 {
        self.0.last().map_or(0, |migration| migration.number)
    }

    /// One digest over all of them.
    pub fn digest(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for migration in &self.0 {
            context.update(migration.digest().as_bytes());
        }
        hex(context.finish().as_ref())
    }
}

fn number_of(name: &str) -> Option<i32> {
    let digits = name.split_once('_').map_or(name, |(digits, _)| digits);
    digits.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_sets_are_the_folders() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema");
        for (folder, set) in [
            ("registry", MigrationSet::registry()),
            ("tenant", MigrationSet::tenant()),
            ("pgusher", MigrationSet::own()),
        ] {
            assert_eq!(MigrationSet::from_folder(&root.join(folder)), Ok(set), "{folder}");
        }
    }

    #[test]
    fn a_folder_is_read_in_order_and_checked() {
        let folder = tempfile::tempdir().expect("folder");
        let write =
            |name: &str| std::fs::write(folder.path().join(name), "SELECT 1").expect("write");
        assert!(MigrationSet::from_folder(folder.path()).is_err());
        for name in ["0010_b.sql", "0002_a.sql", "notes.txt"] {
            write(name);
        }
        let set = MigrationSet::from_folder(folder.path()).expect("set");
        let numbers: Vec<_> = set.iter().map(|migration| migration.number).collect();
        assert_eq!((numbers, set.version()), (vec![2, 10], 10));
        write("0010_c.sql");
        assert!(MigrationSet::from_folder(folder.path()).expect_err("twice").contains("share"));
        assert!(MigrationSet::from_folder(&folder.path().join("none")).is_err());
    }
}
