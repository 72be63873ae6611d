//! The connections of an HTTP door: so many, and none that says nothing or reads nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::patient::Patient;

/// So many connections are served at once; others wait in the kernel's queue. What sessions need of
/// the process's descriptors is left to them.
const CONNECTIONS_MAX: usize = 1_024;

/// How long a request's head may take, how long a connection waits for the next, and how long for a
/// client that reads nothing of its answer: longer than the minute after which the usual proxies give
/// theirs up.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long until it is tried again when there was no descriptor.
const RETRY: Duration = Duration::from_secs(1);

/// Serves `router` on `listener`, until dropped; what is being answered then is answered.
pub async fn serve(listener: TcpListener, router: Router) {
    serve_within(listener, router, CONNECTIONS_MAX, HEAD_TIMEOUT).await;
}

async fn serve_within(listener: TcpListener, router: Router, most: usize, head: Duration) {
    let seats = Arc::new(Semaphore::new(most));
    let router = TowerToHyperService::new(router);
    loop {
        let seat = Arc::clone(&seats).acquire_owned().await;
        let (stream, peer) = accept(&listener).await;
        let router = router.clone();
        let answer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .serve_connection(TokioIo::new(Patient::new(stream, head)), answer);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an http connection ended");
            }
            drop(seat);
        });
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // That one client is gone again.
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::error!(%error, "an http door takes no connection");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    async fn open(most: usize, head: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("bound");
        let who = get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() });
        let router =
            Router::new().route("/", who).route("/long", get(|| async { "x".repeat(65_536) }));
        tokio::spawn(serve_within(listener, router, most, head));
        address
    }

    async fn read(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("reads");
        answer
    }

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn who_says_nothing_or_not_all_of_it_keeps_nobody_out() {
        let address = open(2, Duration::from_millis(200)).await;
        let silent = TcpStream::connect(address).await.expect("connects");
        let mut slow = TcpStream::connect(address).await.expect("connects");
        slow.write_all(&ASK[..20]).await.expect("writes");
        let mut other = TcpStream::connect(address).await.expect("connects");
        other.write_all(ASK).await.expect("writes");
        let own = other.local_addr().expect("bound").to_string();
        let answer = read(other).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&own), "{answer}");
        assert_eq!(read(silent).await, "");
        assert!(!read(slow).await.contains(" 200 "));
    }

    #[tokio::test]
    async fn who_reads_nothing_keeps_nobody_out() {
        let address = open(1, Duration::from_millis(300)).await;
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut greedy = socket.connect(address).await.expect("connects");
        let asks = b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n".repeat(200);
        greedy.write_all(&asks).await.expect("writes");
        let mut other = TcpStream::connect(address).await.expect("connects");
        other.write_all(ASK).await.expect("writes");
        let answer = tokio::time::timeout(Duration::from_secs(10), read(other)).await;
        assert!(answer.expect("its turn comes").starts_with("HTTP/1.1 200 "));
        drop(greedy);
    }

    #[tokio::test]
    async fn one_more_than_there_may_be_waits_for_its_turn() {
        let address = open(1, Duration::from_secs(60)).await;
        let first = TcpStream::connect(address).await.expect("connects");
        let mut next = TcpStream::connect(address).await.expect("connects");
        next.write_all(ASK).await.expect("writes");
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(300), next.read(&mut byte)).await;
        assert!(early.is_err(), "it is not its turn");
        drop(first);
        assert!(read(next).await.starts_with("HTTP/1.1 200 "));
    }
}
