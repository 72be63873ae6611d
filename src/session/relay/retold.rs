//! Errors as the client is to read them: by its own names, and by the limit that is behind them.

use super::downstream::Listener;
use super::ends::{CHANGED, too_many_statements};
use super::exchange::Behind;
use super::statement_messages::NOTHING;
use crate::session::statements::ClientStatements;
use crate::wire::{ErrorFields, HEADER_BYTES, Writer};

/// The error's body in other words, if it takes others. `missed` is the name of what was to be
/// closed in vain.
pub(super) fn retold(
    body: &[u8],
    fields: &ErrorFields<'_>,
    missed: Option<Box<[u8]>>,
    with: &Listener<'_>,
) -> Option<Vec<u8>> {
    match with.exchange.behind() {
        Behind::TooLong if fields.code == Some(b"26000") => {
            let mut told = Writer::new();
            told.error("ERROR", &too_many_statements());
            return told.bytes().get(HEADER_BYTES..).map(<[u8]>::to_vec);
        }
        Behind::Changed if fields.code == Some(b"26000") => return Some(CHANGED.to_vec()),
        _ => {}
    }
    original_name(body, missed, with.client)
}

/// An error that names one of our statements is told with the name the client gave it.
fn original_name(
    body: &[u8],
    missed: Option<Box<[u8]>>,
    client: &ClientStatements,
) -> Option<Vec<u8>> {
    const PREFIX: &[u8] = b"pgusher_";
    const NAME_BYTES: usize = 40;
    if let Some(name) = missed
        && let Some(at) = body.windows(NOTHING.len()).position(|w| w == NOTHING)
    {
        return Some([&body[..at], &name, &body[at + NOTHING.len()..]].concat());
    }
    if client.len() == 0 {
        return None;
    }
    let at = body.windows(PREFIX.len()).position(|w| w == PREFIX)?;
    let server_name = body.get(at..at + NAME_BYTES)?;
    let name = client.name_of(server_name)?;
    Some([&body[..at], name, &body[at + NAME_BYTES..]].concat())
}
