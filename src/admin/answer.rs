//! Rows and their columns.

/// A column's type: the console needs no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// PgBouncer's `i`.
    Int4,
    /// PgBouncer's `q`.
    Int8,
}

impl Kind {
    /// The type's OID in `pg_type`.
    pub(super) fn oid(self) -> u32 {
        match self {
            Self::Text => 25,
            Self::Int4 => 23,
            Self::Int8 => 20,
        }
    }

    /// Its size in bytes; negative when it varies.
    pub(super) fn size(self) -> i16 {
        match self {
            Self::Text => -1,
            Self::Int4 => 4,
            Self::Int8 => 8,
        }
    }
}

/// A column's name and type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

pub(super) const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

pub(super) const fn int4(name: &'static str) -> Column {
    Column { name, kind: Kind::Int4 }
}

pub(super) const fn int8(name: &'static str) -> Column {
    Column { name, kind: Kind::Int8 }
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Text(String),
    Number(i64),
}

pub(super) type Row = Vec<Cell>;

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Cell {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u128> for Cell {
    fn from(number: u128) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

/// 0 or 1, as PgBouncer has it.
impl From<bool> for Cell {
    fn from(is: bool) -> Self {
        Self::Number(is.into())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of values of different types.
macro_rules! row {
    ($($cell:expr),* $(,)?) => { vec![$($crate::admin::answer::Cell::from($cell)),*] };
}

pub(super) use row;
