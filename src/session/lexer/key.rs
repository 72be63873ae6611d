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

/// Chosen so that no two words share a slot; the table does not compile otherwise.
const SPREAD: u64 = 0xE0C5_4510_9842_EB81;
const SLOT_BITS: u32 = 9;
const SLOTS: usize = 1 << SLOT_BITS;

/// Where `folded` is, if it is a known word.
#[expect(clippy::cast_possible_truncation, reason = "the halves, and then the top bits")]
const fn slot(folded: u128) -> usize {
    let (low, high) = (folded as u64, (folded >> 64) as u64);
    ((low ^ high.rotate_left(5)).wrapping_mul(SPREAD) >> (u64::BITS - SLOT_BITS)) as usize
}

const fn table(words: &[(&str, Known)]) -> [(u128, Key); SLOTS] {
    let mut table = [(0, Key::Other); SLOTS];
    let mut at = 0;
    while at < words.len() {
        let folded = fold(words[at].0);
        let slot = slot(folded);
        assert!(table[slot].0 == 0, "two words in one slot: choose another SPREAD");
        table[slot] = (folded, Key::Word(words[at].1));
        at += 1;
    }
    table
}

static TABLE: [(u128, Key); SLOTS] = table(ALL);

/// The first bytes of `word`, if it is no longer than a known word may be.
fn load(word: &[u8]) -> Option<u128> {
    let len = word.len();
    // Two loads that overlap, by far cheaper than a copy of unknown length.
    let (first, last, apart) = if len > BYTES_MAX {
        return None;
    } else if let (Some(first), Some(last)) = (word.first_chunk::<8>(), word.last_chunk::<8>()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last), len - 8)
    } else if let (Some(first), Some(last)) = (word.first_chunk::<4>(), word.last_chunk::<4>()) {
        (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into(), len - 4)
    } else if let (Some(first), Some(last)) = (word.first_chunk::<2>(), word.last_chunk::<2>()) {
        (u16::from_le_bytes(*first).into(), u16::from_le_bytes(*last).into(), len - 2)
    } else {
        return None;
    };
    Some(u128::from(first) | u128::from(last) << (8 * apart))
}

macro_rules! known {
    ($($name:ident = $text:literal,)*) => {
        /// The words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Known { $($name,)* }

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
    // Functions that run the text they are given, or show the table it names.
    Connectby = "connectby", Crosstab = "crosstab", DatabaseToXml = "database_to_xml",
    QueryToXml = "query_to_xml", SchemaToXml = "schema_to_xml", TableToXml = "table_to_xml",
    TsRewrite = "ts_rewrite", TsStat = "ts_stat", XpathTable = "xpath_table",
}

impl Key {
    /// The known word that `word` spells.
    pub(super) fn of(word: &[u8]) -> Self {
        let Some(folded) = load(word).map(|bytes| bytes | FOLD) else { return Self::Other };
        let (known, key) = TABLE[slot(folded)];
        if known == folded { key } else { Self::Other }
    }

    /// Whether this is the word `known`.
    pub(super) fn is(self, known: Known) -> bool {
        self == Self::Word(known)
    }
}
