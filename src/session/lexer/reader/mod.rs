//! Tokens to hints.
//!
//! Not a parser: it splits statements, looks at how each begins, and at the few words that say
//! something wherever they stand. What PostgreSQL would refuse to parse may be read as anything:
//! a text with a syntax error runs not at all.

mod follow;
mod name;

use name::Notes;

use super::body::{Body, named};
use super::call::{Call, Event};
use super::key::{Key, Known};
use super::setting::{NAME_BYTES_MAX, Setting};
use super::target::Span;
use super::word::Word;
use super::{Facts, Hints, Verb};

/// Reads one text.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing seen in the text")]
pub(super) struct Reader {
    hints: Hints,
    /// Of these, what more than bodies of CREATE FUNCTION name.
    done: Hints,
    /// Of the statement at hand, still open to second thoughts.
    own: Hints,
    /// What the body of the CREATE FUNCTION at hand names.
    latent: Hints,
    runs: bool,
    statements: u32,
    paren: u32,
    /// How many END the body of BEGIN ATOMIC still needs.
    atomic: u32,
    first: Verb,
    verb: Verb,
    step: Step,
    prev: Key,
    prev2: Key,
    interest: Interest,
    /// The statement has a token.
    begun: bool,
    /// It is CREATE FUNCTION: its literals are code.
    code: bool,
    /// BEGIN ATOMIC had its END: nothing may follow.
    sealed: bool,
    /// It is CREATE TEMP.
    temp: bool,
    body: Body,
    setting: Setting,
    call: Call,
    notes: Option<Box<Notes>>,
}

/// What the next word of the statement would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Idle,
    /// The target.
    Name,
    /// The target, maybe after one more word, which may be the target itself.
    NameAfter(Known),
    /// A literal here makes it PREPARE TRANSACTION.
    PrepareTransaction,
    /// WORK, PREPARED, TO, …
    TransactionEnd,
    /// An option, or the statement explained.
    Explain,
    AlterDatabase,
    Setting,
}

/// Why a literal is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Interest {
    /// It is not.
    #[default]
    Nothing,
    /// For what it names: it is code.
    Body,
    /// For `pg_temp`: it is a search path.
    Path,
    /// To keep: it is a setting's name.
    Name,
}

/// A word as it stands in the text.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) text: &'a [u8],
    pub(super) quoted: bool,
    pub(super) span: Span,
}

impl Reader {
    pub(super) fn interest(&self) -> Interest {
        self.interest
    }

    /// Something cannot be read, or not surely.
    pub(super) fn doubt(&mut self) {
        self.own |= Hints::UNSURE;
    }

    /// The word at hand is known to stand for something.
    pub(super) fn mark(&mut self, hints: Hints) {
        let into = if self.code { &mut self.latent } else { &mut self.own };
        *into |= hints;
    }

    /// An identifier or a keyword.
    pub(super) fn word(&mut self, token: Token<'_>) {
        let known = Key::of(token.text);
        if known == Key::Other && self.idles() {
            // Most words: nobody waits for them, and they mean nothing but by their spelling.
            self.add(named(known, token.text));
            if self.verb == Verb::Do && !is_read(token.text) {
                self.add(Hints::FOREIGN | Hints::READ_BY);
            }
            self.prev2 = self.prev;
            self.prev = known;
            return;
        }
        let key = if token.quoted || self.prev == Key::Dot { Key::Other } else { known };
        if self.verb == Verb::None {
            self.begin(key);
        } else {
            self.follow(key, token);
        }
        self.called(Event::Word(key));
        if known.is(Known::SetConfig) {
            if self.call.is_open() {
                let verdict = self.call.end();
                self.settle(verdict);
            }
            self.call.begin();
        } else {
            self.add(named(known, token.text) | writes(known));
        }
        self.prev2 = self.prev;
        self.prev = key;
    }

    /// A character that is no part of a word or a literal.
    pub(super) fn symbol(&mut self, symbol: u8, start: u32) {
        if symbol == b';' && self.paren == 0 && self.atomic == 0 {
            return self.end_statement();
        }
        if !self.begun && symbol == b'(' {
            self.begun = true;
        }
        self.lead();
        if symbol == b'(' {
            self.paren = self.paren.saturating_add(1);
        }
        match self.step {
            Step::Setting => {
                let take = self.setting.symbol(Some(symbol));
                self.take(take, None);
            }
            Step::Name if symbol == b'*' => self.aim_all(Span { start, len: 1 }),
            Step::Name => self.step = Step::Idle,
            _ => {}
        }
        self.called(Event::Symbol(symbol));
        if symbol == b')' {
            self.paren = self.paren.saturating_sub(1);
        }
        self.prev2 = self.prev;
        self.prev = if symbol == b'.' { Key::Dot } else { Key::Other };
    }

    /// A number or a parameter.
    pub(super) fn other(&mut self) {
        self.lead();
        self.plain(Event::Other);
    }

    /// A literal begins.
    pub(super) fn literal(&mut self) {
        self.lead();
        if self.step == Step::PrepareTransaction {
            self.own = self.own.without(Hints::PREPARE) | Hints::TWO_PHASE | Hints::NO_BLOCK;
            self.step = Step::Idle;
            self.forget_target();
        }
        self.interest = if self.call.wants_name() {
            self.notes().capture.clear();
            Interest::Name
        } else if self.verb == Verb::Do || self.code {
            self.body = Body::default();
            Interest::Body
        } else if self.call.is_open() || self.verb == Verb::Set {
            self.body = Body::default();
            Interest::Path
        } else {
            Interest::Nothing
        };
        self.plain(Event::Literal);
    }

    /// More of the literal's text, escapes undone.
    pub(super) fn literal_text(&mut self, text: &[u8], word: &mut Word) {
        match self.interest {
            Interest::Nothing => {}
            Interest::Body => {
                let hints = self.body.text(text, word);
                self.add_body(hints);
            }
            Interest::Path => {
                let hints = self.body.text(text, word);
                self.add_path(hints);
            }
            Interest::Name => {
                let capture = &mut self.notes().capture;
                let room = NAME_BYTES_MAX - capture.len();
                capture.extend_from_slice(&text[..text.len().min(room)]);
                if text.len() > room {
                    self.call.blur();
                }
            }
        }
    }

    /// An escape in the literal that stands for something not worked out here.
    pub(super) fn literal_doubt(&mut self) {
        match self.interest {
            Interest::Nothing => {}
            Interest::Name => self.call.blur(),
            Interest::Body | Interest::Path => self.doubt(),
        }
    }

    /// The literal is over.
    pub(super) fn literal_end(&mut self, word: &mut Word) {
        match self.interest {
            Interest::Nothing | Interest::Name => {}
            Interest::Body => {
                let (hints, names) = self.body.end(word);
                self.add_body(hints);
                if !self.code {
                    for name in &names {
                        self.note_setting(name.as_bytes());
                    }
                }
            }
            Interest::Path => {
                let (hints, _) = self.body.end(word);
                self.add_path(hints);
            }
        }
        self.interest = Interest::Nothing;
    }

    /// The text is over. The reader is as new afterwards.
    pub(super) fn finish(&mut self) -> Facts {
        if self.atomic > 0 || self.paren > 0 {
            self.doubt();
        }
        self.end_statement();
        // Doubt may come before any token.
        let hints = self.hints | self.own;
        let single = self.statements == 1;
        let mut facts = Facts {
            hints,
            latent: hints.without(self.done | self.own),
            runs: self.runs,
            settings: Vec::new(),
            statements: self.statements,
            first: self.first,
            single,
            target: None,
            aim: Verb::None,
        };
        let mut notes = self.notes.take();
        if let Some(notes) = &mut notes {
            facts.settings = std::mem::take(&mut notes.settings);
            if let Some((target, verb)) = Self::kept_target(notes, single) {
                (facts.target, facts.aim) = (Some(target), verb);
            }
        }
        *self = Self { notes, ..Self::default() };
        facts
    }

    /// Forgets the text.
    pub(super) fn reset(&mut self) {
        let notes = self.notes.take().map(|mut notes| {
            notes.settings.clear();
            (notes.target, notes.kept, notes.prepared) = (None, None, 0);
            notes
        });
        *self = Self { notes, ..Self::default() };
    }

    /// Whether no word is awaited.
    fn idles(&self) -> bool {
        self.step == Step::Idle && self.verb != Verb::None && !self.call.is_open() && !self.sealed
    }

    /// A statement that begins with neither a word nor a parenthesis.
    fn lead(&mut self) {
        if self.sealed {
            self.doubt();
        }
        if self.begun {
            return;
        }
        self.begun = true;
        self.verb = Verb::Other;
        if self.statements == 0 {
            self.first = Verb::Other;
        }
        self.doubt();
    }

    /// A token that is neither a word nor a symbol.
    fn plain(&mut self, event: Event) {
        match self.step {
            Step::Setting => {
                let take = self.setting.symbol(None);
                self.take(take, None);
            }
            Step::Name => self.step = Step::Idle,
            _ => {}
        }
        self.called(event);
        self.prev2 = self.prev;
        self.prev = Key::Other;
    }

    fn add(&mut self, hints: Hints) {
        if self.atomic > 0 {
            self.add_body(hints);
        } else {
            self.own |= hints;
        }
    }

    fn add_body(&mut self, hints: Hints) {
        if !hints.is_empty() {
            let into = if self.code { &mut self.latent } else { &mut self.own };
            *into |= hints | Hints::IN_BODY;
        }
    }

    fn add_path(&mut self, hints: Hints) {
        if hints.contains(Hints::TEMP) {
            self.add(Hints::TEMP);
        }
    }

    fn end_statement(&mut self) {
        if self.step == Step::Setting {
            let take = self.setting.symbol(None);
            self.take(take, None);
        }
        if self.call.is_open() {
            let verdict = self.call.end();
            self.settle(verdict);
        }
        self.keep_target();
        if self.begun {
            self.statements = self.statements.saturating_add(1);
            self.runs |= !self.code && !self.verb.is_inert();
        }
        if matches!(self.verb, Verb::Create | Verb::Alter | Verb::Drop) && !self.temp {
            self.own |= Hints::DDL;
        }
        self.own = self.own.with_settings_written();
        self.latent = self.latent.with_settings_written();
        self.done |= self.own;
        self.hints |= self.own | self.latent;
        (self.own, self.latent) = (Hints::NONE, Hints::NONE);
        self.verb = Verb::None;
        self.step = Step::Idle;
        self.prev = Key::Other;
        self.prev2 = Key::Other;
        (self.begun, self.code, self.sealed, self.temp) = (false, false, false, false);
    }

    fn notes(&mut self) -> &mut Notes {
        self.notes.get_or_insert_default()
    }
}

/// What a word says of a statement, also where it stands in the middle, behind WITH.
fn writes(key: Key) -> Hints {
    match key {
        Key::Word(Known::Insert | Known::Update | Known::Delete | Known::Merge) => Hints::WRITE,
        _ => Hints::NONE,
    }
}

/// Whether a word of DO says nothing, or names a language whose code is read here.
fn is_read(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"language") || text.eq_ignore_ascii_case(b"plpgsql")
}
