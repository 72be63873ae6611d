//! The fields of an ErrorResponse or NoticeResponse.

use super::split_cstr;

/// What pgusher reads of a server's error. Any field may be missing: the server is not trusted to
/// send even the SQLSTATE (PgBouncer's CVE-2026-6666).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// `V`, the severity in English; else `S`.
    pub severity: Option<&'a [u8]>,
    /// `C`, the SQLSTATE.
    pub code: Option<&'a [u8]>,
    /// `M`, the message.
    pub message: Option<&'a [u8]>,
    /// `R`, the server's routine that said it.
    pub routine: Option<&'a [u8]>,
}

impl<'a> ErrorFields<'a> {
    /// Reads the body of an ErrorResponse as far as it is well-formed.
    pub fn parse(body: &'a [u8]) -> Self {
        let mut fields = Self::default();
        let mut rest = body;
        while let Some((&code, after)) = rest.split_first() {
            if code == 0 {
                break;
            }
            let Ok((value, tail)) = split_cstr(after) else { break };
            rest = tail;
            match code {
                b'V' => fields.severity = Some(value),
                b'S' if fields.severity.is_none() => fields.severity = Some(value),
                b'C' => fields.code = Some(value),
                b'M' => fields.message = Some(value),
                b'R' => fields.routine = Some(value),
                _ => {}
            }
        }
        fields
    }

    /// Whether the server ends the session with it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, Some(b"FATAL" | b"PANIC"))
    }

    /// The message as text for a log line or a fault's cause, cut at 200 bytes.
    pub fn summary(&self) -> String {
        let text = self.message.unwrap_or(b"(no message)");
        let code = self.code.unwrap_or(b"?????");
        let shown = &text[..text.len().min(200)];
        format!("{} ({})", String::from_utf8_lossy(shown), String::from_utf8_lossy(code))
    }
}
