//! What a client has sent that no server is to read.

use super::{Body, Upstream};
use crate::wire::{HEADER_BYTES, Header, Malformed, tag};

impl Upstream {
    /// Drops messages up to the next Sync, for a client whose statement was refused; `true` when
    /// the Sync (or the simple query or function call that began it) has gone by.
    pub(in crate::session::relay) fn skip_refused(
        &mut self,
        simple: bool,
    ) -> Result<bool, Malformed> {
        loop {
            if self.rest > 0 && !self.consume(false) {
                return Ok(false);
            }
            let Some(header) = self.header() else { return Ok(false) };
            let header = header?;
            if header.tag == tag::TERMINATE {
                return Ok(true);
            }
            self.buffer.skip(HEADER_BYTES);
            (self.rest, self.body) = (header.body, Body::Drop);
            let last = match header.tag {
                tag::QUERY | tag::FUNCTION_CALL => simple,
                tag::SYNC => true,
                _ => false,
            };
            if last {
                // Its body, if any, is dropped as it comes.
                self.consume(false);
                return Ok(true);
            }
        }
    }

    /// Drops what a client may still send of a COPY that has failed: the server would ignore it
    /// too. `true` when something else comes next.
    pub(in crate::session::relay) fn skip_late_copy(&mut self) -> Result<bool, Malformed> {
        loop {
            if self.rest > 0 && !self.consume(false) {
                return Ok(false);
            }
            match self.header() {
                None => return Ok(false),
                Some(header) => match header? {
                    // A Flush without anything before it has nothing to flush.
                    Header {
                        tag: tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::FLUSH,
                        body,
                    } => {
                        self.buffer.skip(HEADER_BYTES);
                        (self.rest, self.body) = (body, Body::Drop);
                    }
                    _ => return Ok(true),
                },
            }
        }
    }
}
