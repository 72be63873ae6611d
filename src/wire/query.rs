//! What pgusher reads of the extended query messages: the names at their front.

use super::{Malformed, split_cstr};

/// A name and what follows it in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// The statement's or portal's name; empty for the unnamed one.
    pub name: &'a [u8],
    /// The body behind the name and its terminator.
    pub rest: &'a [u8],
}

/// The statement name of a Parse, and its query text and parameter types as `rest`.
///
/// # Errors
/// [`Malformed::Body`] when the name has no end within `body`.
pub fn parse_name(body: &[u8]) -> Result<Named<'_>, Malformed> {
    let (name, rest) = split_cstr(body)?;
    Ok(Named { name, rest })
}

/// The portal name of a Bind, and its statement name.
///
/// # Errors
/// [`Malformed::Body`] when a name has no end within `body`.
pub fn bind_names(body: &[u8]) -> Result<(&[u8], Named<'_>), Malformed> {
    let (portal, after) = split_cstr(body)?;
    Ok((portal, parse_name(after)?))
}

/// The portal of an Execute.
///
/// # Errors
/// [`Malformed::Body`] when its name does not end before the limit of rows.
pub fn execute_portal(body: &[u8]) -> Result<&[u8], Malformed> {
    let (portal, rest) = split_cstr(body)?;
    if rest.len() == 4 { Ok(portal) } else { Err(Malformed::Body) }
}

/// The target of a Describe or Close: `S` (statement) or `P` (portal), and its name.
///
/// # Errors
/// [`Malformed::Body`] when the kind is neither or the name does not end the body.
pub fn describe_target(body: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let (&kind, after) = body.split_first().ok_or(Malformed::Body)?;
    let (name, rest) = split_cstr(after)?;
    if matches!(kind, b'S' | b'P') && rest.is_empty() {
        Ok((kind, name))
    } else {
        Err(Malformed::Body)
    }
}
