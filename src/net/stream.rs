//! One stream type for every transport.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A transport without encryption.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// In-process: how the sidecar reaches a session.
    Pipe(DuplexStream),
    /// Nothing: it could not be moved to another thread's poller.
    Lost,
}

impl Socket {
    /// Registers it with the poller of the runtime this is called in: woken by another thread's, a
    /// task costs that thread's time, a wake-up across threads and the wait for both.
    ///
    /// # Errors
    /// When the kernel has no memory for it; the socket is closed then.
    pub fn move_here(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Tcp(tcp) => Self::Tcp(TcpStream::from_std(tcp.into_std()?)?),
            Self::Unix(unix) => Self::Unix(UnixStream::from_std(unix.into_std()?)?),
            other => other,
        };
        Ok(())
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
    /// Asks for a wake-up when something may be read, without a buffer to read it into. `Ready`
    /// when something may be, or when only reading tells.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = match self {
            Self::Plain(Socket::Tcp(tcp)) => tcp.poll_read_ready(cx),
            Self::Plain(Socket::Unix(unix)) => unix.poll_read_ready(cx),
            Self::Plain(Socket::Pipe(_) | Socket::Lost) | Self::Tls(_) => return Poll::Ready(()),
        };
        // An error is told by the read.
        ready.map(drop)
    }

    /// Whether the bytes are encrypted on the way.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
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
    pub fn peer(&self) -> Option<std::net::SocketAddr> {
        match self.socket() {
            Socket::Tcp(tcp) => tcp.peer_addr().ok(),
            Socket::Unix(_) | Socket::Pipe(_) | Socket::Lost => None,
        }
    }
}

macro_rules! each {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Tcp($socket) => $call,
            Socket::Unix($socket) => $call,
            Socket::Pipe($socket) => $call,
            Socket::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    };
}

/// Reads from or writes to a kernel's socket as tokio does, but by the system call itself: in a
/// process with threads glibc's makes each a point where a thread may be cancelled, before and
/// behind. A call that did less than it could tells that there is no more to be done now, so the
/// next one need not be made to find that out.
macro_rules! direct {
    ($socket:ident, $cx:ident, $ready:ident, $interest:expr, $most:expr, $call:expr) => {
        loop {
            ready!($socket.$ready($cx))?;
            let mut done = 0;
            let tried = $socket.try_io($interest, || {
                done = retry_on_intr(|| $call)?;
                if done > 0 && done < $most {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    Ok(())
                }
            });
            match tried {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Err(_) if done == 0 => {}
                _ => break done,
            }
        }
    };
}

macro_rules! receive {
    ($socket:ident, $cx:ident, $buf:ident) => {{
        let space = $buf.initialize_unfilled();
        let most = space.len();
        let done = direct!($socket, $cx, poll_read_ready, Interest::READABLE, most, {
            recv(&*$socket, &mut *space, RecvFlags::empty()).map(|(_, n)| n)
        });
        $buf.advance(done);
        Poll::Ready(Ok(()))
    }};
}

macro_rules! transmit {
    ($socket:ident, $cx:ident, $bytes:ident) => {
        Poll::Ready(Ok(direct!(
            $socket,
            $cx,
            poll_write_ready,
            Interest::WRITABLE,
            $bytes.len(),
            send(&*$socket, $bytes, SendFlags::NOSIGNAL)
        )))
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => receive!(tcp, cx, buf),
            Self::Unix(unix) => receive!(unix, cx, buf),
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
            Self::Tcp(tcp) => transmit!(tcp, cx, buf),
            Self::Unix(unix) => transmit!(unix, cx, buf),
            Self::Pipe(pipe) => Pin::new(pipe).poll_write(cx, buf),
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, socket => Pin::new(socket).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        !matches!(self, Self::Pipe(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => Pin::new(socket).poll_shutdown(cx))
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
