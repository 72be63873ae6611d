//! Zero-terminated strings inside a message body.

use super::Malformed;

/// Splits the first zero-terminated string off `bytes`.
///
/// # Errors
/// [`Malformed::Body`] when no terminator lies within `bytes`.
pub fn split_cstr(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let end = bytes.iter().position(|b| *b == 0).ok_or(Malformed::Body)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

/// The name/value pairs of a body that ends with an empty name, such as a startup packet's.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Checks the whole body at once: pairs of terminated strings, then one zero as the last byte.
    ///
    /// # Errors
    /// [`Malformed::Body`] for anything else, trailing bytes included.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = body;
        loop {
            let (name, after) = split_cstr(rest)?;
            if name.is_empty() {
                return if after.is_empty() { Ok(Self(body)) } else { Err(Malformed::Body) };
            }
            rest = split_cstr(after)?.1;
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, after) = split_cstr(self.0).ok()?;
        if name.is_empty() {
            return None;
        }
        let (value, rest) = split_cstr(after).ok()?;
        self.0 = rest;
        Some((name, value))
    }
}
