//! The client's next message, looked at before it has a server.

use super::Relay;
use crate::wire::{HEADER_BYTES, Header, tag};

impl Relay {
    /// The next message's type, if its first byte is there.
    pub(in crate::session) fn next_tag(&self) -> Option<u8> {
        self.up.next_tag()
    }

    /// Whether the next message is answered by itself, without a Sync.
    pub(in crate::session) fn is_simple(&self) -> bool {
        matches!(self.next_tag(), Some(tag::QUERY | tag::FUNCTION_CALL))
    }

    /// The text of the next message, if it is a simple query and has come whole.
    pub(in crate::session) fn next_query(&self) -> Option<&str> {
        if self.up.next_tag() != Some(tag::QUERY) {
            return None;
        }
        let bytes = self.up.buffer.unparsed();
        let header = Header::frontend(bytes)?.ok()?;
        let text = bytes.get(HEADER_BYTES..header.total())?.strip_suffix(&[0])?;
        std::str::from_utf8(text).ok().filter(|text| !text.contains('\0'))
    }

    /// Drops the next message, which has come whole: it was answered.
    pub(in crate::session) fn skip_next(&mut self) {
        if let Some(Ok(header)) = Header::frontend(self.up.buffer.unparsed()) {
            self.up.buffer.skip(header.total());
        }
    }
}
