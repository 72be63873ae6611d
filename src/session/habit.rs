//! Whether a session asks for what its sequences gave it.

/// What a session's servers are put aside for it by.
///
/// `currval` and `lastval` tell what the session itself was given, so an INSERT and the question
/// behind it have to meet the same server, and nobody else may come in between. Most sessions never
/// ask. So a server is put aside for a moment after the first statements of a session that may have
/// advanced a sequence, and after all of them once it has asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habit {
    asks: bool,
    unasked: u8,
}

/// After so many statements that were not followed by a question none is expected.
const UNASKED_MAX: u8 = 2;

impl Habit {
    /// The session named `currval` or `lastval`.
    pub(super) fn asked(&mut self) {
        self.asks = true;
    }

    /// The session may have advanced a sequence. Whether its server is put aside for it.
    pub(super) fn advanced(&mut self) -> bool {
        self.unasked = self.unasked.saturating_add(1);
        self.asks || self.unasked <= UNASKED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_does_not_ask_is_not_waited_for() {
        let mut habit = Habit::default();
        assert_eq!([(); 4].map(|()| habit.advanced()), [true, true, false, false]);
        habit.asked();
        assert_eq!([(); 3].map(|()| habit.advanced()), [true; 3]);
    }
}
