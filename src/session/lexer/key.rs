//! The words this room knows, found without allocation and whatever their case.

/// A known word, or what else stands where a word could.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Key {
    /// Any other token.
    #[default]
    Other,
    /// A dot: the word after it is a name, whatever it spells.
    Dot,
    /// A word of the table.
    Word(Known),
}

/// No known word is longer.
const BYTES_MAX: usize = 16;

/// Lower case in every byte; letters, digits and `_` stay apart under it.
const FOLD: u128 = u128::from_le_bytes([0x20; BYTES_MAX]);

const fn fold(text: &str) -> u128 {
    let bytes = text.as_bytes();
    let mut padded = [0; BYTES_MAX];
    let mut at = 0;
    while at < bytes.len() {
        padded[at] = bytes[at];
        at += 1;
    }
    u128::from_le_bytes(padded) | FOLD
}

/// For each first letter, the lengths at which there are known words.
const fn lengths(texts: &[&str]) -> [u32; 32] {
    let mut table = [0; 32];
    let mut at = 0;
    while at < texts.len() {
        let bytes = texts[at].as_bytes();
        table[(bytes[0] & 31) as usize] |= 1 << bytes.len();
        at += 1;
    }
    table
}

macro_rules! known {
    ($($name:ident = $text:literal,)*) => {
        /// The words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Known { $($name,)* }

        #[expect(non_upper_case_globals, reason = "named after the variants they stand for")]
        mod folded {
            $(pub(super) const $name: u128 = super::fold($text);)*
        }

        const LENGTHS: [u32; 32] = lengths(&[$($text,)*]);

        fn look_up(folded: u128) -> Key {
            match folded {
                $(folded::$name => Key::Word(Known::$name),)*
                _ => Key::Other,
            }
        }

        #[cfg(test)]
        pub(super) const ALL: &[(&str, Known)] = &[$(($text, Known::$name),)*];
    };
}

known! {
    Abort = "abort", All = "all", Alter = "alter", Analyse = "analyse", Analyze = "analyze",
    As = "as", Atomic = "atomic", Authorization = "authorization", Begin = "begin",
    Call = "call", Case = "case", Characteristics = "characteristics",
    Checkpoint = "checkpoint", Close = "close", Cluster = "cluster", Comment = "comment",
    Commit = "commit", Concurrently = "concurrently", Constraints = "constraints",
    Copy = "copy", Create = "create", Currval = "currval", Database = "database",
    DblinkConnect = "dblink_connect", DblinkConnectU = "dblink_connect_u",
    DblinkOpen = "dblink_open", Deallocate = "deallocate", Declare = "declare",
    Delete = "delete", Discard = "discard", Do = "do", Drop = "drop", Else = "else",
    End = "end", Execute = "execute", Explain = "explain", Fetch = "fetch", From = "from",
    Function = "function", Global = "global", Grant = "grant", Hold = "hold",
    Import = "import", Insert = "insert", Into = "into", Lastval = "lastval",
    Listen = "listen", Load = "load", Local = "local", Lock = "lock", Loop = "loop",
    Merge = "merge", Move = "move", Names = "names", Nextval = "nextval", Notify = "notify",
    Option = "option", Or = "or", PgNotify = "pg_notify", Prepare = "prepare",
    Prepared = "prepared", Procedure = "procedure", Reassign = "reassign",
    Refresh = "refresh", Reindex = "reindex", Release = "release", Replace = "replace",
    Reset = "reset", Revoke = "revoke", Rollback = "rollback",
    Savepoint = "savepoint", Schema = "schema", Security = "security", Select = "select",
    Session = "session", Set = "set", SetConfig = "set_config", Setseed = "setseed",
    Setval = "setval", Show = "show", Start = "start", Subscription = "subscription",
    System = "system", Table = "table", Tablespace = "tablespace", Temp = "temp",
    Temporary = "temporary", Then = "then", Time = "time", To = "to",
    Transaction = "transaction", True = "true", Truncate = "truncate",
    Uescape = "uescape", Unlisten = "unlisten", Update = "update", Vacuum = "vacuum",
    Values = "values", Verbose = "verbose", With = "with", Work = "work", Xml = "xml",
    Zone = "zone",
}

impl Key {
    /// The known word that `word` spells.
    pub(super) fn of(word: &[u8]) -> Self {
        let len = word.len();
        let Some(&first) = word.first() else { return Self::Other };
        if len > BYTES_MAX || LENGTHS[usize::from(first & 31)] >> len & 1 == 0 {
            return Self::Other;
        }
        let mut padded = [0; BYTES_MAX];
        padded[..len].copy_from_slice(word);
        look_up(u128::from_le_bytes(padded) | FOLD)
    }

    /// Whether this is the word `known`.
    pub(super) fn is(self, known: Known) -> bool {
        self == Self::Word(known)
    }
}
