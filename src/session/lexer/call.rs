//! A call of `set_config(name, value, is_local)`, followed token by token.

use super::key::{Key, Known};

/// Where in the call we are.
#[derive(Debug, Default)]
pub(super) struct Call {
    step: Step,
    /// The name is not a plain literal.
    unknown: bool,
    /// The parentheses open inside the call.
    paren: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Idle,
    Named,
    Name,
    AfterName,
    Value,
    IsLocal,
    True,
}

/// A token, as far as a call cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Word(Key),
    Symbol(u8),
    Literal,
    Other,
}

/// What a finished call turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `is_local` is the word `true`; the rest as below.
    Local {
        /// The first argument was one plain literal.
        known: bool,
    },
    /// It is not, or may not be; and whether the captured name is the name.
    Session {
        /// The first argument was one plain literal.
        known: bool,
    },
}

impl Call {
    /// `set_config` was read.
    pub(super) fn begin(&mut self) {
        *self = Self { step: Step::Named, unknown: false, paren: 0 };
    }

    pub(super) fn is_open(&self) -> bool {
        self.step != Step::Idle
    }

    /// Whether a literal here is the setting's name.
    pub(super) fn wants_name(&self) -> bool {
        self.step == Step::Name
    }

    /// The captured name is not the whole name.
    pub(super) fn blur(&mut self) {
        self.unknown = true;
    }

    /// Gives the call up.
    pub(super) fn end(&mut self) -> Verdict {
        let known = !self.unknown && self.step as u8 > Step::Name as u8;
        self.step = Step::Idle;
        Verdict::Session { known }
    }

    /// Takes the next token; `paren` counts the parentheses it stands in, its own included.
    pub(super) fn token(&mut self, event: Event, paren: u32) -> Option<Verdict> {
        let own = paren == self.paren;
        let (comma, close) = (Event::Symbol(b','), Event::Symbol(b')'));
        match (self.step, event) {
            (Step::Idle, _) => return None,
            (Step::Named, Event::Symbol(b'(')) => {
                self.paren = paren;
                self.step = Step::Name;
            }
            (Step::Name, Event::Literal) => self.step = Step::AfterName,
            (Step::AfterName, _) if own && event == comma => self.step = Step::Value,
            (Step::AfterName | Step::Value, _) if own && event == close => {
                return Some(self.end());
            }
            (Step::AfterName, Event::Symbol(b':') | Event::Word(_)) => {}
            (Step::Name | Step::AfterName, _) => {
                self.step = Step::AfterName;
                self.unknown = true;
            }
            (Step::Value, _) if own && event == comma => self.step = Step::IsLocal,
            (Step::Value, _) => {}
            (Step::IsLocal, Event::Word(Key::Word(Known::True))) => self.step = Step::True,
            (Step::True, _) if own && event == close => {
                self.step = Step::Idle;
                return Some(Verdict::Local { known: !self.unknown });
            }
            (Step::Named | Step::IsLocal | Step::True, _) => return Some(self.end()),
        }
        None
    }
}
