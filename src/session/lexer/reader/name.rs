//! The names a statement sets, and the one it is about.

use super::{Reader, Step, Token};
use crate::session::lexer::call::{Event, Verdict};
use crate::session::lexer::key::{Key, Known};
use crate::session::lexer::setting::{NAME_BYTES_MAX, NAMES_MAX, Take, is_parsed_by, is_seed};
use crate::session::lexer::target::Span;
use crate::session::lexer::{Hints, Target, TargetKind, Verb};

/// What only few texts need.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) settings: Vec<String>,
    /// Of the statement at hand.
    pub(super) target: Option<Target>,
    /// Of the first statement, or of the last one about what is prepared.
    pub(super) kept: Option<(Target, Verb)>,
    /// How many of them are about what is prepared.
    pub(super) prepared: u32,
    /// The name in SET.
    pub(super) name: Vec<u8>,
    /// The name in `set_config`.
    pub(super) capture: Vec<u8>,
}

impl Reader {
    pub(super) fn take(&mut self, take: Take, token: Option<Token<'_>>) {
        match take {
            Take::Nothing => {}
            Take::Begin | Take::BeginLocal | Take::Append => {
                if take == Take::BeginLocal {
                    self.own = self.own.without(Hints::SET) | Hints::SET_LOCAL;
                }
                if let Some(token) = token {
                    self.name_part(take == Take::Append, token);
                }
            }
            Take::Transaction => {
                self.own = self.own.without(Hints::SET) | Hints::SET_LOCAL;
                self.step = Step::Idle;
            }
            Take::Complete if self.setting.is_all() && self.verb == Verb::Reset => {
                self.aim_all(self.setting.span);
            }
            Take::Complete => {
                let name = std::mem::take(&mut self.notes().name);
                if self.own.contains(Hints::SET) && name.contains(&b'.') {
                    self.note_setting(&name);
                }
                self.sets(&name);
                self.aim_at(&name, self.setting.span);
                self.notes().name = name;
            }
            Take::Alias(name) => {
                self.sets(name.as_bytes());
                self.aim_at(name.as_bytes(), self.setting.span);
            }
        }
    }

    /// What is to be said of a setting however long it is set for.
    fn sets(&mut self, name: &[u8]) {
        if is_parsed_by(name) && !(self.own | self.latent).contains(Hints::SET) {
            self.add(Hints::READ_BY);
        }
        if is_seed(name) {
            self.add(Hints::SETSEED);
        }
    }

    fn name_part(&mut self, append: bool, token: Token<'_>) {
        let name = &mut self.notes().name;
        if append {
            name.push(b'.');
        } else {
            name.clear();
        }
        let part = name.len();
        name.extend_from_slice(token.text);
        if !token.quoted {
            name[part..].make_ascii_lowercase();
        }
        if name.len() > NAME_BYTES_MAX {
            name.truncate(NAME_BYTES_MAX);
            self.lose_name();
        }
    }

    /// What is set has a name that is not known: whatever asks for settings by their names will not
    /// find it.
    fn lose_name(&mut self) {
        self.own |= Hints::UNSURE | Hints::COMPUTED;
    }

    /// An identifier is written with escapes, and not read.
    pub(in crate::session::lexer) fn miss_identifier(&mut self) {
        if self.own.contains(Hints::SET) { self.lose_name() } else { self.doubt() }
    }

    /// Keeps a dotted setting's name.
    pub(super) fn note_setting(&mut self, name: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else { return self.lose_name() };
        let name = name.to_ascii_lowercase();
        let settings = &mut self.notes().settings;
        if settings.contains(&name) {
            return;
        }
        if settings.len() < NAMES_MAX {
            settings.push(name);
        } else {
            self.lose_name();
        }
    }

    pub(super) fn aim(&mut self, key: Key, token: Token<'_>) {
        if key.is(Known::All) {
            return self.aim_all(token.span);
        }
        if token.quoted {
            self.aim_at(token.text, token.span);
        } else {
            self.aim_at(&token.text.to_ascii_lowercase(), token.span);
        }
    }

    fn aim_at(&mut self, name: &[u8], span: Span) {
        self.step = Step::Idle;
        let Ok(name) = std::str::from_utf8(name) else { return self.doubt() };
        let Span { start, len } = span;
        let target = Target { name: name.to_owned(), kind: TargetKind::Name, start, len };
        self.notes().target = Some(target);
    }

    pub(super) fn aim_all(&mut self, span: Span) {
        self.step = Step::Idle;
        if self.verb == Verb::Discard {
            self.add(Hints::NO_BLOCK);
        }
        let Span { start, len } = span;
        let target = Target { name: String::new(), kind: TargetKind::All, start, len };
        self.notes().target = Some(target);
    }

    pub(super) fn forget_target(&mut self) {
        self.notes().target = None;
    }

    /// The statement is over: keeps its target if it may be the text's.
    pub(super) fn keep_target(&mut self) {
        let (first, verb) = (self.statements == 0, self.verb);
        let prepared = self.own.intersects(Hints::EXECUTE | Hints::DEALLOCATE);
        let Some(notes) = &mut self.notes else { return };
        let Some(target) = notes.target.take() else { return };
        if prepared {
            notes.prepared = notes.prepared.saturating_add(1);
        }
        if prepared || first {
            notes.kept = Some((target, verb));
        }
    }

    /// The text's target, and the word that has it.
    pub(super) fn kept_target(notes: &mut Notes, single: bool) -> Option<(Target, Verb)> {
        let prepared = std::mem::take(&mut notes.prepared);
        notes.kept.take().filter(|_| single || prepared == 1)
    }

    pub(super) fn called(&mut self, event: Event) {
        if !self.call.is_open() {
            return;
        }
        if let Some(verdict) = self.call.token(event, self.paren) {
            self.settle(verdict);
        }
    }

    /// A call of `set_config` is understood, or given up.
    pub(super) fn settle(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Local { known: false } => self.add(Hints::SET_LOCAL | Hints::READ_BY),
            Verdict::Local { known: true } => {
                self.add(Hints::SET_LOCAL);
                let name = std::mem::take(&mut self.notes().capture);
                self.sets(&name);
                self.notes().capture = name;
            }
            Verdict::Session { known: false } => {
                self.add(Hints::SET | Hints::UNSURE | Hints::COMPUTED);
            }
            Verdict::Session { known: true } => {
                self.add(Hints::SET);
                let name = std::mem::take(&mut self.notes().capture);
                self.sets(&name);
                if name.contains(&b'.') {
                    self.note_setting(&name);
                }
                self.notes().capture = name;
            }
        }
    }
}
