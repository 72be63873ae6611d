//! The messages pgusher itself writes, to either side.

use bytes::BufMut;

use super::{ProtocolVersion, tag};
use crate::fault::Fault;

/// A process id and a secret: what a cancel request must show.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// The process id.
    pub pid: i32,
    /// 4 bytes in protocol 3.0, up to 256 in 3.2.
    pub secret: Box<[u8]>,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey({}, ***)", self.pid)
    }
}

/// A growing run of messages.
#[derive(Debug, Default, Clone)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty run.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Hands the bytes over.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Writes one message: the tag, then `body`, and the length once it is known.
    ///
    /// # Panics
    /// When the body passes 4 GiB: every caller bounds what it writes far below.
    pub fn message(&mut self, tag: u8, body: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.0.push(tag);
        self.packet(body)
    }

    /// Writes an untagged packet: length, then `body`.
    pub fn packet(&mut self, body: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let at = self.0.len();
        self.0.put_u32(0);
        body(&mut self.0);
        let length = u32::try_from(self.0.len() - at).expect("invariant: own messages are small");
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// Appends bytes that are already messages.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// AuthenticationOk.
    pub fn authentication_ok(&mut self) -> &mut Self {
        self.message(tag::AUTHENTICATION, |b| b.put_u32(0))
    }

    /// AuthenticationCleartextPassword.
    pub fn authentication_cleartext(&mut self) -> &mut Self {
        self.message(tag::AUTHENTICATION, |b| b.put_u32(3))
    }

    /// AuthenticationSASL with the mechanisms on offer, preferred first.
    pub fn authentication_sasl(&mut self, mechanisms: &[&str]) -> &mut Self {
        self.message(tag::AUTHENTICATION, |b| {
            b.put_u32(10);
            for mechanism in mechanisms {
                put_cstr(b, mechanism.as_bytes());
            }
            b.put_u8(0);
        })
    }

    /// AuthenticationSASLContinue.
    pub fn authentication_sasl_continue(&mut self, data: &[u8]) -> &mut Self {
        self.message(tag::AUTHENTICATION, |b| {
            b.put_u32(11);
            b.put_slice(data);
        })
    }

    /// AuthenticationSASLFinal.
    pub fn authentication_sasl_final(&mut self, data: &[u8]) -> &mut Self {
        self.message(tag::AUTHENTICATION, |b| {
            b.put_u32(12);
            b.put_slice(data);
        })
    }

    /// ParameterStatus.
    pub fn parameter_status(&mut self, name: &str, value: &str) -> &mut Self {
        self.message(tag::PARAMETER_STATUS, |b| {
            put_cstr(b, name.as_bytes());
            put_cstr(b, value.as_bytes());
        })
    }

    /// BackendKeyData.
    pub fn backend_key_data(&mut self, key: &CancelKey) -> &mut Self {
        self.message(tag::BACKEND_KEY_DATA, |b| {
            b.put_i32(key.pid);
            b.put_slice(&key.secret);
        })
    }

    /// ReadyForQuery with `status` `I`, `T` or `E`.
    pub fn ready_for_query(&mut self, status: u8) -> &mut Self {
        self.message(tag::READY_FOR_QUERY, |b| b.put_u8(status))
    }

    /// NegotiateProtocolVersion: the version spoken and the options not understood.
    pub fn negotiate_protocol_version(
        &mut self,
        version: ProtocolVersion,
        options: &[String],
    ) -> &mut Self {
        self.message(tag::NEGOTIATE_PROTOCOL_VERSION, |b| {
            b.put_u32(version.code());
            b.put_u32(u32::try_from(options.len()).unwrap_or(u32::MAX));
            for option in options {
                put_cstr(b, option.as_bytes());
            }
        })
    }

    /// ErrorResponse with `severity` `FATAL` or `ERROR`.
    pub fn error(&mut self, severity: &str, fault: &Fault) -> &mut Self {
        self.message(tag::ERROR_RESPONSE, |b| {
            put_field(b, b'S', severity);
            put_field(b, b'V', severity);
            put_field(b, b'C', fault.state().as_str());
            put_field(b, b'M', fault.message());
            if let Some(detail) = fault.detail_text() {
                put_field(b, b'D', detail);
            }
            if let Some(hint) = fault.hint_text() {
                put_field(b, b'H', hint);
            }
            b.put_u8(0);
        })
    }

    /// NoticeResponse with severity `NOTICE`.
    pub fn notice(&mut self, message: &str, detail: &str) -> &mut Self {
        self.message(tag::NOTICE_RESPONSE, |b| {
            put_field(b, b'S', "NOTICE");
            put_field(b, b'V', "NOTICE");
            put_field(b, b'C', "00000");
            put_field(b, b'M', message);
            put_field(b, b'D', detail);
            b.put_u8(0);
        })
    }

    /// A simple Query.
    pub fn query(&mut self, sql: &str) -> &mut Self {
        self.message(tag::QUERY, |b| put_cstr(b, sql.as_bytes()))
    }

    /// Terminate.
    pub fn terminate(&mut self) -> &mut Self {
        self.message(tag::TERMINATE, |_| {})
    }

    /// StartupMessage, protocol 3.0.
    pub fn startup(&mut self, parameters: &[(&str, &str)]) -> &mut Self {
        self.packet(|b| {
            b.put_u32(ProtocolVersion::V3_0.code());
            for (name, value) in parameters {
                put_cstr(b, name.as_bytes());
                put_cstr(b, value.as_bytes());
            }
            b.put_u8(0);
        })
    }

    /// SSLRequest.
    pub fn ssl_request(&mut self) -> &mut Self {
        self.packet(|b| b.put_u32(80_877_103))
    }

    /// CancelRequest.
    pub fn cancel_request(&mut self, key: &CancelKey) -> &mut Self {
        self.packet(|b| {
            b.put_u32(80_877_102);
            b.put_i32(key.pid);
            b.put_slice(&key.secret);
        })
    }
}

/// A zero-terminated string. A zero inside would end it early and let the rest pass for more
/// fields, so it is cut there.
pub(super) fn put_cstr(out: &mut Vec<u8>, text: &[u8]) {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    out.put_slice(&text[..end]);
    out.put_u8(0);
}

fn put_field(out: &mut Vec<u8>, code: u8, text: &str) {
    out.put_u8(code);
    put_cstr(out, text.as_bytes());
}
