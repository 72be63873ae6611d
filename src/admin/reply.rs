//! What the console says, in pgwire's messages.

use bytes::{BufMut, BytesMut};
use pgwire::error::PgWireError;
use pgwire::messages::Message;
use pgwire::messages::data::{
    DataRow, FieldDescription, NoData, ParameterDescription, RowDescription,
};
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::answer::{Cell, Column, Kind};
use crate::fault::{Blame, Fault, SqlState};
use crate::wire::{CancelKey, Writer};

/// Messages on their way to the operator.
#[derive(Debug, Default)]
pub(super) struct Reply {
    out: Writer,
    scratch: BytesMut,
}

/// Sent out in between when an answer grows beyond this.
const FLUSH_BYTES: usize = 64 << 10;

/// How an answer's columns are to be encoded: 0 text, 1 binary. None: all in text.
pub(super) type Formats = [u16];

impl Reply {
    /// AuthenticationOk, what drivers want to know, the key, ReadyForQuery.
    pub(super) fn welcome(&mut self, key: &CancelKey) -> &mut Self {
        self.out.authentication_ok();
        for (name, value) in PARAMETERS {
            self.out.parameter_status(name, value);
        }
        self.out.backend_key_data(key).ready_for_query(b'I');
        self
    }

    pub(super) fn error(&mut self, severity: &str, fault: &Fault) -> &mut Self {
        self.out.error(severity, fault);
        self
    }

    pub(super) fn ready(&mut self) -> &mut Self {
        self.out.ready_for_query(b'I');
        self
    }

    pub(super) fn columns(&mut self, columns: &[Column], formats: &Formats) -> Result<(), Fault> {
        let field = |(n, column): (usize, &Column)| {
            let format = i16::from(is_binary(formats, n));
            let (oid, size) = (column.kind.oid(), column.kind.size());
            FieldDescription::new(column.name.to_owned(), 0, 0, oid, size, -1, format)
        };
        let fields = columns.iter().enumerate().map(field).collect();
        self.put(&RowDescription::new(fields))
    }

    pub(super) fn row(
        &mut self,
        columns: &[Column],
        formats: &Formats,
        row: &[Cell],
    ) -> Result<(), Fault> {
        let mut data = BytesMut::new();
        for (n, (cell, column)) in row.iter().zip(columns).enumerate() {
            put_cell(&mut data, cell, column.kind, is_binary(formats, n))?;
        }
        let count = i16::try_from(row.len()).map_err(|_| unsayable("a row is too wide"))?;
        self.put(&DataRow::new(data, count))
    }

    pub(super) fn complete(&mut self, tag: &str) -> Result<(), Fault> {
        self.put(&CommandComplete::new(tag.to_owned()))
    }

    pub(super) fn empty_query(&mut self) -> Result<(), Fault> {
        self.put(&EmptyQueryResponse::new())
    }

    pub(super) fn parse_complete(&mut self) -> Result<(), Fault> {
        self.put(&ParseComplete::new())
    }

    pub(super) fn bind_complete(&mut self) -> Result<(), Fault> {
        self.put(&BindComplete::new())
    }

    pub(super) fn close_complete(&mut self) -> Result<(), Fault> {
        self.put(&CloseComplete::new())
    }

    pub(super) fn suspended(&mut self) -> Result<(), Fault> {
        self.put(&PortalSuspended::new())
    }

    pub(super) fn no_data(&mut self) -> Result<(), Fault> {
        self.put(&NoData::new())
    }

    pub(super) fn no_parameters(&mut self) -> Result<(), Fault> {
        self.put(&ParameterDescription::new(Vec::new()))
    }

    /// Whether it is time to send what is there.
    pub(super) fn is_full(&self) -> bool {
        self.out.bytes().len() >= FLUSH_BYTES
    }

    /// Sends everything.
    pub(super) async fn send(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> std::io::Result<()> {
        stream.write_all(self.out.bytes()).await?;
        self.out.clear();
        stream.flush().await
    }

    fn put(&mut self, message: &impl Message) -> Result<(), Fault> {
        self.scratch.clear();
        message.encode(&mut self.scratch).map_err(unsayable::<PgWireError>)?;
        self.out.raw(&self.scratch);
        Ok(())
    }
}

/// What an operator's driver is told. There is no server whose values they could be.
const PARAMETERS: [(&str, &str); 7] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("integer_datetimes", "on"),
    ("server_encoding", "UTF8"),
    ("server_version", concat!("15.0 (pgusher ", env!("CARGO_PKG_VERSION"), ")")),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "GMT"),
];

/// One format counts for all columns.
fn is_binary(formats: &Formats, n: usize) -> bool {
    let format = if formats.len() == 1 { formats.first() } else { formats.get(n) };
    format == Some(&1)
}

fn put_cell(out: &mut BytesMut, cell: &Cell, kind: Kind, binary: bool) -> Result<(), Fault> {
    match (cell, kind, binary) {
        (Cell::Null, ..) => out.put_i32(-1),
        (Cell::Number(number), Kind::Int4, true) => {
            out.put_i32(4);
            out.put_i32(i32::try_from(*number).unwrap_or(i32::MAX));
        }
        (Cell::Number(number), Kind::Int8, true) => {
            out.put_i32(8);
            out.put_i64(*number);
        }
        (Cell::Number(number), ..) => put_text(out, &number.to_string())?,
        (Cell::Text(text), ..) => put_text(out, text)?,
    }
    Ok(())
}

fn put_text(out: &mut BytesMut, text: &str) -> Result<(), Fault> {
    let length = i32::try_from(text.len()).map_err(|_| unsayable("a value is too long"))?;
    out.put_i32(length);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn unsayable<E: Into<Box<dyn std::error::Error + Send + Sync>>>(why: E) -> Fault {
    let text = "the console's answer cannot be sent";
    Fault::new(Blame::Proxy, SqlState::INTERNAL_ERROR, text).because(why)
}

#[cfg(test)]
mod tests {
    use super::super::answer::{int4, row, text};
    use super::*;

    #[test]
    fn a_row_is_said_in_text_and_in_binary() {
        let columns = [text("a"), int4("b"), text("c")];
        let cells = row!["x", 7_u32, None::<String>];
        let mut reply = Reply::default();
        reply.row(&columns, &[], &cells).expect("fits");
        assert_eq!(reply.out.bytes(), b"D\0\0\0\x14\0\x03\0\0\0\x01x\0\0\0\x017\xff\xff\xff\xff");
        let mut reply = Reply::default();
        reply.row(&columns, &[0, 1, 0], &cells).expect("fits");
        assert_eq!(
            reply.out.bytes(),
            b"D\0\0\0\x17\0\x03\0\0\0\x01x\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff"
        );
        let mut reply = Reply::default();
        reply.columns(&columns[1..2], &[1]).expect("fits");
        assert_eq!(
            reply.out.bytes(),
            b"T\0\0\0\x1a\0\x01b\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01"
        );
    }
}
