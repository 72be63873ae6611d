//! Log lines leave by a thread of their own: who logs never waits for who reads.

use std::io::{self, Write};
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// So many lines wait to be written. What comes beyond is counted and not kept.
const LINES_MAX: usize = 1024;

/// What comes so soon behind a line is written with it. Meanwhile nobody who logs has to wake the
/// thread: with a line for each session that was a sixth of what a connect costs.
const TOGETHER: Duration = Duration::from_millis(5);

/// More is not gathered for one write.
const BYTES_MAX: usize = 64 << 10;

/// How long the process waits at its end for lines to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// How often a flush looks whether there is room for its word.
const FLUSH_PACE: Duration = Duration::from_millis(5);

static STDERR: OnceLock<Lines> = OnceLock::new();

#[derive(Debug)]
enum Word {
    Line(Vec<u8>),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

/// A bounded queue of lines, and the thread that writes them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Word>,
    lost: Arc<AtomicU64>,
}

/// One line in the making: it is queued as a whole when it is dropped.
#[derive(Debug)]
pub(super) struct Line<'a> {
    bytes: Vec<u8>,
    lines: &'a Lines,
}

/// Waits until what was logged is written, two seconds at most. For the end of the process.
pub fn flush() {
    if let Some(lines) = STDERR.get() {
        lines.flush(FLUSH_PATIENCE);
    }
}

impl Lines {
    /// Those of the process, to standard error.
    pub(super) fn to_stderr() -> Self {
        STDERR.get_or_init(|| Self::to(io::stderr())).clone()
    }

    fn to(out: impl Write + Send + 'static) -> Self {
        let (queue, words) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let writing = thread::Builder::new().name("log".to_owned());
        // Without the thread every line is lost, and the process has other troubles.
        drop(writing.spawn(move || write_all(&words, &counted, out)));
        Self { queue, lost }
    }

    fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let (done, written) = sync_channel(1);
        let mut word = Word::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(word) {
            if Instant::now() >= until {
                return;
            }
            word = back;
            thread::sleep(FLUSH_PACE);
        }
        let left = until.saturating_duration_since(Instant::now());
        // Where nobody reads, what is left is lost with the process.
        let _ = written.recv_timeout(left);
    }
}

fn write_all(words: &Receiver<Word>, lost: &AtomicU64, mut out: impl Write) {
    let mut bytes = Vec::new();
    // A log that cannot be written is nowhere to be told of.
    let mut write = |bytes: &mut Vec<u8>| {
        drop(out.write_all(bytes));
        bytes.clear();
    };
    while let Ok(first) = words.recv() {
        if matches!(first, Word::Line(_)) {
            thread::sleep(TOGETHER);
        }
        for word in iter::once(first).chain(words.try_iter()) {
            match word {
                Word::Line(line) => bytes.extend_from_slice(&line),
                Word::Flush(done) => {
                    write(&mut bytes);
                    let _ = done.try_send(());
                }
            }
            if bytes.len() >= BYTES_MAX {
                write(&mut bytes);
            }
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let told = format!("{missing} log lines were lost: nobody read them in time\n");
            bytes.extend_from_slice(told.as_bytes());
        }
        write(&mut bytes);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { bytes: Vec::new(), lines: self }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        if !line.is_empty() && self.lines.queue.try_send(Word::Line(line)).is_err() {
            self.lines.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// Whether it reads, and what it has read.
    type State = Mutex<(bool, Vec<u8>)>;

    /// A reader that takes nothing until it is let.
    #[derive(Clone, Default)]
    struct Reader(Arc<(State, Condvar)>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (state, changed) = &*self.0;
            let state = state.lock().expect("state");
            let mut state = changed.wait_while(state, |(reads, _)| !*reads).expect("state");
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_waits_for_no_reader_and_what_is_lost_is_told() {
        let reader = Reader::default();
        let lines = Lines::to(reader.clone());
        let most = LINES_MAX + 10;
        for n in 0..most {
            lines.make_writer().write_all(format!("line {n}\n").as_bytes()).expect("queued");
        }
        lines.flush(Duration::from_millis(1));
        reader.0.0.lock().expect("state").0 = true;
        reader.0.1.notify_all();
        lines.flush(Duration::from_mins(1));
        let text = String::from_utf8(reader.0.0.lock().expect("state").1.clone()).expect("text");
        let written = text.lines().filter(|line| line.starts_with("line ")).count();
        let lost: usize = text
            .lines()
            .filter_map(|line| line.strip_suffix(" log lines were lost: nobody read them in time"))
            .map(|n| n.parse::<usize>().expect("a number"))
            .sum();
        assert!(lost >= 9, "{lost} lost");
        assert_eq!(written + lost, most);
        assert!(text.starts_with("line 0\n"));
    }
}
