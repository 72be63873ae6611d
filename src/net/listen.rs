//! Where clients come in: TCP and unix sockets.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use super::stream::Family;
use super::thread::{DataThread, Polled, Side};
use crate::units::Span;

/// `[listen.tcp]`: how TCP sockets behave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpOptions {
    /// How many connections may wait to be accepted (the kernel's `somaxconn` caps it).
    pub backlog: u32,
    /// Whether several processes may listen on one address and share its connections.
    pub reuse_port: bool,
    /// How long a silent peer is trusted before it is asked whether it lives; 0: never asked.
    pub keepalive_idle: Span,
    /// How long between two such questions.
    pub keepalive_interval: Span,
    /// How many questions may stay unanswered.
    pub keepalive_probes: u32,
    /// How long sent bytes may stay unacknowledged; 0: as long as the kernel likes. Finds a dead
    /// peer that keepalive does not: one we are writing to.
    pub user_timeout: Span,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            backlog: 4_096,
            reuse_port: false,
            keepalive_idle: Span::secs(60),
            keepalive_interval: Span::secs(10),
            keepalive_probes: 6,
            user_timeout: Span::secs(120),
        }
    }
}

impl TcpOptions {
    /// Prepares a connected socket, on either side: small messages leave at once, dead peers are
    /// noticed.
    pub fn apply(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        if let Some(idle) = self.keepalive_idle.nonzero() {
            let second = Duration::from_secs(1);
            let keepalive = TcpKeepalive::new()
                .with_time(idle.max(second))
                .with_interval(self.keepalive_interval.get().max(second))
                .with_retries(self.keepalive_probes.clamp(1, 100));
            socket.set_tcp_keepalive(&keepalive)?;
        }
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(self.user_timeout.nonzero())?;
        Ok(())
    }
}

/// A place where clients come in, bound.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    place: Place,
}

/// The same, polled by a data thread.
#[derive(Debug)]
pub struct Entrance {
    door: Polled,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Tcp(TcpOptions),
    Unix(SocketFile),
}

/// A connection that nobody polls yet.
#[derive(Debug)]
pub struct Arrived {
    pub(super) fd: OwnedFd,
    pub(super) family: Family,
    from: Option<IpAddr>,
}

impl Arrived {
    /// The address it came from; a unix socket has none.
    pub fn from(&self) -> Option<IpAddr> {
        self.from
    }
}

/// A unix socket's file, removed when we stop listening, if it still is ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A process that came after us may have put its own socket there.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).map(|meta| meta.ino())
}

impl Listener {
    /// Listens on a TCP address. An IPv6 wildcard takes IPv4 as well.
    pub fn tcp(address: SocketAddr, options: TcpOptions) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Connections of the last run that still linger do not keep us out.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(options.reuse_port)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(Self { fd: socket.into(), place: Place::Tcp(options) })
    }

    /// Listens on a unix socket with this file mode. A socket nobody listens on any more is
    /// removed first; one that answers, or another kind of file, is left alone.
    pub fn unix(path: &Path, mode: u32) -> io::Result<Self> {
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let file = SocketFile { path: path.to_owned(), inode: inode(path)? };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(Self { fd: listener.into(), place: Place::Unix(file) })
    }

    /// The address that was bound, for TCP: with port 0, the port that was found.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        SockRef::from(&self.fd).local_addr().ok()?.as_socket()
    }

    /// The unix socket's path.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Tcp(_) => None,
            Place::Unix(file) => Some(&file.path),
        }
    }

    /// Has `thread` poll it.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub fn open(self, thread: &DataThread) -> io::Result<Entrance> {
        Ok(Entrance { door: Polled::new(thread, self.fd)?, place: self.place })
    }
}

impl Entrance {
    /// Takes the next connection, ready for use. Cancel-safe.
    ///
    /// # Errors
    /// As `accept(2)`; most are about one connection or about running out of file descriptors,
    /// and the caller goes on after a pause.
    pub async fn accept(&self) -> io::Result<Arrived> {
        let (socket, peer) = poll_fn(|cx| {
            self.door.poll_other(cx, Side::Read, |fd| {
                SockRef::from(&fd)
                    .accept()
                    .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
            })
        })
        .await?;
        socket.set_nonblocking(true)?;
        let family = match &self.place {
            Place::Tcp(options) => {
                // A peer that is gone already shows at the first read.
                if let Err(error) = options.apply(&socket) {
                    tracing::debug!(%error, "a socket option could not be set");
                }
                Family::Tcp
            }
            Place::Unix(_) => Family::Unix,
        };
        let from = peer.as_socket().map(|peer| peer.ip());
        Ok(Arrived { fd: socket.into(), family, from })
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let in_use = |what: &str| {
        io::Error::new(io::ErrorKind::AddrInUse, format!("{}: {what}", path.display()))
    };
    if !meta.file_type().is_socket() {
        return Err(in_use("there is a file that is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(in_use("somebody listens there")),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpStream, UnixStream};
    use tokio::runtime::Handle;

    use super::super::{Running, Socket};
    use super::*;

    fn thread() -> Running {
        Running::start("test".into(), Handle::current()).expect("a thread")
    }

    #[tokio::test]
    async fn tcp_clients_come_in_prepared() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::tcp(any, TcpOptions::default()).expect("listen");
        let address = listener.local_addr().expect("bound");
        let thread = thread();
        let entrance = listener.open(thread.thread()).expect("polled");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), entrance.accept());
        let mut client = client.expect("connect");
        let arrived = accepted.expect("accept");
        let options = SockRef::from(&arrived.fd);
        assert!(options.tcp_nodelay().expect("option"));
        assert!(options.keepalive().expect("option"));
        let mut socket = Socket::polled(arrived, thread.thread()).expect("polled");
        assert_eq!(socket.peer(), client.local_addr().ok());
        client.write_all(b"x").await.expect("write");
        assert_eq!(socket.read_u8().await.expect("read"), b'x');
    }

    #[tokio::test]
    async fn processes_share_a_port_when_told_to() {
        let options = TcpOptions { reuse_port: true, ..TcpOptions::default() };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = Listener::tcp(any, options.clone()).expect("listen");
        let address = first.local_addr().expect("bound");
        Listener::tcp(address, options).expect("shared");
        let alone = Listener::tcp(address, TcpOptions::default());
        assert_eq!(alone.expect_err("not shared").kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_unix_socket_replaces_a_dead_one_and_never_a_live_one() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(".s.PGSQL.6432");
        // A socket whose owner is gone: std does not remove the file.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
        assert!(path.exists());
        let listener = Listener::unix(&path, 0o660).expect("replaces the dead one");
        let mode = fs::metadata(&path).expect("meta").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let again = Listener::unix(&path, 0o660).expect_err("it is alive");
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        // The probe of the second one is a connection like any other.
        let thread = thread();
        let entrance = listener.open(thread.thread()).expect("polled");
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), entrance.accept());
        client.expect("connect");
        assert_eq!(accepted.expect("accept").family, Family::Unix);
        drop(entrance);
        assert!(!path.exists(), "removed at the end");
        fs::write(&path, b"mine").expect("write");
        assert!(Listener::unix(&path, 0o660).is_err(), "other files are left alone");
        assert_eq!(fs::read(&path).expect("read"), b"mine");
    }
}
