//! Quoted code, read word by word.
//!
//! The body of a DO or of a function may be SQL, PL/pgSQL or anything else, with statements
//! quoted inside it once more. So quotes here are only places where a statement may begin, and a
//! word counts by itself (`set_config`) or where a statement may begin (`SET`).

use super::Hints;
use super::dotted::Dotted;
use super::key::{Key, Known};
use super::setting::{is_seed, may_be_parsed_by};
use super::word::{Word, clip};

/// The hints that `text`, the source of a function, names; IN_BODY is set with any.
pub fn body_hints(text: &[u8]) -> Hints {
    body_settings(text).0
}

/// As [`body_hints`], and the dotted settings that the source may set.
pub fn body_settings(text: &[u8]) -> (Hints, Vec<String>) {
    let (mut body, mut word) = (Body::default(), Word::default());
    let hints = body.text(text, &mut word);
    let (last, names) = body.end(&mut word);
    let hints = (hints | last).with_settings_written();
    (if hints.is_empty() { hints } else { hints | Hints::IN_BODY }, names)
}

/// Where the reading of a body stands.
#[derive(Debug)]
pub(super) struct Body {
    /// A statement may begin here.
    start: bool,
    /// SET was read; whether it is LOCAL is still open.
    set: bool,
    next: Next,
    prev: Key,
    skip: Skip,
    name: Name,
    dotted: Dotted,
}

/// What the next word may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Any,
    /// What SET LOCAL sets.
    Local,
    /// What `set_config` sets.
    Quoted,
}

/// Where the name in a call of `set_config` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Elsewhere,
    /// Behind a parenthesis that comes next.
    Ahead,
    /// Here, unless it is computed.
    Here,
}

/// Comments: words in them do not move what is before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    None,
    Dash,
    Line,
    Slash,
    Block,
    Star,
}

impl Default for Body {
    fn default() -> Self {
        Self {
            start: true,
            set: false,
            next: Next::Any,
            prev: Key::Other,
            skip: Skip::None,
            name: Name::Elsewhere,
            dotted: Dotted::default(),
        }
    }
}

impl Body {
    /// Reads on. `word` carries a word that `bytes` cuts; it is empty before the first call.
    pub(super) fn text(&mut self, bytes: &[u8], word: &mut Word) -> Hints {
        let mut hints = Hints::NONE;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let run = rest.iter().position(|&b| !is_letter(b)).unwrap_or(rest.len());
            if run == rest.len() {
                word.push(rest);
                return hints;
            }
            if run > 0 && word.is_empty() {
                hints |= self.word(clip(&rest[..run]));
            } else if !word.is_empty() {
                word.push(&rest[..run]);
                hints |= self.flush(word);
            }
            hints |= self.symbol(rest[run]);
            at += run + 1;
        }
        hints
    }

    /// The body is over. Gives the dotted settings it may set, too.
    pub(super) fn end(&mut self, word: &mut Word) -> (Hints, Vec<String>) {
        let hints = self.flush(word) | self.settle(false);
        let (names, all) = self.dotted.take();
        *self = Self::default();
        (if all { hints } else { hints | Hints::DYNAMIC }, names)
    }

    fn flush(&mut self, word: &mut Word) -> Hints {
        if word.is_empty() {
            return Hints::NONE;
        }
        let hints = self.word(word.name());
        word.clear();
        hints
    }

    fn word(&mut self, text: &[u8]) -> Hints {
        let key = Key::of(text);
        let mut hints = named(key, text);
        if key.is(Known::Update) {
            hints |= Hints::WRITE;
        }
        match self.skip {
            Skip::None => {}
            Skip::Dash | Skip::Slash => self.skip = Skip::None,
            Skip::Star => {
                self.skip = Skip::Block;
                return hints;
            }
            Skip::Line | Skip::Block => return hints,
        }
        let after_set = matches!(self.prev, Key::Word(Known::Reset | Known::Session));
        self.dotted.word(text, self.set || after_set);
        if is_seed(text) && (self.set || after_set || self.next != Next::Any) {
            hints |= Hints::SETSEED;
        }
        if self.next == Next::Local && may_be_parsed_by(text) {
            hints |= Hints::READ_BY;
        }
        let local = self.set && key.is(Known::Local);
        self.next = if local { Next::Local } else { Next::Any };
        hints |= self.calls(key.is(Known::SetConfig));
        let Key::Word(known) = key else {
            hints |= self.settle(false);
            self.start = false;
            self.prev = key;
            return hints;
        };
        hints |=
            self.settle(matches!(known, Known::Local | Known::Transaction | Known::Constraints));
        if self.start {
            self.set = known == Known::Set;
            hints |= statement(known);
        }
        hints |= match known {
            Known::Temp | Known::Temporary if self.makes() => Hints::TEMP,
            Known::Hold if self.prev.is(Known::With) => Hints::HOLD,
            // `EXECUTE FUNCTION` of a trigger is one too many, and rare in a body.
            Known::Execute => RUNS_TEXT,
            _ => Hints::NONE,
        };
        self.start = matches!(known, Known::Begin | Known::Then | Known::Else | Known::Loop);
        self.prev = key;
        hints
    }

    fn symbol(&mut self, symbol: u8) -> Hints {
        match (self.skip, symbol) {
            (Skip::Line, b'\n' | b'\r') | (Skip::Star, b'/') => self.skip = Skip::None,
            (Skip::Block | Skip::Star, b'*') => self.skip = Skip::Star,
            (Skip::Star, _) | (Skip::Slash, b'*') => self.skip = Skip::Block,
            (Skip::Line | Skip::Block, _) => {}
            (Skip::Dash, b'-') => self.skip = Skip::Line,
            (_, b'-') => self.skip = Skip::Dash,
            (_, b'/') => self.skip = Skip::Slash,
            (_, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C) => self.skip = Skip::None,
            _ => {
                self.skip = Skip::None;
                self.start = matches!(symbol, b';' | b'\'' | b'"' | b'$' | b'>' | b'{');
                self.prev = Key::Other;
                // A quote inside a quote is doubled.
                if self.next == Next::Quoted && symbol != b'\'' {
                    self.next = Next::Any;
                }
                self.dotted.symbol(symbol, self.set);
                let computed =
                    if self.set && symbol != b'"' { Hints::DYNAMIC } else { Hints::NONE };
                return computed | self.called(symbol) | self.settle(false);
            }
        }
        if self.skip == Skip::None {
            self.dotted.symbol(b' ', false);
        }
        Hints::NONE
    }

    /// A word: the name in a call of `set_config` is not a literal then.
    fn calls(&mut self, set_config: bool) -> Hints {
        let next = if set_config { Name::Ahead } else { Name::Elsewhere };
        match std::mem::replace(&mut self.name, next) {
            Name::Here => Hints::DYNAMIC,
            Name::Ahead | Name::Elsewhere => Hints::NONE,
        }
    }

    /// A symbol, which may begin the name in a call of `set_config`.
    fn called(&mut self, symbol: u8) -> Hints {
        match (self.name, symbol) {
            (Name::Elsewhere, _) | (Name::Ahead, b'"') => Hints::NONE,
            (Name::Ahead, b'(') => {
                self.name = Name::Here;
                Hints::NONE
            }
            (Name::Here, b'\'') => {
                (self.name, self.next) = (Name::Elsewhere, Next::Quoted);
                Hints::NONE
            }
            (Name::Ahead, _) => {
                self.name = Name::Elsewhere;
                Hints::NONE
            }
            (Name::Here, _) => {
                self.name = Name::Elsewhere;
                Hints::DYNAMIC
            }
        }
    }

    /// Decides an open SET.
    fn settle(&mut self, local: bool) -> Hints {
        match (std::mem::take(&mut self.set), local) {
            (false, _) => Hints::NONE,
            (true, false) => Hints::SET,
            (true, true) => Hints::SET_LOCAL,
        }
    }

    /// Whether the word before makes TEMP a kind of table and not a name.
    fn makes(&self) -> bool {
        matches!(
            self.prev,
            Key::Word(Known::Create | Known::Into | Known::Local | Known::Global | Known::Replace)
        )
    }
}

/// What a word says where a statement may begin. Transactions are left out: a body does not
/// change which of them the session is in without ReadyForQuery saying so.
fn statement(known: Known) -> Hints {
    match known {
        Known::Reset => Hints::SET,
        Known::Prepare => Hints::PREPARE,
        Known::Deallocate => Hints::DEALLOCATE,
        Known::Listen => Hints::LISTEN,
        Known::Unlisten => Hints::UNLISTEN,
        Known::Notify => Hints::NOTIFY,
        Known::Load => Hints::LOAD,
        Known::Discard => Hints::DISCARD,
        Known::Drop => Hints::DROP,
        Known::Call => Hints::CALL,
        _ => Hints::NONE,
    }
}

/// A text that is only known when it runs may set anything that what follows is read by.
const RUNS_TEXT: Hints = Hints::DYNAMIC.or(Hints::READ_BY);

/// What a word says wherever it stands, also quoted.
pub(super) fn named(key: Key, text: &[u8]) -> Hints {
    match key {
        Key::Word(known) => match known {
            Known::SetConfig => Hints::SET,
            Known::Currval | Known::Lastval => Hints::SEQ_READ,
            Known::Nextval | Known::Setval => Hints::SEQ_NEXT,
            Known::Setseed => Hints::SETSEED,
            Known::PgNotify => Hints::NOTIFY,
            Known::Connectby
            | Known::Crosstab
            | Known::DatabaseToXml
            | Known::QueryToXml
            | Known::SchemaToXml
            | Known::TableToXml
            | Known::TsRewrite
            | Known::TsStat
            | Known::XpathTable => RUNS_TEXT,
            Known::DblinkConnect | Known::DblinkConnectU | Known::DblinkOpen => {
                Hints::SESSION_FUNCTION
            }
            _ => Hints::NONE,
        },
        _ if text.eq_ignore_ascii_case(SET_LIMIT) => Hints::SET,
        _ if text.len() >= ADVISORY_BYTES_MIN || text.first().is_some_and(|b| b | 0x20 == b'p') => {
            long(text)
        }
        _ => Hints::NONE,
    }
}

/// It sets `pg_trgm.similarity_threshold`.
const SET_LIMIT: &[u8] = b"set_limit";
const PG_TEMP: &[u8] = b"pg_temp";
/// The view, and the function behind it.
const PREPARED: &[u8] = b"pg_prepared_statement";
/// The longer kind of functions that turn what a text names into XML.
const AND_SCHEMA: &[u8] = b"_to_xml_and_xmlschema";
/// `pg_advisory_lock` is the shortest of its kind.
const ADVISORY_BYTES_MIN: usize = 16;
const ADVISORY: &[u8] = b"advisory_";
const XACT: &[u8] = b"xact_";

fn long(text: &[u8]) -> Hints {
    if starts_with(text, PG_TEMP) {
        return Hints::TEMP;
    }
    if starts_with(text, PREPARED) {
        return Hints::LISTS;
    }
    if text.eq_ignore_ascii_case(b"pg_settings") {
        return Hints::SETTINGS;
    }
    if text.len() < ADVISORY_BYTES_MIN {
        return Hints::NONE;
    }
    if ends_with(text, AND_SCHEMA) || starts_with(text, b"crosstab_hash") {
        return RUNS_TEXT;
    }
    let advisory = text.windows(ADVISORY.len()).enumerate().any(|(at, window)| {
        window[0] | 0x20 == b'a'
            && window.eq_ignore_ascii_case(ADVISORY)
            && (ends_with(&text[..at], b"pg_") || ends_with(&text[..at], b"pg_try_"))
            && !starts_with(&text[at + ADVISORY.len()..], XACT)
    });
    if advisory {
        return Hints::ADVISORY;
    }
    let slot = starts_with(text, b"pg_c") && ends_with(text, b"_replication_slot");
    if slot || text.eq_ignore_ascii_case(b"pg_replication_origin_session_setup") {
        return Hints::SESSION_FUNCTION;
    }
    Hints::NONE
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|have| have.eq_ignore_ascii_case(start))
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    let from = text.len().checked_sub(end.len());
    from.is_some_and(|from| text[from..].eq_ignore_ascii_case(end))
}

fn is_letter(b: u8) -> bool {
    // Not `$`: inside a body it may end a quote.
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}
