//! Why a lease outlives its transaction.

use std::fmt;

/// The reason of a pin. A lease may be pinned for several reasons at once and is let go only when
/// the last is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pin {
    /// The session runs in session mode.
    Session,
    /// A temporary table, view or sequence.
    TempTable,
    /// A session-level advisory lock.
    AdvisoryLock,
    /// LISTEN.
    Listen,
    /// A cursor WITH HOLD.
    HoldCursor,
    /// PREPARE in SQL.
    Prepare,
    /// LOAD of a library.
    Load,
    /// `currval` or `lastval`.
    Sequence,
    /// A setting that cannot be replayed.
    Setting,
    /// A function or DO block whose text names session state.
    Function,
    /// A statement that could not be read for certain.
    Unsure,
}

impl Pin {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Session,
        Self::TempTable,
        Self::AdvisoryLock,
        Self::Listen,
        Self::HoldCursor,
        Self::Prepare,
        Self::Load,
        Self::Sequence,
        Self::Setting,
        Self::Function,
        Self::Unsure,
    ];

    /// The metric label, and the word in `SHOW PINS`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::TempTable => "temp_table",
            Self::AdvisoryLock => "advisory_lock",
            Self::Listen => "listen",
            Self::HoldCursor => "hold_cursor",
            Self::Prepare => "prepare",
            Self::Load => "load",
            Self::Sequence => "sequence",
            Self::Setting => "setting",
            Self::Function => "function",
            Self::Unsure => "unsure",
        }
    }

    /// A small dense number, for arrays by reason.
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|p| *p == self).unwrap_or(0)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reasons one lease is pinned for. Empty: not pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pins(u16);

impl Pins {
    /// Only `pin`.
    pub fn only(pin: Pin) -> Self {
        Self(1 << pin.index())
    }

    /// Whether there is no reason.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `pin` is among the reasons.
    pub fn has(self, pin: Pin) -> bool {
        self.0 & (1 << pin.index()) != 0
    }

    /// These and `pin`.
    #[must_use]
    pub fn with(self, pin: Pin) -> Self {
        Self(self.0 | (1 << pin.index()))
    }

    /// These without `pin`.
    #[must_use]
    pub fn without(self, pin: Pin) -> Self {
        Self(self.0 & !(1 << pin.index()))
    }

    /// The reasons, one by one.
    pub fn iter(self) -> impl Iterator<Item = Pin> {
        Pin::ALL.into_iter().filter(move |p| self.has(*p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_a_set() {
        let mut pins = Pins::default();
        for pin in Pin::ALL {
            pins = pins.with(pin).with(pin);
        }
        assert_eq!(pins.iter().collect::<Vec<_>>(), Pin::ALL);
        for pin in Pin::ALL {
            pins = pins.without(pin);
            assert!(!pins.has(pin));
        }
        assert!(pins.is_empty());
    }
}
