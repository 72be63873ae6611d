use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::task::Context;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::net::{Socket, TcpOptions};

pub(super) fn start() -> Running {
    Running::start("test".into(), Handle::current()).expect("a thread")
}

/// Runs it on that thread and gives back what it makes.
pub(super) async fn on<T: Send + 'static>(
    thread: &DataThread,
    task: impl Future<Output = T> + Send + 'static,
) -> T {
    let (sender, made) = oneshot::channel();
    let task = async move {
        let _ = sender.send(task.await);
    };
    thread.spawn(task).detach();
    made.await.expect("it ends")
}

/// Two ends of a TCP connection, polled by these.
pub(super) async fn pair(one: &DataThread, other: &DataThread) -> (Socket, Socket) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = crate::net::Listener::tcp(any, TcpOptions::default()).expect("listens");
    let address = listener.local_addr().expect("bound");
    let entrance = listener.open(one).expect("polled");
    let connect = on(other, async move { Socket::connect_tcp(address).await.expect("connects") });
    let (arrived, there) = tokio::join!(entrance.accept(), connect);
    there.options().expect("a socket").set_tcp_nodelay(true).expect("an option");
    (Socket::polled(arrived.expect("accepts"), one).expect("polled"), there)
}

#[tokio::test]
async fn what_comes_just_before_the_end_is_read_and_so_is_the_end() {
    let running = start();
    for _ in 0..200 {
        let (mut here, mut there) = pair(running.thread(), running.thread()).await;
        on(running.thread(), async move {
            there.write_all(b"the last word").await.expect("writes");
            drop(there);
            let mut said = Vec::new();
            here.read_to_end(&mut said).await.expect("reads");
            assert_eq!(said, b"the last word");
        })
        .await;
    }
}

#[tokio::test]
async fn a_refused_connection_is_told() {
    let running = start();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        listener.local_addr().expect("bound")
    };
    let refused = on(running.thread(), Socket::connect_tcp(port)).await;
    assert_eq!(refused.expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
}

/// Sends `rounds` messages of many lengths and wants each back.
async fn ask(mut socket: Socket, rounds: usize) {
    let mut back = vec![0; 70_000];
    for round in 0..rounds {
        // Now and then more than the socket takes at once.
        let length = if round % 50 == 0 { 70_000 } else { 1 + round * 7_919 % 3_000 };
        let message = vec![round.to_le_bytes()[0]; length];
        let (mut reader, mut writer) = tokio::io::split(&mut socket);
        let (sent, heard) =
            tokio::join!(writer.write_all(&message), reader.read_exact(&mut back[..length]));
        sent.expect("writes");
        heard.expect("reads");
        assert_eq!(back[..length], message);
    }
}

async fn echo(mut socket: Socket) {
    let mut bytes = vec![0; 1_500];
    while let Ok(n @ 1..) = socket.read(&mut bytes).await {
        socket.write_all(&bytes[..n]).await.expect("writes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_used_on_any_thread() {
    let (one, other) = (start(), start());
    // At home; on the other data thread; on a runtime; moved to the other thread.
    for way in 0..4 {
        let (here, there) = pair(one.thread(), one.thread()).await;
        let server = match way {
            0 => one.thread(),
            _ => other.thread(),
        };
        server
            .spawn(async move {
                let mut there = there;
                if way == 3 {
                    there.move_here().expect("moves");
                }
                echo(there).await;
            })
            .detach();
        match way {
            2 => ask(here, 3_000).await,
            _ => on(one.thread(), ask(here, 3_000)).await,
        }
    }
}

#[tokio::test]
async fn a_panic_ends_its_task_only() {
    let running = start();
    let thread = running.thread();
    thread.spawn(async { panic!("as asked") }).detach();
    assert_eq!(on(thread, async { 7 }).await, 7);
    while !lock(&thread.0.tasks).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_task_whose_handle_is_dropped_ends() {
    let running = start();
    let (sender, mut ended) = mpsc::channel::<()>(1);
    let task = running.thread().spawn(async move {
        let _kept = sender;
        std::future::pending::<()>().await;
    });
    drop(task);
    assert!(ended.recv().await.is_none());
}

/// Spawns another task on its way out.
struct Last(DataThread, mpsc::Sender<()>);

impl Drop for Last {
    fn drop(&mut self) {
        let kept = self.1.clone();
        let late = async move { drop(kept) };
        self.0.spawn(late).detach();
    }
}

#[tokio::test]
async fn tasks_end_with_their_thread_and_so_does_what_they_hold() {
    let running = start();
    let thread = running.thread().clone();
    let (sender, mut ended) = mpsc::channel::<()>(1);
    let (here, mut there) = pair(&thread, &thread).await;
    let (reader, waiter, spawner) = (sender.clone(), sender.clone(), sender);
    thread
        .spawn(async move {
            let _kept = reader;
            echo(here).await;
        })
        .detach();
    let sleeper = async move {
        let _kept = waiter;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    };
    thread.spawn(sleeper).detach();
    let last = Last(thread.clone(), spawner);
    thread
        .spawn(async move {
            let _kept = last;
            std::future::pending::<()>().await;
        })
        .detach();
    there.write_all(b"x").await.expect("writes");
    assert_eq!(there.read_u8().await.expect("reads"), b'x');
    drop(running);
    assert!(ended.recv().await.is_none(), "all senders are dropped");
    assert_eq!(there.read(&mut [0]).await.expect("reads"), 0, "its socket is closed");
    // Whoever comes later is dropped at once.
    let (sender, mut ended) = mpsc::channel::<()>(1);
    thread.spawn(async move { drop(sender) }).detach();
    assert!(ended.recv().await.is_none());
}

/// Takes a lock on its way out, as a session leaves the roster.
struct Locks(Arc<Mutex<()>>);

impl Drop for Locks {
    fn drop(&mut self) {
        drop(lock(&self.0));
    }
}

#[tokio::test]
async fn who_wakes_a_task_of_a_thread_that_ends_drops_nothing() {
    let shared = Arc::new(Mutex::new(()));
    for _ in 0..200 {
        let (held, waker) = (Locks(Arc::clone(&shared)), Arc::new(AtomicWaker::new()));
        let (waits, running) = (Arc::clone(&waker), start());
        let task = std::future::poll_fn(move |cx| {
            let _held = &held;
            waits.register(cx.waker());
            std::task::Poll::<()>::Pending
        });
        running.thread().spawn(task).detach();
        drop(running);
        let guard = super::lock(&shared);
        waker.wake();
        drop(guard);
    }
}

#[tokio::test]
async fn a_unix_socket_is_connected_to() {
    let running = start();
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("socket");
    let listener = crate::net::Listener::unix(&path, 0o600).expect("listens");
    let entrance = listener.open(running.thread()).expect("polled");
    let connect = on(running.thread(), async move {
        let mut there = Socket::connect_unix(&path).await.expect("connects");
        there.write_all(b"x").await.expect("writes");
    });
    let (arrived, ()) = tokio::join!(entrance.accept(), connect);
    let mut here = Socket::polled(arrived.expect("accepts"), running.thread()).expect("polled");
    assert_eq!(here.family(), Some(crate::net::Family::Unix));
    assert_eq!(here.read_u8().await.expect("reads"), b'x');
}

#[tokio::test]
async fn a_task_that_always_has_something_to_read_lets_others_run() {
    let running = start();
    let thread = running.thread().clone();
    let (mut here, mut there) = pair(&thread, &thread).await;
    there.write_all(&[1; 1_000]).await.expect("writes");
    let turns = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&turns);
    let (begun, reader) = (Arc::new(AtomicBool::new(false)), thread.clone());
    on(&thread, async move {
        let other = async move {
            begun.store(true, Ordering::Relaxed);
            loop {
                turns.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        };
        let other = reader.spawn(other);
        // Nothing in it ever waits.
        for _ in 0..1_000 {
            here.read_u8().await.expect("reads");
        }
        drop(other);
    })
    .await;
    assert!(seen.load(Ordering::Relaxed) >= 5, "{seen:?}");
}

#[tokio::test]
async fn timers_of_its_tasks_go_off() {
    let running = start();
    let late = on(running.thread(), async {
        let never = std::future::pending::<()>();
        tokio::time::timeout(Duration::from_millis(20), never).await.is_err()
    })
    .await;
    assert!(late);
}

#[tokio::test]
async fn readiness_that_came_meanwhile_is_not_taken_back() {
    let running = start();
    let (here, mut there) = pair(running.thread(), running.thread()).await;
    let Socket::Polled(polled, _) = &here else { panic!("polled") };
    let source = polled.source();
    let ready = || std::future::poll_fn(|cx: &mut Context<'_>| source.poll_ready(cx, Side::Read));
    there.write_all(b"x").await.expect("writes");
    let old = ready().await;
    // The same again before what was seen is used up.
    there.write_all(b"y").await.expect("writes");
    let now = loop {
        let now = ready().await;
        if now != old {
            break now;
        }
        tokio::task::yield_now().await;
    };
    source.used(Side::Read, old);
    assert!(source.poll_ready(&Context::from_waker(Waker::noop()), Side::Read).is_ready());
    source.used(Side::Read, now);
    assert!(source.poll_ready(&Context::from_waker(Waker::noop()), Side::Read).is_pending());
}
