//! The extended query protocol, as much of it as commands without parameters need.

use std::collections::HashMap;
use std::vec::IntoIter;

use bytes::{Buf, Bytes};

use super::answer::Row;
use super::command::Order;
use crate::fault::{Blame, Fault, SqlState};
use crate::wire::{Malformed, bind_names, describe_target, parse_name, split_cstr};

/// Statements and portals by name; the unnamed ones have the empty name.
#[derive(Default)]
pub(super) struct Statements {
    prepared: HashMap<Vec<u8>, Option<Order>>,
    portals: HashMap<Vec<u8>, Portal>,
}

/// A command ready to run, or running.
pub(super) struct Portal {
    pub(super) order: Option<Order>,
    pub(super) formats: Vec<u16>,
    /// What is still to be sent of its answer.
    pub(super) rows: Option<IntoIter<Row>>,
}

/// How many statements, and portals, an operator may have at once.
const NAMES_MAX: usize = 64;

impl Statements {
    /// Parse.
    pub(super) fn parse(&mut self, body: &[u8]) -> Result<(), Fault> {
        let named = parse_name(body).map_err(malformed)?;
        let (text, _types) = split_cstr(named.rest).map_err(malformed)?;
        let order = Order::read(&String::from_utf8_lossy(text))?;
        bounded(self.prepared.len())?;
        self.prepared.insert(named.name.to_vec(), order);
        Ok(())
    }

    /// Bind.
    pub(super) fn bind(&mut self, body: &Bytes) -> Result<(), Fault> {
        let (portal, named) = bind_names(body).map_err(malformed)?;
        let order = self.prepared.get(named.name).ok_or_else(no_statement)?.clone();
        let formats = formats(named.rest)?;
        bounded(self.portals.len())?;
        self.portals.insert(portal.to_vec(), Portal { order, formats, rows: None });
        Ok(())
    }

    /// The target of a Describe: its command, and the formats if it is a portal.
    pub(super) fn describe(&self, body: &[u8]) -> Result<(Option<&Order>, Option<&[u16]>), Fault> {
        match describe_target(body).map_err(malformed)? {
            (b'S', name) => {
                let order = self.prepared.get(name).ok_or_else(no_statement)?;
                Ok((order.as_ref(), None))
            }
            (_, name) => {
                let portal = self.portals.get(name).ok_or_else(no_portal)?;
                Ok((portal.order.as_ref(), Some(&portal.formats)))
            }
        }
    }

    /// Close.
    pub(super) fn close(&mut self, body: &[u8]) -> Result<(), Fault> {
        match describe_target(body).map_err(malformed)? {
            (b'S', name) => drop(self.prepared.remove(name)),
            (_, name) => drop(self.portals.remove(name)),
        }
        Ok(())
    }

    /// The target of an Execute, and the most rows to send; zero: all.
    pub(super) fn execute(&mut self, body: &[u8]) -> Result<(&mut Portal, usize), Fault> {
        let (name, mut rest) = split_cstr(body).map_err(malformed)?;
        if rest.len() != 4 {
            return Err(malformed(Malformed::Body));
        }
        let most = usize::try_from(rest.get_i32()).unwrap_or(0);
        Ok((self.portals.get_mut(name).ok_or_else(no_portal)?, most))
    }

    /// Portals end with their transaction: at Sync.
    pub(super) fn sync(&mut self) {
        self.portals.clear();
    }
}

/// What stands behind the names of a Bind: parameter formats, parameters (there must be none),
/// result formats.
fn formats(mut rest: &[u8]) -> Result<Vec<u16>, Fault> {
    numbers(&mut rest)?;
    if rest.try_get_u16().map_err(|_| malformed(Malformed::Body))? != 0 {
        let text = "a command of the console takes no parameters";
        return Err(Fault::new(Blame::Client, SqlState::PROTOCOL_VIOLATION, text));
    }
    let formats = numbers(&mut rest)?;
    if rest.is_empty() { Ok(formats) } else { Err(malformed(Malformed::Body)) }
}

/// A counted list of 16-bit numbers. Bounded by the message it stands in.
fn numbers(rest: &mut &[u8]) -> Result<Vec<u16>, Fault> {
    let short = |_| malformed(Malformed::Body);
    let count = rest.try_get_u16().map_err(short)?;
    (0..count).map(|_| rest.try_get_u16().map_err(short)).collect()
}

fn bounded(count: usize) -> Result<(), Fault> {
    if count < NAMES_MAX {
        return Ok(());
    }
    let text = "too many statements or portals";
    Err(Fault::new(Blame::Client, SqlState::PROGRAM_LIMIT_EXCEEDED, text))
}

pub(super) fn malformed(why: Malformed) -> Fault {
    Fault::new(Blame::Client, SqlState::PROTOCOL_VIOLATION, why.to_string())
}

fn no_statement() -> Fault {
    let text = "there is no such prepared statement";
    Fault::new(Blame::Client, SqlState::UNDEFINED_STATEMENT, text)
}

fn no_portal() -> Fault {
    Fault::new(Blame::Client, SqlState::UNDEFINED_CURSOR, "there is no such portal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_through_its_messages() {
        let mut statements = Statements::default();
        statements.parse(b"s\0show version;\0\0\0").expect("known");
        let bind = Bytes::from_static(b"\0s\0\0\0\0\0\0\x01\0\x01");
        statements.bind(&bind).expect("there");
        let (order, formats) = statements.describe(b"P\0").expect("there");
        assert_eq!(order.expect("a command").command.words, "SHOW VERSION");
        assert_eq!(formats, Some(&[1][..]));
        let (portal, most) = statements.execute(b"\0\0\0\0\x05").expect("there");
        assert!(portal.rows.is_none());
        assert_eq!(most, 5);
        statements.sync();
        let gone = statements.execute(b"\0\0\0\0\0").err().expect("gone");
        assert_eq!(gone.state(), SqlState::UNDEFINED_CURSOR);
        statements.close(b"Ss\0").expect("fine");
        let gone = statements.bind(&bind).expect_err("gone");
        assert_eq!(gone.state(), SqlState::UNDEFINED_STATEMENT);
    }

    #[test]
    fn what_is_cut_short_or_too_much_is_refused() {
        let mut statements = Statements::default();
        statements.parse(b"\0show version\0\0\0").expect("known");
        for body in [&b"\0\0"[..], b"\0\0\0\x05", b"\0\0\0\0\0\0\xff\xff", b"\0\0\0\0\0\x01\0\0"] {
            let fault = statements.bind(&Bytes::copy_from_slice(body)).expect_err("malformed");
            assert_eq!(fault.state(), SqlState::PROTOCOL_VIOLATION, "{body:?}");
        }
        for n in 0..200_u8 {
            let _ = statements.parse(&[n.max(1), 0, 0, 0, 0]);
        }
        assert_eq!(statements.prepared.len(), NAMES_MAX);
    }
}
