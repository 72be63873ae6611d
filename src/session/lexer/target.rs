//! The name a statement is about.

/// What a SET, EXECUTE, DEALLOCATE, LISTEN, … of a single statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name as PostgreSQL reads it: folded to lower case unless quoted, quotes undone, cut
    /// at 63 bytes a part. Settings with a syntax of their own come by the setting's name:
    /// `SET TIME ZONE` is `timezone`. Empty for [`TargetKind::All`].
    pub name: String,
    /// A name, or all of them.
    pub kind: TargetKind,
    /// The first byte of the name as written, quotes included, counted from the first byte fed.
    pub start: u32,
    /// The bytes of the name as written.
    pub len: u32,
}

/// Whether a [`Target`] is one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// One name.
    Name,
    /// ALL or `*`.
    All,
}

/// Where a token stands in the text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Span {
    /// From the start of this one to the end of `last`.
    pub(super) fn to(self, last: Self) -> Self {
        let end = last.start.saturating_add(last.len);
        Self { start: self.start, len: end.saturating_sub(self.start) }
    }
}
