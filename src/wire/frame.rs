//! The frame around every message after startup: one tag byte, four length bytes, a body.

use super::tag;

/// Tag and length.
pub const HEADER_BYTES: usize = 5;

/// The longest body of a server's message that carries no user data: libpq accepts so much.
pub const SMALL_BYTES_MAX: usize = 30_000;

/// The longest body of a client's message that carries no user data (`PQ_SMALL_MESSAGE_LIMIT`, which
/// counts the length itself). PostgreSQL ends the session at a longer one without a word.
const SMALL_ASKED_MAX: usize = 10_000 - 4;

/// The longest body of a client's message at all (`PQ_LARGE_MESSAGE_LIMIT`, counted likewise).
const ASKED_MAX: usize = BODY_BYTES_MAX - 4;

/// The longest body at all (`PQ_LARGE_MESSAGE_LIMIT`, `MaxAllocSize - 1`).
pub const BODY_BYTES_MAX: usize = 0x3fff_ffff - 1;

/// A frame's header, checked against the bounds of its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message type.
    pub tag: u8,
    /// Bytes of body that follow the header.
    pub body: usize,
}

impl Header {
    /// Reads a header a client sent. `None` until five bytes are there.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown type, a length outside the type's bounds, or a body where there
    /// is none.
    pub fn frontend(bytes: &[u8]) -> Option<Result<Self, Malformed>> {
        let limit = match *bytes.first()? {
            tag::QUERY
            | tag::PARSE
            | tag::BIND
            | tag::FUNCTION_CALL
            | tag::COPY_DATA
            | tag::PASSWORD => ASKED_MAX,
            tag::EXECUTE | tag::DESCRIBE | tag::CLOSE | tag::COPY_FAIL => SMALL_ASKED_MAX,
            tag::SYNC | tag::FLUSH | tag::TERMINATE | tag::COPY_DONE => {
                // PostgreSQL answers a body here with an error that no question stands for.
                let header = Self::read(bytes, SMALL_ASKED_MAX)?;
                return Some(header.and_then(|header| match header.body {
                    0 => Ok(header),
                    _ => Err(Malformed::Body),
                }));
            }
            _ => return Some(Err(Malformed::Type)),
        };
        Self::read(bytes, limit)
    }

    /// Reads a header a server sent. `None` until five bytes are there.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown type or a length outside the type's bounds.
    pub fn backend(bytes: &[u8]) -> Option<Result<Self, Malformed>> {
        let limit = match *bytes.first()? {
            // Rows first: they are most of what a server says.
            tag::DATA_ROW
            | tag::COPY_DATA
            | tag::ROW_DESCRIPTION
            | tag::ERROR_RESPONSE
            | tag::NOTICE_RESPONSE
            | tag::NOTIFICATION_RESPONSE
            | tag::FUNCTION_CALL_RESPONSE
            | tag::PARAMETER_DESCRIPTION => BODY_BYTES_MAX,
            tag::COMMAND_COMPLETE
            | tag::READY_FOR_QUERY
            | tag::PARSE_COMPLETE
            | tag::BIND_COMPLETE
            | tag::CLOSE_COMPLETE
            | tag::NO_DATA
            | tag::PORTAL_SUSPENDED
            | tag::EMPTY_QUERY_RESPONSE
            | tag::PARAMETER_STATUS
            | tag::COPY_IN_RESPONSE
            | tag::COPY_OUT_RESPONSE
            | tag::COPY_BOTH_RESPONSE
            | tag::COPY_DONE
            | tag::AUTHENTICATION
            | tag::BACKEND_KEY_DATA
            | tag::NEGOTIATE_PROTOCOL_VERSION => SMALL_BYTES_MAX,
            _ => return Some(Err(Malformed::Type)),
        };
        Self::read(bytes, limit)
    }

    fn read(bytes: &[u8], limit: usize) -> Option<Result<Self, Malformed>> {
        let [tag, a, b, c, d] = *bytes.first_chunk::<HEADER_BYTES>()?;
        let declared = u32::from_be_bytes([a, b, c, d]) as usize;
        Some(match declared.checked_sub(4) {
            Some(body) if body <= limit => Ok(Self { tag, body }),
            _ => Err(Malformed::Length),
        })
    }

    /// Header and body together, in bytes.
    pub fn total(self) -> usize {
        HEADER_BYTES + self.body
    }
}

/// Bytes that are not the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A message type nobody sends in this direction.
    #[error("invalid frontend message type")]
    Type,
    /// A length outside the bounds of its message type.
    #[error("invalid message length")]
    Length,
    /// A body that does not hold what its type says.
    #[error("invalid message format")]
    Body,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_needs_five_bytes() {
        assert_eq!(Header::frontend(b""), None);
        assert_eq!(Header::frontend(b"Q\0\0\0"), None);
        assert_eq!(Header::frontend(b"Q\0\0\0\x05\0"), Some(Ok(Header { tag: b'Q', body: 1 })));
    }

    #[test]
    fn lengths_are_bounded_by_type() {
        for bytes in [b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"Q\x40\0\0\x03", b"S\0\x01\0\0"] {
            assert_eq!(Header::frontend(bytes), Some(Err(Malformed::Length)), "{bytes:?}");
        }
        assert_eq!(Header::frontend(b"@\0\0\0\x04"), Some(Err(Malformed::Type)));
        assert_eq!(Header::backend(b"Z\0\x01\0\0"), Some(Err(Malformed::Length)));
        assert_eq!(Header::backend(b"Q\0\0\0\x04"), Some(Err(Malformed::Type)));
        assert!(matches!(Header::backend(b"D\x3f\xff\xff\xff"), Some(Ok(_))));
    }

    #[test]
    fn what_a_client_sends_is_as_long_as_postgresql_takes() {
        for tag in *b"ECDf" {
            let longest = Header { tag, body: 9_996 };
            assert_eq!(Header::frontend(&[tag, 0, 0, 0x27, 0x10]), Some(Ok(longest)));
            let longer = Header::frontend(&[tag, 0, 0, 0x27, 0x11]);
            assert_eq!(longer, Some(Err(Malformed::Length)));
        }
        assert!(matches!(Header::frontend(b"Q\x3f\xff\xff\xfe"), Some(Ok(_))));
        assert_eq!(Header::frontend(b"Q\x3f\xff\xff\xff"), Some(Err(Malformed::Length)));
    }

    #[test]
    fn a_flush_a_sync_a_copy_done_and_a_terminate_have_no_body() {
        for tag in *b"HScX" {
            assert_eq!(Header::frontend(&[tag, 0, 0, 0, 4]), Some(Ok(Header { tag, body: 0 })));
            assert_eq!(Header::frontend(&[tag, 0, 0, 0, 5]), Some(Err(Malformed::Body)));
            assert_eq!(Header::frontend(&[tag, 0, 0, 0x75, 0x30]), Some(Err(Malformed::Length)));
        }
    }
}
