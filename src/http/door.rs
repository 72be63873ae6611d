//! The connections of an HTTP door: so many, and none that says nothing or reads nothing.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::FutureExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use super::patient::Patient;
use super::progress::Progress;
use super::seats::{Seat, Seats};

/// What connections may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// So many are served at once; for one more the one goes that has had nothing to do longest.
    /// What sessions need of the process's descriptors is left to them.
    connections_max: usize,
    /// How long until the first request's head is there.
    first_head: Duration,
    /// How long a connection waits for the next request's head, and how long for a client that reads
    /// nothing of its answer: longer than the minute after which the usual proxies give theirs up.
    patience: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections_max: 1_024,
    first_head: Duration::from_secs(10),
    patience: Duration::from_secs(75),
};

/// How long until it is tried again when there was no descriptor.
const RETRY: Duration = Duration::from_secs(1);

/// Serves `router` on `listener`, until dropped; what is being answered then is answered.
pub async fn serve(listener: TcpListener, router: Router) {
    serve_within(listener, router, BOUNDS).await;
}

async fn serve_within(listener: TcpListener, router: Router, bounds: Bounds) {
    let seats = Seats::new(bounds.connections_max);
    let router = TowerToHyperService::new(router);
    loop {
        let (stream, peer) = accept(&listener).await;
        let seat = seats.enter().await;
        let (router, progress) = (router.clone(), Progress::default());
        let asked = progress.clone();
        let answer = service_fn(move |mut request: Request<Incoming>| {
            asked.asked();
            request.extensions_mut().insert(ConnectInfo(peer));
            let answered = router.call(request.map(|body| asked.request(body)));
            let progress = asked.clone();
            answered.map(move |answer| answer.map(|a| a.map(|body| progress.answer(body))))
        });
        let stream = Patient::new(stream, bounds.patience, progress.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.patience)
            .serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(attend(connection, seat, progress, bounds.first_head));
    }
}

/// What ends a connection.
enum End {
    Done(hyper::Result<()>),
    /// No request came.
    Silent,
    /// The seat is wanted.
    Asked,
}

/// One connection, until it ends, says nothing or gives way.
async fn attend(
    connection: impl Future<Output = hyper::Result<()>>,
    mut seat: Seat,
    progress: Progress,
    first_head: Duration,
) {
    let (mut connection, mut first_head) = (pin!(connection), pin!(tokio::time::sleep(first_head)));
    let mut requests = 0;
    loop {
        let end = poll_fn(|cx| {
            if let Poll::Ready(done) = connection.as_mut().poll(cx) {
                return Poll::Ready(End::Done(done));
            }
            seat.set_busy(progress.is_under_way());
            if requests != progress.requests() {
                requests = progress.requests();
                seat.renew();
            }
            if seat.poll_asked(cx).is_ready() {
                return Poll::Ready(End::Asked);
            }
            if requests == 0 && first_head.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Silent);
            }
            Poll::Pending
        });
        match end.await {
            End::Done(Ok(())) => return,
            End::Done(Err(error)) => return tracing::debug!(%error, "an http connection ended"),
            End::Silent => return tracing::debug!("an http connection asked for nothing"),
            End::Asked => {
                // What has come already is read first: in a burst nobody was heard yet.
                tokio::task::yield_now().await;
                if connection.as_mut().now_or_never().is_some() {
                    return;
                }
                if requests == progress.requests() && !progress.is_under_way() {
                    return tracing::debug!("an http connection gave way to another");
                }
            }
        }
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

    /// A door of so many connections, whose first head, or all they do, may take so long.
    async fn open(connections_max: usize, first_head: u64, patience: u64) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("bound");
        let who = get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() });
        let work = || async {
            tokio::time::sleep(WORK).await;
            "done"
        };
        let router = Router::new()
            .route("/", who.post(|body: String| async move { body }))
            .route("/long", get(|| async { "x".repeat(65_536) }))
            .route("/work", get(work));
        let (first_head, patience) =
            (Duration::from_millis(first_head), Duration::from_millis(patience));
        let bounds = Bounds { connections_max, first_head, patience };
        tokio::spawn(serve_within(listener, router, bounds));
        address
    }

    /// Connects and says so much.
    async fn say(address: SocketAddr, said: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(said).await.expect("writes");
        stream
    }

    /// What comes until the connection is closed, or broken off.
    async fn read(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        let _ = read.await.expect("is over in time");
        String::from_utf8(answer).expect("text")
    }

    /// How long `/work` takes.
    const WORK: Duration = Duration::from_millis(500);

    /// Longer than any test.
    const LONG: u64 = 600_000;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    const ASK_WORK: &[u8] = b"GET /work HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn who_says_nothing_or_not_all_of_it_is_not_waited_for() {
        let address = open(9, 200, LONG).await;
        let (silent, slow) = (say(address, b"").await, say(address, &ASK[..20]).await);
        assert_eq!(read(silent).await, "");
        assert_eq!(read(slow).await, "");
    }

    #[tokio::test]
    async fn who_has_asked_may_keep_silent_for_longer() {
        let address = open(1, 200, LONG).await;
        let mut kept = say(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = [0; 512];
        let read_so_far = kept.read(&mut answer).await.expect("reads");
        assert!(read_so_far > 0);
        let closed = tokio::time::timeout(Duration::from_millis(600), kept.read(&mut answer)).await;
        assert!(closed.is_err(), "closed though it had asked");
        kept.write_all(ASK).await.expect("writes");
        assert!(read(kept).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn the_oldest_for_whom_nothing_is_to_be_done_gives_way() {
        let address = open(4, LONG, LONG).await;
        let working = say(address, ASK_WORK).await;
        let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf";
        let idle = [
            say(address, b"").await,
            say(address, &ASK[..20]).await,
            // A body that does not come is no more than a head that does not.
            say(address, head).await,
        ];
        for _ in 0..idle.len() {
            let other = say(address, ASK).await;
            let own = other.local_addr().expect("bound").to_string();
            let answer = read(other).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&own), "{answer}");
            // The next one takes the seat of another.
            drop(say(address, b"").await);
        }
        assert!(read(working).await.ends_with("done"));
    }

    #[tokio::test]
    async fn who_asked_lately_is_not_the_oldest() {
        let address = open(2, LONG, LONG).await;
        let mut kept = say(address, b"").await;
        let mut answer = [0; 512];
        let silent = say(address, b"").await;
        // Each is answered at once: it is never seen to be busy.
        for _ in 0..5 {
            kept.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("writes");
            assert!(kept.read(&mut answer).await.expect("reads") > 0);
        }
        assert!(read(say(address, ASK).await).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(read(silent).await, "");
        kept.write_all(ASK).await.expect("writes");
        assert!(read(kept).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn a_thousand_silent_ones_keep_nobody_out() {
        let address = open(64, LONG, LONG).await;
        let mut silent = Vec::new();
        for _ in 0..1_000 {
            silent.push(say(address, b"").await);
        }
        assert!(read(say(address, ASK).await).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(read(silent.swap_remove(0)).await, "", "the oldest has gone");
        let last = silent.pop().expect("one");
        let mut byte = [0];
        let closed = tokio::time::timeout(Duration::from_millis(200), last.peek(&mut byte)).await;
        assert!(closed.is_err(), "the newest stays");
    }

    #[tokio::test]
    async fn who_reads_nothing_keeps_nobody_out() {
        for (first_head, patience) in [(LONG, 300), (LONG, LONG)] {
            let address = open(1, first_head, patience).await;
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(4096).expect("a small buffer");
            let mut greedy = socket.connect(address).await.expect("connects");
            let asks = b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n".repeat(200);
            greedy.write_all(&asks).await.expect("writes");
            let answer = read(say(address, ASK).await).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            drop(greedy);
        }
    }

    #[tokio::test]
    async fn one_more_than_are_answered_waits_for_its_turn() {
        let address = open(2, LONG, LONG).await;
        let burst = (0..20).map(|_| async { read(say(address, ASK_WORK).await).await });
        let begun = std::time::Instant::now();
        for answer in futures_util::future::join_all(burst).await {
            assert!(answer.ends_with("done"), "{answer}");
        }
        assert!(begun.elapsed() >= WORK * 9, "two at a time: {:?}", begun.elapsed());
    }
}
