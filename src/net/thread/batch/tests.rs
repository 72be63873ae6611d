use std::future::poll_fn;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::super::Running;
use super::super::tests::{on, pair, start};
use super::*;
use crate::net::Socket;

/// A thread on which some task always waits for its turn: a write may find company.
fn busy() -> Running {
    let running = start();
    let others = async {
        loop {
            tokio::task::yield_now().await;
        }
    };
    running.thread().spawn(others).detach();
    running
}

/// A thread that sends together, and one that sends one by one.
async fn both() -> [Running; 2] {
    let (together, alone) = (busy(), busy());
    on(together.thread(), async {
        assert!(BATCH.with_borrow(|batch| batch.aio.is_some()) || !cfg!(target_os = "linux"));
    })
    .await;
    on(alone.thread(), async { close() }).await;
    [together, alone]
}

/// A byte for each place in a stream.
fn bytes(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|place| (place % 251).to_le_bytes()[0]).collect()
}

/// Writes without waiting until the socket takes no more, or so much is written; tells how much.
async fn write_until_full(socket: &mut Socket, most: usize) -> usize {
    let mut written = 0;
    poll_fn(|cx| {
        while written < most {
            let next = bytes(written, (1 + written % 3_000).min(most - written));
            match Pin::new(&mut *socket).poll_write(cx, &next) {
                Poll::Ready(n) => written += n.expect("writes"),
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    })
    .await;
    written
}

#[tokio::test]
async fn what_many_sockets_are_sent_in_one_run_comes_in_order() {
    for running in both().await {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            let (one, other) = pair(running.thread(), running.thread()).await;
            here.push(one);
            there.push(other);
        }
        let write = async move {
            for round in 0..20 {
                // To some twice in a row, to some again behind others.
                for (place, socket) in here.iter_mut().enumerate() {
                    let message = [place.to_le_bytes()[0], round];
                    for _ in 0..=place % 2 {
                        socket.write_all(&message).await.expect("writes");
                    }
                }
            }
            here
        };
        let read = async move {
            for (place, socket) in there.iter_mut().enumerate() {
                for round in 0..20 {
                    for _ in 0..=place % 2 {
                        let mut message = [0; 2];
                        socket.read_exact(&mut message).await.expect("reads");
                        assert_eq!(message, [place.to_le_bytes()[0], round]);
                    }
                }
            }
        };
        let (_here, ()) = tokio::join!(on(running.thread(), write), on(running.thread(), read));
    }
}

/// Fills a socket before anybody reads, writes the rest if that is wanted, and ends.
async fn fill_and_end(rest: bool) {
    const ALL: usize = 20 << 20;
    for running in both().await {
        let (mut here, mut there) = pair(running.thread(), running.thread()).await;
        let (sender, full) = oneshot::channel();
        let write = async move {
            let mut written = write_until_full(&mut here, ALL).await;
            assert!(written < ALL, "it takes anything");
            if rest {
                // The kernel has been asked by then.
                tokio::task::yield_now().await;
                let _ = sender.send(());
                here.write_all(&bytes(written, ALL - written)).await.expect("writes");
                written = ALL;
            } else {
                let _ = sender.send(());
            }
            here.shutdown().await.expect("ends");
            (here, written)
        };
        let read = async move {
            full.await.expect("filled");
            let mut all = Vec::new();
            there.read_to_end(&mut all).await.expect("reads");
            all
        };
        let ((_here, written), all) =
            tokio::join!(on(running.thread(), write), on(running.thread(), read));
        assert!(all == bytes(0, written), "{} of {written} bytes came", all.len());
    }
}

#[tokio::test]
async fn what_the_kernel_does_not_take_at_once_is_sent_when_it_does() {
    fill_and_end(true).await;
}

#[tokio::test]
async fn the_end_comes_behind_what_was_not_taken_at_once() {
    fill_and_end(false).await;
}

#[tokio::test]
async fn what_was_written_is_sent_before_the_socket_is_closed() {
    for running in both().await {
        let (mut here, mut there) = pair(running.thread(), running.thread()).await;
        let (mut other, mut far) = pair(running.thread(), running.thread()).await;
        on(running.thread(), async move {
            here.write_all(b"the last word").await.expect("writes");
            other.write_all(b"of both").await.expect("writes");
            assert!(!is_empty());
            drop((here, other));
        })
        .await;
        let (mut one, mut two) = (String::new(), String::new());
        there.read_to_string(&mut one).await.expect("reads");
        far.read_to_string(&mut two).await.expect("reads");
        assert_eq!((&one[..], &two[..]), ("the last word", "of both"));
    }
}

#[tokio::test]
async fn that_nobody_takes_it_is_told_by_a_later_write_and_wakes_who_reads() {
    for running in both().await {
        let (mut here, there) = pair(running.thread(), running.thread()).await;
        let (mut other, _far) = pair(running.thread(), running.thread()).await;
        let told = on(running.thread(), async move {
            // Its own end is closed: the kernel says so by the write, and by no event.
            here.options().expect("a socket").shutdown(Shutdown::Write).expect("ends");
            here.write_all(b"for nobody").await.expect("taken in");
            other.write_all(b"for somebody").await.expect("taken in");
            while here.write_all(b"x").await.is_ok() {
                tokio::task::yield_now().await;
            }
            let again = here.write_all(b"x").await.expect_err("for good");
            let flush = here.flush().await.expect_err("likewise");
            assert_eq!(flush.kind(), again.kind());
            again.kind()
        });
        let told = tokio::time::timeout(Duration::from_secs(20), told).await.expect("told");
        assert_eq!(told, std::io::ErrorKind::BrokenPipe);
        drop(there);
    }
}

#[tokio::test]
async fn who_only_reads_finds_the_end_when_what_it_wrote_could_not_be_sent() {
    for running in both().await {
        let (mut here, mut there) = pair(running.thread(), running.thread()).await;
        let (mut other, _far) = pair(running.thread(), running.thread()).await;
        let read = on(running.thread(), async move {
            there.write_all(b"what has come").await.expect("writes");
            here.options().expect("a socket").shutdown(Shutdown::Write).expect("ends");
            here.write_all(b"for nobody").await.expect("taken in");
            other.write_all(b"for somebody").await.expect("taken in");
            let mut all = String::new();
            here.read_to_string(&mut all).await.expect("reads");
            here.shutdown().await.expect_err("it is told of what was lost");
            (all, there)
        });
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert_eq!(read.expect("ends").0, "what has come");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_leaves_with_its_run_unfinished_sends_in_order_or_is_closed() {
    let (one, other) = (busy(), busy());
    for moves in [false, true].repeat(100) {
        let (mut here, mut there) = pair(one.thread(), one.thread()).await;
        let (sender, handed) = oneshot::channel::<Socket>();
        let away = on(other.thread(), async move {
            let mut socket = handed.await.expect("handed over");
            if moves && socket.move_here().is_err() {
                return "a";
            }
            socket.write_all(b"b").await.expect("writes");
            "ab"
        });
        let home = on(one.thread(), async move {
            here.write_all(b"a").await.expect("writes");
            assert!(!is_empty());
            assert!(sender.send(here).is_ok());
            // The other thread has it before this run is over, now and then.
            std::thread::sleep(Duration::from_micros(200));
        });
        let (sent, ()) = tokio::join!(away, home);
        let mut came = String::new();
        there.read_to_string(&mut came).await.expect("reads");
        assert_eq!(came, sent);
    }
}

#[tokio::test]
async fn who_is_alone_sends_at_once() {
    let running = start();
    let (mut here, mut there) = pair(running.thread(), running.thread()).await;
    on(running.thread(), async move {
        here.write_all(b"x").await.expect("writes");
        assert!(is_empty());
        drop(here);
    })
    .await;
    assert_eq!(there.read_u8().await.expect("reads"), b'x');
}
