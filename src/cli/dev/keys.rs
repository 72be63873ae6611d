//! The secrets of a `dev` directory, made once and kept.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::generate_signing_key;
use crate::units::Secret;

/// What is derived from and signed with.
pub(super) struct DevKeys {
    pub(super) master_key: Secret,
    pub(super) signing_key: Secret,
}

impl DevKeys {
    /// Reads them from `home`, making those that are not there.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(super) fn load(home: &Path) -> Result<Self, String> {
        let master_key = keep(&home.join("master.key"), || {
            let mut raw = [0; 32];
            aws_lc_rs::rand::fill(&mut raw).map_err(|_| "no random bytes".to_owned())?;
            Ok(URL_SAFE_NO_PAD.encode(raw))
        })?;
        let signing_key = keep(&home.join("signing.pem"), || {
            // Into its own file, and nowhere else.
            generate_signing_key().map(|key| key.expose().to_owned()).map_err(|e| e.to_string())
        })?;
        Ok(Self { master_key, signing_key })
    }
}

fn keep(path: &Path, make: impl FnOnce() -> Result<String, String>) -> Result<Secret, String> {
    let wrong = |error: io::Error| format!("{}: {error}", path.display());
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(wrong(error)),
    }
    let text = make()?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)?;
    Ok(text.into())
}
