//! One stream type for every transport.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::{SockAddr, SockRef};
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::listen::Arrived;
use super::thread::{DataThread, Polled, Side};

/// A transport without encryption.
#[derive(Debug)]
pub enum Socket {
    /// TCP, polled by a runtime of tokio's.
    Tcp(TcpStream),
    /// A unix socket, polled by a runtime of tokio's.
    Unix(UnixStream),
    /// Either, polled by a data thread.
    Polled(Polled, Family),
    /// In-process: how the sidecar reaches a session.
    Pipe(DuplexStream),
    /// Nothing: it could not be moved to another poller.
    Lost,
}

/// What kind of socket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// TCP.
    Tcp,
    /// A unix socket.
    Unix,
}

impl Socket {
    /// Has `thread` poll a connection that has come in.
    ///
    /// # Errors
    /// When the kernel has no memory for it; the connection is closed then.
    pub fn polled(arrived: Arrived, thread: &DataThread) -> io::Result<Self> {
        Ok(Self::Polled(Polled::new(thread, arrived.fd)?, arrived.family))
    }

    /// Connects over TCP, polled by the data thread this is called on, else by the runtime.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(match DataThread::here() {
            Some(here) => Self::Polled(Polled::connect(&here, &address.into()).await?, Family::Tcp),
            None => Self::Tcp(TcpStream::connect(address).await?),
        })
    }

    /// Connects to a unix socket, likewise.
    ///
    /// # Errors
    /// As `connect(2)`.
    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        Ok(match DataThread::here() {
            Some(here) => {
                let address = SockAddr::unix(path)?;
                Self::Polled(Polled::connect(&here, &address).await?, Family::Unix)
            }
            None => Self::Unix(UnixStream::connect(path).await?),
        })
    }

    /// Has the data thread this is called on poll it: woken by another thread's poller, a task
    /// costs that thread's time, a wake-up across threads and the wait for both. Elsewhere it
    /// stays with the poller it has.
    ///
    /// # Errors
    /// When the kernel has no memory for it; the socket is closed then.
    pub fn move_here(&mut self) -> io::Result<()> {
        if let Self::Polled(polled, _) = self
            && polled.is_here()
        {
            return Ok(());
        }
        let Some(here) = DataThread::here() else { return Ok(()) };
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Tcp(tcp) => {
                Self::Polled(Polled::new(&here, tcp.into_std()?.into())?, Family::Tcp)
            }
            Self::Unix(unix) => {
                Self::Polled(Polled::new(&here, unix.into_std()?.into())?, Family::Unix)
            }
            Self::Polled(polled, family) => {
                Self::Polled(Polled::new(&here, polled.into_fd()?)?, family)
            }
            other => other,
        };
        Ok(())
    }

    /// Of which kind it is; `None`: it is within the process, or lost.
    pub fn family(&self) -> Option<Family> {
        match self {
            Self::Tcp(_) => Some(Family::Tcp),
            Self::Unix(_) => Some(Family::Unix),
            Self::Polled(_, family) => Some(*family),
            Self::Pipe(_) | Self::Lost => None,
        }
    }

    /// Looks at the first byte of a TCP stream without taking it; `None` at its end, and where
    /// there is none to look at. Cancel-safe.
    pub async fn peek(&self) -> Option<u8> {
        let mut first = [0];
        let seen = match self {
            Self::Tcp(tcp) => tcp.peek(&mut first).await,
            Self::Polled(polled, Family::Tcp) => {
                poll_fn(|cx| {
                    polled.poll_other(cx, Side::Read, |fd| {
                        recv(fd, &mut first, RecvFlags::PEEK).map(|(_, n)| n)
                    })
                })
                .await
            }
            _ => return None,
        };
        matches!(seen, Ok(1)).then_some(first[0])
    }

    /// Ready when the other end has nothing more to say, and has said nothing that is not read yet.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut first = [0];
        let Self::Polled(polled, _) = self else { return Poll::Pending };
        let seen = ready!(polled.poll_other(cx, Side::Read, |fd| {
            recv(fd, &mut first, RecvFlags::PEEK).map(|(_, n)| n)
        }));
        if matches!(seen, Ok(1)) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Its options; `None`: it has none.
    pub fn options(&self) -> Option<SockRef<'_>> {
        match self {
            Self::Tcp(tcp) => Some(SockRef::from(tcp)),
            Self::Unix(unix) => Some(SockRef::from(unix)),
            Self::Polled(polled, _) => Some(SockRef::from(polled)),
            Self::Pipe(_) | Self::Lost => None,
        }
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let peer = self.options()?.peer_addr().ok()?.as_socket()?;
        // A listener on `[::]` is told ::ffff:192.0.2.1, which is neither loopback nor anybody's
        // name for that client.
        Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
    }
}

/// A transport, encrypted or not.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(Socket),
    /// TLS over it, on either side of the handshake.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// From here on what is sent and not acknowledged for so long ends the connection: a host that is
    /// gone without a word would otherwise hold it for a quarter of an hour. Not for a peer that may be
    /// too busy to read: its window stays closed, which counts as well.
    pub fn lost_after(&self, patience: Duration) {
        // One that cannot has nobody to lose.
        let _ = self.socket().options().map(|options| options.set_tcp_user_timeout(Some(patience)));
    }

    /// Sends nothing more: the end of the stream comes behind what the kernel has, for which nobody waits.
    /// TLS says no goodbye.
    pub async fn end_writing(&mut self) {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_mut().0,
        };
        let _ = poll_fn(|cx| Pin::new(&mut *socket).poll_shutdown(cx)).await;
    }

    /// Asks for a wake-up when something may be read, without a buffer to read it into. `Ready`
    /// when something may be, or when only reading tells.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = match self {
            Self::Plain(Socket::Tcp(tcp)) => tcp.poll_read_ready(cx),
            Self::Plain(Socket::Unix(unix)) => unix.poll_read_ready(cx),
            Self::Plain(Socket::Polled(polled, _)) => return polled.poll_readable(cx),
            Self::Plain(Socket::Pipe(_) | Socket::Lost) | Self::Tls(_) => return Poll::Ready(()),
        };
        // An error is told by the read.
        ready.map(drop)
    }

    /// Waits until the other end is gone. What it says first is left to be read, and the wait is
    /// for ever then; so it is where there is no data thread. Cancel-safe.
    pub async fn ended(&mut self) {
        poll_fn(|cx| match self {
            Self::Plain(socket) => socket.poll_end(cx),
            Self::Tls(tls) => match ready!(Pin::new(&mut **tls).poll_fill_buf(cx)) {
                Ok(said) if !said.is_empty() => Poll::Pending,
                _ => Poll::Ready(()),
            },
        })
        .await;
    }

    /// Whether the bytes are encrypted on the way.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether it is the sidecar's: it ends as a whole, where a socket may have been shut for
    /// writing alone.
    pub fn is_pipe(&self) -> bool {
        matches!(self, Self::Plain(Socket::Pipe(_)))
    }

    /// The socket underneath.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// As [`Socket::move_here`].
    ///
    /// # Errors
    /// As there.
    pub fn move_here(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.move_here(),
            Self::Tls(tls) => tls.get_mut().0.move_here(),
        }
    }

    /// The peer's address, for TCP.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.socket().peer()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Polled(polled, _) => {
                let space = buf.initialize_unfilled();
                // The system call itself: in a process with threads glibc's is a point where a
                // thread may be cancelled, before and behind.
                let done = ready!(polled.poll_call(cx, Side::Read, space.len(), |fd| {
                    recv(fd, &mut *space, RecvFlags::empty()).map(|(_, n)| n)
                }))?;
                buf.advance(done);
                Poll::Ready(Ok(()))
            }
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buf),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Polled(polled, _) => polled.poll_write(cx, &[IoSlice::new(buf)]),
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
            Self::Pipe(pipe) => Pin::new(pipe).poll_write(cx, buf),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Polled(polled, _) => polled.poll_write(cx, bufs),
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bufs),
            Self::Pipe(pipe) => Pin::new(pipe).poll_write_vectored(cx, bufs),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        !matches!(self, Self::Pipe(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Polled(polled, _) => polled.poll_flush(cx),
            Self::Pipe(pipe) => Pin::new(pipe).poll_flush(cx),
            // Nothing is kept back.
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Polled(polled, _) => polled.poll_shutdown(cx),
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Self::Pipe(pipe) => Pin::new(pipe).poll_shutdown(cx),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls(boxed) => {
                let $stream = &mut **boxed;
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
