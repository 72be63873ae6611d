//! What the words of a statement say by their order.

use super::{Reader, Step, Token};
use crate::session::lexer::key::{Key, Known};
use crate::session::lexer::{Hints, Verb};

impl Reader {
    /// The first word of a statement.
    pub(super) fn begin(&mut self, key: Key) {
        self.begun = true;
        self.verb = Verb::of(key);
        if self.statements == 0 {
            self.first = self.verb;
        }
        self.own |= self.verb.hints();
        self.step = match self.verb {
            Verb::Execute | Verb::Listen | Verb::Unlisten | Verb::Notify | Verb::Declare => {
                Step::Name
            }
            Verb::Close | Verb::Discard | Verb::Savepoint => Step::Name,
            Verb::Deallocate => Step::NameAfter(Known::Prepare),
            Verb::Release => Step::NameAfter(Known::Savepoint),
            Verb::Prepare => Step::NameAfter(Known::Transaction),
            Verb::Commit | Verb::End | Verb::Rollback | Verb::Abort => Step::TransactionEnd,
            Verb::Explain => Step::Explain,
            Verb::Set | Verb::Reset => {
                self.setting.begin();
                Step::Setting
            }
            _ => Step::Idle,
        };
    }

    /// A later word of a statement.
    pub(super) fn follow(&mut self, key: Key, token: Token<'_>) {
        if self.sealed {
            self.doubt();
        }
        match self.step {
            Step::Idle => {}
            Step::Name => self.aim(key, token),
            Step::NameAfter(known) => {
                self.aim(key, token);
                if key.is(known) {
                    // It may be the name itself; then no other follows.
                    self.step = match known {
                        Known::Transaction => Step::PrepareTransaction,
                        _ => Step::Name,
                    };
                }
            }
            Step::PrepareTransaction => self.step = Step::Idle,
            Step::TransactionEnd => self.transaction_end(key),
            Step::Explain => self.explained(key),
            Step::AlterDatabase => {
                if key.is(Known::Tablespace) && self.prev.is(Known::Set) {
                    self.add(Hints::NO_BLOCK);
                }
            }
            Step::Setting => {
                let take = self.setting.word(key, token.span);
                self.take(take, Some(token));
            }
        }
        if let Key::Word(known) = key {
            self.pair(known);
        }
    }

    /// Words that say something by what stands before them.
    fn pair(&mut self, known: Known) {
        let ddl = matches!(self.verb, Verb::Create | Verb::Alter | Verb::Drop | Verb::Reindex);
        match known {
            Known::Temp | Known::Temporary if self.makes() => {
                self.add(Hints::TEMP);
                self.temp |= self.verb == Verb::Create;
            }
            Known::Hold if self.prev.is(Known::With) => self.add(Hints::HOLD),
            Known::Function | Known::Procedure
                if self.verb == Verb::Create
                    && (self.prev.is(Known::Create) || self.prev.is(Known::Replace)) =>
            {
                self.code = true;
                self.add(Hints::CREATE_FUNCTION);
            }
            Known::Atomic if self.code && self.prev.is(Known::Begin) => self.atomic = 1,
            // After AS it is a column's label.
            Known::Case if self.atomic > 0 && !self.prev.is(Known::As) => {
                self.atomic = self.atomic.saturating_add(1);
            }
            Known::End if self.atomic > 0 && !self.prev.is(Known::As) => {
                self.atomic -= 1;
                self.sealed = self.atomic == 0;
            }
            Known::Execute if self.verb == Verb::Create && self.prev.is(Known::As) => {
                self.add(Hints::EXECUTE);
                self.step = Step::Name;
            }
            Known::Concurrently if ddl => self.add(Hints::NO_BLOCK),
            Known::Database | Known::System | Known::Schema if self.verb == Verb::Reindex => {
                self.add(Hints::NO_BLOCK);
            }
            Known::Database | Known::System | Known::Tablespace | Known::Subscription if ddl => {
                self.pair_cluster_wide(known);
            }
            Known::Uescape => self.doubt(),
            _ => {}
        }
    }

    /// CREATE, DROP and ALTER of what no transaction block may hold.
    fn pair_cluster_wide(&mut self, known: Known) {
        match (self.prev, known) {
            (Key::Word(Known::Create | Known::Drop), _)
            | (Key::Word(Known::Alter), Known::System | Known::Subscription) => {
                self.add(Hints::NO_BLOCK);
            }
            (Key::Word(Known::Alter), Known::Database) => self.step = Step::AlterDatabase,
            _ => {}
        }
    }

    /// Whether the words before make TEMP a kind of table and not a name.
    fn makes(&self) -> bool {
        match (self.prev2, self.prev) {
            (Key::Word(Known::Insert | Known::Merge), Key::Word(Known::Into)) => false,
            (_, Key::Word(Known::Create | Known::Into))
            | (Key::Word(Known::Or), Key::Word(Known::Replace))
            | (
                Key::Word(Known::Create | Known::Into | Known::Replace),
                Key::Word(Known::Local | Known::Global),
            ) => true,
            _ => false,
        }
    }

    fn transaction_end(&mut self, key: Key) {
        match key {
            Key::Word(Known::Work | Known::Transaction) => {}
            Key::Word(Known::Prepared) => {
                let ends = Hints::COMMIT | Hints::ROLLBACK;
                self.own = self.own.without(ends) | Hints::TWO_PHASE | Hints::NO_BLOCK;
                self.step = Step::Idle;
            }
            Key::Word(Known::To) => {
                self.own = self.own.without(Hints::ROLLBACK) | Hints::ROLLBACK_TO;
                self.step = Step::NameAfter(Known::Savepoint);
            }
            _ => self.step = Step::Idle,
        }
    }

    fn explained(&mut self, key: Key) {
        let option = matches!(key, Key::Word(Known::Analyze | Known::Analyse | Known::Verbose));
        if self.paren > 0 || option {
            return;
        }
        self.verb = Verb::of(key);
        self.step = match self.verb {
            Verb::Execute | Verb::Declare => {
                self.own |= self.verb.hints();
                Step::Name
            }
            _ => Step::Idle,
        };
    }
}
