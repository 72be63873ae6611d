//! The name in a SET or RESET, followed token by token.

use super::key::{Key, Known};
use super::target::Span;

/// No longer setting name is kept, and no more of them.
pub(super) const NAME_BYTES_MAX: usize = 128;
pub(super) const NAMES_MAX: usize = 16;

/// What PostgreSQL reads a text by: where its names are looked up, and what its literals become. An
/// untyped literal is a constant from then on, `'2024-01-01 00:00'` an instant of that time zone.
pub const PARSED_BY: [&str; 13] = [
    "search_path",
    "role",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "client_encoding",
    "standard_conforming_strings",
    "transform_null_equals",
    "xmloption",
    "lc_monetary",
    "array_nulls",
    "timezone_abbreviations",
    // Constants are made text of when a plan is made.
    "extra_float_digits",
];

/// Whether a text is read by this setting, or by who the session is, which `"$user"` in a
/// `search_path` stands for.
pub(super) fn is_parsed_by(name: &[u8]) -> bool {
    let is = |one: &str| name.eq_ignore_ascii_case(one.as_bytes());
    PARSED_BY.iter().any(|one| is(one)) || is("session_authorization")
}

/// The same of the first word behind SET LOCAL: SESSION AUTHORIZATION, TIME ZONE, …
pub(super) fn may_be_parsed_by(word: &[u8]) -> bool {
    let is = |one: &str| word.eq_ignore_ascii_case(one.as_bytes());
    is_parsed_by(word) || ["session", "time", "schema", "names", "xml"].into_iter().any(is)
}

/// Whether to set it is `setseed`. For the transaction alone it is the same: what `random()` goes on
/// with does not come back. No view shows it.
pub(super) fn is_seed(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"seed")
}

/// Where in the name we are.
#[derive(Debug, Default)]
pub(super) struct Setting {
    step: Step,
    /// The only part so far, where it is an unquoted word: it may be a word of the syntax.
    head: Key,
    pub(super) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Done,
    First,
    AfterPart,
    AfterDot,
}

/// What to do with the word at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Nothing: the name is complete.
    Nothing,
    /// It begins the name.
    Begin,
    /// The word before was LOCAL, and this one begins the name.
    BeginLocal,
    /// It goes on with the name.
    Append,
    /// The name is complete.
    Complete,
    /// The name is complete, and it is this setting.
    Alias(&'static str),
    /// Only for the transaction, and without a name.
    Transaction,
}

impl Setting {
    /// SET or RESET was read.
    pub(super) fn begin(&mut self) {
        *self = Self { step: Step::First, head: Key::Other, span: Span::default() };
    }

    /// Takes a word.
    pub(super) fn word(&mut self, key: Key, span: Span) -> Take {
        match self.step {
            Step::Done => Take::Nothing,
            Step::First => self.first(key, span, Take::Begin),
            Step::AfterDot => {
                self.step = Step::AfterPart;
                self.head = Key::Other;
                self.span = self.span.to(span);
                Take::Append
            }
            Step::AfterPart => self.second(key, span),
        }
    }

    /// Takes any other token, or the end of the statement (`None`).
    pub(super) fn symbol(&mut self, symbol: Option<u8>) -> Take {
        if self.step != Step::AfterPart {
            self.step = Step::Done;
            return Take::Nothing;
        }
        if symbol == Some(b'.') {
            self.step = Step::AfterDot;
            return Take::Nothing;
        }
        self.step = Step::Done;
        if symbol == Some(b'=') {
            return Take::Complete;
        }
        alias(self.head).map_or(Take::Complete, Take::Alias)
    }

    /// Whether the name is the bare word ALL.
    pub(super) fn is_all(&self) -> bool {
        self.head.is(Known::All)
    }

    fn first(&mut self, key: Key, span: Span, take: Take) -> Take {
        self.step = Step::AfterPart;
        self.head = key;
        self.span = span;
        take
    }

    fn second(&mut self, key: Key, span: Span) -> Take {
        let (Key::Word(head), to_or_from) =
            (self.head, matches!(key, Key::Word(Known::To | Known::From)))
        else {
            self.step = Step::Done;
            return Take::Complete;
        };
        if to_or_from {
            self.step = Step::Done;
            return Take::Complete;
        }
        let whole = self.span.to(span);
        let take = match (head, key) {
            (Known::Local, _) => return self.first(key, span, Take::BeginLocal),
            (Known::Session, Key::Word(Known::Characteristics)) => {
                Take::Alias("session characteristics")
            }
            (Known::Session, Key::Word(Known::Authorization)) => {
                Take::Alias("session_authorization")
            }
            (Known::Session, _) => return self.first(key, span, Take::Begin),
            (Known::Time, Key::Word(Known::Zone)) => Take::Alias("timezone"),
            (Known::Xml, Key::Word(Known::Option)) => Take::Alias("xmloption"),
            (Known::Transaction | Known::Constraints, _) => Take::Transaction,
            _ => alias(self.head).map_or(Take::Complete, Take::Alias),
        };
        if matches!(head, Known::Session | Known::Time | Known::Xml) {
            self.span = whole;
        }
        self.step = Step::Done;
        take
    }
}

/// The setting behind a word that is followed by its value without `=` or TO.
fn alias(head: Key) -> Option<&'static str> {
    match head {
        Key::Word(Known::Names) => Some("client_encoding"),
        Key::Word(Known::Schema) => Some("search_path"),
        _ => None,
    }
}
