//! What an operator sends, message by message, each within its bound.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::wire::{HEADER_BYTES, Header, Malformed};

/// The longest message an operator may send: commands are short.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// How much is read at once.
const READ_BYTES: usize = 4 << 10;

/// Bytes that have come and were not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Inbox(BytesMut);

/// Why there is no next message.
#[derive(Debug)]
pub(super) enum NoMessage {
    /// The operator left.
    Gone,
    /// What came is not the protocol.
    Malformed(Malformed),
    /// It is longer than the console reads.
    TooLong,
}

impl From<io::Error> for NoMessage {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Inbox {
    /// The next message: its tag and its body. Cancel-safe.
    pub(super) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<(u8, Bytes), NoMessage> {
        loop {
            match Header::frontend(&self.0) {
                Some(Err(malformed)) => return Err(NoMessage::Malformed(malformed)),
                Some(Ok(header)) if header.body > MESSAGE_BYTES_MAX => {
                    return Err(NoMessage::TooLong);
                }
                Some(Ok(header)) if self.0.len() >= header.total() => {
                    self.0.advance(HEADER_BYTES);
                    return Ok((header.tag, self.0.split_to(header.body).freeze()));
                }
                _ => {}
            }
            self.read(stream).await?;
        }
    }

    /// Ends when the operator leaves while a command runs. What they send meanwhile is kept, up
    /// to the bound. Cancel-safe.
    pub(super) async fn closed(&mut self, stream: &mut (impl AsyncRead + Unpin)) {
        while self.0.len() < MESSAGE_BYTES_MAX {
            if self.read(stream).await.is_err() {
                return;
            }
        }
        // Whoever talks that much without waiting for an answer is not watched any more.
        std::future::pending::<()>().await;
    }

    async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<(), NoMessage> {
        self.0.reserve(READ_BYTES);
        match stream.read_buf(&mut self.0).await? {
            0 => Err(NoMessage::Gone),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_whole_and_bounded() {
        let mut inbox = Inbox::default();
        let mut bytes: &[u8] = b"Q\0\0\0\x06x\0S\0\0\0\x04Q\0\x01\0\x05";
        let (tag, body) = inbox.next(&mut bytes).await.expect("a query");
        assert_eq!((tag, &*body), (b'Q', &b"x\0"[..]));
        assert!(matches!(inbox.next(&mut bytes).await, Ok((b'S', _))));
        assert!(matches!(inbox.next(&mut bytes).await, Err(NoMessage::TooLong)));
        let mut inbox = Inbox::default();
        let mut half: &[u8] = b"Q\0\0\0\x06x";
        assert!(matches!(inbox.next(&mut half).await, Err(NoMessage::Gone)));
        let mut inbox = Inbox::default();
        let mut odd: &[u8] = b"?\0\0\0\x06x";
        assert!(matches!(inbox.next(&mut odd).await, Err(NoMessage::Malformed(_))));
    }
}
