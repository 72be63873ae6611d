//! A larger buffer for the direction that carries much.

use crate::wire::Buffer;

/// So many reads that fill the buffer are a large result, or a COPY.
const READS: u8 = 4;

/// Bytes of the buffer from then on, until the relay goes back: they save system calls.
const BYTES: usize = 64 << 10;

/// Counts one direction's reads that filled its buffer.
#[derive(Debug, Default)]
pub(super) struct Bulk(u8);

impl Bulk {
    /// Something was read.
    pub(super) fn read(&mut self, buffer: &mut Buffer) {
        if !buffer.is_full() {
            return;
        }
        self.0 = self.0.saturating_add(1);
        if self.0 == READS && buffer.capacity() < BYTES {
            buffer.resize(BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bulk: &mut Bulk, buffer: &mut Buffer, bytes: usize) {
        buffer.append(&vec![0; bytes]);
        bulk.read(buffer);
        buffer.pass(bytes);
        buffer.sent(bytes);
    }

    #[test]
    fn a_buffer_filled_time_and_again_grows_once_and_keeps_what_it_holds() {
        let (mut bulk, mut buffer) = (Bulk::default(), Buffer::with_capacity(16));
        (0..10).for_each(|_| read(&mut bulk, &mut buffer, 15));
        assert_eq!(buffer.capacity(), 16, "never full");
        (0..3).for_each(|_| read(&mut bulk, &mut buffer, 16));
        assert_eq!(buffer.capacity(), 16, "not often enough");
        buffer.append(b"sixteen bytes ok");
        buffer.pass(7);
        bulk.read(&mut buffer);
        assert_eq!(buffer.capacity(), BYTES);
        assert_eq!((buffer.forward(), buffer.unparsed()), (&b"sixteen"[..], &b" bytes ok"[..]));
    }

    #[test]
    fn a_buffer_as_large_already_stays_as_it_is() {
        let (mut bulk, mut buffer) = (Bulk::default(), Buffer::with_capacity(2 * BYTES));
        (0..10).for_each(|_| read(&mut bulk, &mut buffer, 2 * BYTES));
        assert_eq!(buffer.capacity(), 2 * BYTES);
    }
}
