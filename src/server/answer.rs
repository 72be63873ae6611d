//! The answer to a query pgusher itself asked on a server connection.

use super::Described;
use crate::wire::{ErrorFields, Malformed};

/// More than any question of pgusher's brings; a server that sends more is not believed.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a statement is described as.
#[derive(Debug)]
pub struct Description {
    /// That, or the body of the error by which PostgreSQL refuses it.
    pub described: Result<Described, Vec<u8>>,
    /// Notifications that came meanwhile, as whole messages: they are the session's.
    pub notifications: Vec<u8>,
}

impl Default for Description {
    fn default() -> Self {
        Self { described: Err(Vec::new()), notifications: Vec::new() }
    }
}

/// Rows in text format, and how the query ended.
#[derive(Debug, Default)]
pub struct Answer {
    /// The rows of all result sets, in order; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// The first error, as code and message for the log.
    pub error: Option<String>,
    /// All its fields, as they came.
    pub refusal: Vec<u8>,
    /// Its SQLSTATE.
    pub code: Option<String>,
    /// The transaction status at the end: `I`, `T` or `E`.
    pub status: u8,
    /// Notifications that came meanwhile, as whole messages: they are the session's.
    pub notifications: Vec<u8>,
}

impl Answer {
    /// Whether it succeeded and left no transaction open.
    pub fn is_clean(&self) -> bool {
        self.error.is_none() && self.status == b'I'
    }

    /// Whether a setting of the session's ended it, or another transaction did: cancelled, a lock
    /// not to be had in time, serialization. Asked again it may succeed.
    pub fn was_cut_short(&self) -> bool {
        matches!(self.code.as_deref(), Some("57014" | "55P03" | "40001"))
    }

    /// The value at `row` and `column`, `None` for NULL and for what is not there.
    pub fn value(&self, row: usize, column: usize) -> Option<&str> {
        self.rows.get(row)?.get(column)?.as_deref()
    }

    pub(super) fn take_row(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let (count, mut rest) = body.split_first_chunk::<2>().ok_or(Malformed::Body)?;
        let mut row = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, after) = rest.split_first_chunk::<4>().ok_or(Malformed::Body)?;
            let length = i32::from_be_bytes(*length);
            if length == -1 {
                row.push(None);
                rest = after;
                continue;
            }
            let length = usize::try_from(length).map_err(|_| Malformed::Body)?;
            let value = after.get(..length).ok_or(Malformed::Body)?;
            row.push(Some(String::from_utf8_lossy(value).into_owned()));
            rest = &after[length..];
        }
        self.rows.push(row);
        Ok(())
    }

    pub(super) fn take_error(&mut self, body: &[u8]) {
        if self.error.is_none() {
            let fields = ErrorFields::parse(body);
            self.refusal = body.to_vec();
            self.error = Some(fields.summary());
            self.code = fields.code.map(|code| String::from_utf8_lossy(code).into_owned());
        }
    }
}
