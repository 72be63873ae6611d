//! What kind of statement it is, by its first word.

use super::Hints;
use super::key::{Key, Known};

macro_rules! verbs {
    ($($name:ident),* $(,)?) => {
        /// The first word of a statement.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum Verb {
            /// There was no word: an empty text.
            #[default]
            None,
            /// A word that begins no statement known here, or no word at all.
            Other,
            $(
                #[doc = concat!("The statement ", stringify!($name), ".")]
                $name,
            )*
        }

        impl Verb {
            /// The verb that `key` is.
            pub(super) fn of(key: Key) -> Self {
                match key {
                    $(Key::Word(Known::$name) => Self::$name,)*
                    // The one verb with two spellings.
                    Key::Word(Known::Analyse) => Self::Analyze,
                    _ => Self::Other,
                }
            }
        }
    };
}

verbs! {
    Abort, Alter, Analyze, Begin, Call, Checkpoint, Close, Cluster, Comment, Commit, Copy, Create,
    Deallocate, Declare, Delete, Discard, Do, Drop, End, Execute, Explain, Fetch, Grant, Import,
    Insert, Listen, Load, Lock, Merge, Move, Notify, Prepare, Reassign, Refresh, Reindex, Release,
    Reset, Revoke, Rollback, Savepoint, Security, Select, Set, Show, Start, Table, Truncate,
    Unlisten, Update, Vacuum, Values, With,
}

impl Verb {
    /// Whether such a statement runs no code of the tenant's, whatever the tenant has made.
    pub(super) fn is_inert(self) -> bool {
        // What ends a transaction runs its deferred triggers, but those of statements before it.
        let transaction =
            Hints::BEGIN | Hints::COMMIT | Hints::ROLLBACK | Hints::SAVEPOINT | Hints::RELEASE;
        self.hints().intersects(transaction)
            || matches!(self, Self::None | Self::Grant | Self::Revoke | Self::Comment)
    }

    /// What the first word alone says.
    pub(super) fn hints(self) -> Hints {
        match self {
            Self::Set | Self::Reset => Hints::SET,
            Self::Prepare => Hints::PREPARE,
            Self::Execute => Hints::EXECUTE,
            Self::Deallocate => Hints::DEALLOCATE,
            Self::Listen => Hints::LISTEN,
            Self::Unlisten => Hints::UNLISTEN,
            Self::Notify => Hints::NOTIFY,
            Self::Declare => Hints::CURSOR,
            Self::Close => Hints::CLOSE,
            Self::Load => Hints::LOAD,
            Self::Discard => Hints::DISCARD,
            Self::Do => Hints::DO,
            Self::Call => Hints::CALL,
            Self::Drop => Hints::DROP,
            Self::Begin | Self::Start => Hints::BEGIN,
            Self::Commit | Self::End => Hints::COMMIT,
            Self::Rollback | Self::Abort => Hints::ROLLBACK,
            Self::Savepoint => Hints::SAVEPOINT,
            Self::Release => Hints::RELEASE,
            Self::Copy => Hints::COPY,
            Self::Lock => Hints::LOCK,
            Self::Vacuum | Self::Cluster => Hints::NO_BLOCK,
            Self::Other => Hints::UNSURE,
            _ => Hints::NONE,
        }
    }
}
