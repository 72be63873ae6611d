//! The things a statement's text may name, as a set.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of hints: each says that the text names such a thing, not that it happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hints(u64);

macro_rules! hints {
    ($($(#[$doc:meta])* $name:ident = $bit:literal,)*) => {
        impl Hints {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every hint with its name, lowest bit first.
            pub const NAMES: &'static [(Self, &'static str)] =
                &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

hints! {
    /// SET or RESET that outlives the transaction, also of role, session authorization and
    /// session characteristics; `set_config` unless its third argument is plainly `true`.
    SET = 0,
    /// SET LOCAL, SET TRANSACTION, SET CONSTRAINTS, `set_config(…, true)`.
    SET_LOCAL = 1,
    /// PREPARE.
    PREPARE = 2,
    /// EXECUTE of a prepared statement, also under EXPLAIN and CREATE TABLE AS.
    EXECUTE = 3,
    /// DEALLOCATE.
    DEALLOCATE = 4,
    /// LISTEN.
    LISTEN = 5,
    /// UNLISTEN.
    UNLISTEN = 6,
    /// NOTIFY or `pg_notify`: no state stays.
    NOTIFY = 7,
    /// CREATE TEMP, INTO TEMP, or the schema `pg_temp`.
    TEMP = 8,
    /// A session-level advisory lock function, the unlocking ones too.
    ADVISORY = 9,
    /// WITH HOLD.
    HOLD = 10,
    /// DECLARE.
    CURSOR = 11,
    /// CLOSE.
    CLOSE = 12,
    /// LOAD.
    LOAD = 13,
    /// DISCARD.
    DISCARD = 14,
    /// DO.
    DO = 15,
    /// CALL.
    CALL = 16,
    /// `currval` or `lastval`.
    SEQ_READ = 17,
    /// `nextval` or `setval`: what `currval` would read. Columns with a serial or an identity do
    /// the same unnamed.
    SEQ_NEXT = 18,
    /// `setseed`.
    SETSEED = 19,
    /// DROP.
    DROP = 20,
    /// CREATE FUNCTION or PROCEDURE.
    CREATE_FUNCTION = 21,
    /// BEGIN or START TRANSACTION.
    BEGIN = 22,
    /// COMMIT or END.
    COMMIT = 23,
    /// ROLLBACK or ABORT, of the whole transaction.
    ROLLBACK = 24,
    /// SAVEPOINT.
    SAVEPOINT = 25,
    /// RELEASE.
    RELEASE = 26,
    /// ROLLBACK TO.
    ROLLBACK_TO = 27,
    /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED: no state stays.
    TWO_PHASE = 28,
    /// COPY.
    COPY = 29,
    /// LOCK.
    LOCK = 30,
    /// A statement that PostgreSQL refuses, or may refuse, inside a transaction block.
    NO_BLOCK = 31,
    /// A function that ties something else to its session: a dblink connection, a replication
    /// origin, a replication slot that may be temporary.
    SESSION_FUNCTION = 32,
    /// EXECUTE inside a body, or a setting whose name is put together there: what is only known when
    /// it runs.
    DYNAMIC = 33,
    /// At least one other hint comes from a quoted or SQL-standard body.
    IN_BODY = 34,
    /// The text was not fully read: something unterminated, an unknown statement, a name that
    /// is escaped, computed, too long, or one too many.
    UNSURE = 35,
    /// A name of [`Words`](super::Words) that stands for what names such a thing.
    ROUTINE = 36,
    /// A name of [`Words`](super::Words) that stands for what nobody can read.
    FOREIGN = 37,
    /// The name of a setting that is only known when it is set: `set_config($1, …)`.
    COMPUTED = 38,
    /// INSERT, UPDATE, DELETE or MERGE, wherever the word stands: a default or a trigger may advance
    /// a sequence.
    WRITE = 39,
    /// The view of what is prepared, or the function behind it.
    LISTS = 40,
    /// A name of [`Words`](super::Words) that stands for what may advance a sequence.
    ADVANCER = 41,
    /// The view `pg_settings`. Who writes to it sets what it names.
    SETTINGS = 42,
    /// What changes, or may, a setting that texts are read by, be it for the transaction alone: what
    /// is prepared behind it is shared with nobody.
    READ_BY = 43,
    /// CREATE, ALTER or DROP, but for what is plainly made temporary: what others see changes.
    DDL = 44,
}

impl Hints {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// What may leave state in the session, or read such state.
    pub const STATE: Self = Self(
        Self::SET.0
            | Self::PREPARE.0
            | Self::EXECUTE.0
            | Self::DEALLOCATE.0
            | Self::LISTEN.0
            | Self::UNLISTEN.0
            | Self::TEMP.0
            | Self::ADVISORY.0
            | Self::HOLD.0
            | Self::LOAD.0
            | Self::DISCARD.0
            | Self::DO.0
            | Self::CALL.0
            | Self::SEQ_READ.0
            | Self::SETSEED.0
            | Self::SESSION_FUNCTION.0
            | Self::DYNAMIC.0
            | Self::UNSURE.0
            | Self::ROUTINE.0
            | Self::FOREIGN.0
            | Self::COMPUTED.0,
    );

    /// What may advance a sequence.
    pub const ADVANCES: Self = Self(
        Self::SEQ_NEXT.0
            | Self::ADVANCER.0
            | Self::WRITE.0
            | Self::COPY.0
            | Self::DO.0
            | Self::CALL.0
            | Self::EXECUTE.0
            | Self::DYNAMIC.0
            | Self::FOREIGN.0
            | Self::UNSURE.0,
    );

    /// What may do anything, as far as a text tells.
    pub const OBSCURE: Self = Self(
        Self::EXECUTE.0 | Self::DYNAMIC.0 | Self::ROUTINE.0 | Self::FOREIGN.0 | Self::UNSURE.0,
    );

    /// What ties something to the server's process that no catalog lists and no command undoes: a
    /// connection of dblink's, the seed of `random()`.
    pub const TYING: Self = Self(Self::SESSION_FUNCTION.0 | Self::SETSEED.0);

    /// These and `other`, where `|` is not to be had.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of these.
    pub const fn of(all: &[Self]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < all.len() {
            set |= all[at].0;
            at += 1;
        }
        Self(set)
    }

    /// The hints that both sets have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These, and SET where a statement that names all of these writes to `pg_settings`.
    #[must_use]
    pub const fn with_settings_written(self) -> Self {
        let written = self.contains(Self::SETTINGS.or(Self::WRITE));
        if written { self.or(Self::SET) } else { self }
    }

    /// Whether no hint is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every hint of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any hint of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The set less the hints of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The set as a number, for a log line or a metric, or to be kept.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set that [`Hints::bits`] gave.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl BitOr for Hints {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Hints {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        f.write_str("{")?;
        for (hint, name) in Self::NAMES {
            if self.contains(*hint) {
                write!(f, "{between}{name}")?;
                between = " ";
            }
        }
        f.write_str("}")
    }
}
