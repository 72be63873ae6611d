//! Certificates and keys from files, bounded and with an error that names the file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// The longest PEM file, in bytes: a system's bundle of authorities is below 300 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What a file looked like when it was read: enough to notice that it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// A file put in place by a rename may have the length and the time of the old one.
    inode: u64,
}

impl Stamp {
    /// The stamp of `path`; `None` when it can not be looked at.
    pub(super) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::metadata(path).ok()?;
        Some(Self { length: meta.len(), modified: meta.modified().ok(), inode: meta.ino() })
    }
}

/// Every certificate in `path`, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|e| format!("{}: {e}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{}: no certificate in it", path.display()));
    }
    Ok(found)
}

/// The private key in `path`: PKCS #8, PKCS #1 or SEC 1.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|e| format!("{shown}: {e}"))?;
    let mut text = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(|e| format!("{shown}: {e}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{shown}: longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}
