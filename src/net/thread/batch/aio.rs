//! Linux's own asynchronous I/O (`io_submit(2)`), for what it does with sockets that do not block:
//! each write is made while it is submitted, so that one system call makes many.
//!
//! The one place of this crate with unsafe code, because no library offers these calls for sockets.
//! What makes it sound: [`Aio::write`] gives back what it borrowed only when the kernel has told the
//! end of every write it took.

#![expect(unsafe_code, reason = "system calls that no library wraps; see above")]

use std::ffi::{c_int, c_long, c_ulong};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// `IOCB_CMD_PWRITE` of `linux/aio_abi.h`.
const WRITE: u16 = 1;

/// What the first write is of: the kernel may go on reading it if its end is not told.
static TRIAL: [u8; 1] = [0];

/// `struct iocb` of `linux/aio_abi.h`, as little-endian machines of 64 bits have it.
#[repr(C)]
#[derive(Debug, Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: c_int,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    notify_fd: u32,
}

/// `struct io_event` of `linux/aio_abi.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Event {
    data: u64,
    request: u64,
    result: i64,
    result2: i64,
}

/// A context of the kernel's for so many writes at once.
#[derive(Debug)]
pub(super) struct Aio {
    context: c_ulong,
    requests: Vec<Request>,
    places: Vec<*mut Request>,
    events: Vec<Event>,
}

impl Aio {
    /// # Errors
    /// When the kernel has none, or none left (`fs.aio-max-nr`); when it does not write to sockets
    /// that way, as gVisor does not, or one of the calls is refused.
    pub(super) fn new(most: usize) -> Result<Self, Errno> {
        let mut aio = Self::set_up(most)?;
        let (here, _there) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        let mut became = Err(Errno::NOTSUP);
        let taken = aio.submit(std::iter::once((here.as_fd(), &TRIAL[..])));
        aio.end(taken, |_, written| became = written)?;
        became.map(|_| aio)
    }

    fn set_up(most: usize) -> Result<Self, Errno> {
        let mut context: c_ulong = 0;
        // SAFETY: the kernel writes one word, to where `context` is.
        let made = unsafe { libc::syscall(libc::SYS_io_setup, most, &raw mut context) };
        called(made)?;
        let (requests, places) = (Vec::with_capacity(most), Vec::with_capacity(most));
        Ok(Self { context, requests, places, events: vec![Event::default(); most] })
    }

    /// Makes these writes in their order, no more than there is room for, and tells of each what
    /// `write(2)` would have said, by its place. Of a write that is not told of, nothing was made.
    /// SIGPIPE has to be ignored, as Rust's runtime has it.
    pub(super) fn write<'a>(
        &mut self,
        writes: impl Iterator<Item = (BorrowedFd<'a>, &'a [u8])>,
        tell: impl FnMut(usize, Result<usize, Errno>),
    ) {
        let taken = self.submit(writes);
        if self.end(taken, tell).is_err() {
            // Not where it worked before; and nobody can go on with memory that the kernel may still
            // read.
            std::process::abort();
        }
    }

    /// How many of them the kernel has taken. [`Self::end`] comes before what they borrow is given
    /// back.
    fn submit<'a>(&mut self, writes: impl Iterator<Item = (BorrowedFd<'a>, &'a [u8])>) -> usize {
        self.requests.clear();
        self.requests.extend(writes.take(self.events.len()).zip(0..).map(
            |((fd, bytes), place)| Request {
                data: place,
                opcode: WRITE,
                fd: fd.as_raw_fd().cast_unsigned(),
                buffer: bytes.as_ptr().expose_provenance() as u64,
                bytes: bytes.len() as u64,
                ..Request::default()
            },
        ));
        self.places.clear();
        self.places.extend(self.requests.iter_mut().map(ptr::from_mut));
        // SAFETY: each place is of a request that stands still until the next call of this function.
        // Each request names bytes and a descriptor that `write` has borrowed, or that last: the
        // kernel is done with all of them behind `end`.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_submit,
                self.context,
                self.places.len(),
                self.places.as_ptr(),
            )
        };
        usize::try_from(taken).unwrap_or(0)
    }

    /// Waits for the end of so many, and tells what became of each. Those of sockets that do not block
    /// have ended already.
    ///
    /// # Errors
    /// When the kernel does not tell.
    fn end(
        &mut self,
        taken: usize,
        mut tell: impl FnMut(usize, Result<usize, Errno>),
    ) -> Result<(), Errno> {
        let mut ended = 0;
        while ended < taken {
            let (left, events) = (taken - ended, &mut self.events[ended..taken]);
            // SAFETY: there is room for as many events as are asked for.
            let more = unsafe {
                libc::syscall(
                    libc::SYS_io_getevents,
                    self.context,
                    left,
                    left,
                    events.as_mut_ptr(),
                    ptr::null::<libc::timespec>(),
                )
            };
            match called(more) {
                Ok(more) => ended += more,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        for event in &self.events[..taken] {
            tell(usize::try_from(event.data).unwrap_or(usize::MAX), written(event.result));
        }
        Ok(())
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: the context is this one's own, and nobody uses it any more.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}

/// What a system call gave back.
fn called(result: c_long) -> Result<usize, Errno> {
    usize::try_from(result)
        .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// What became of a write: its bytes, or the error as a negative number.
fn written(result: i64) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| {
        let error = result.checked_neg().and_then(|error| i32::try_from(error).ok());
        error.map_or(Errno::IO, Errno::from_raw_os_error)
    })
}
