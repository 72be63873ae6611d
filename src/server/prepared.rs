//! Prepared statements: by content, so that clients who prepare the same text share it.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use super::settings::quote_identifier;

/// Two independent keyed hashes make an id nobody can collide on purpose.
static HASHES: LazyLock<(RandomState, RandomState)> =
    LazyLock::new(|| (RandomState::new(), RandomState::new()));

/// The content of a prepared statement as 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId(u64, u64);

impl StatementId {
    /// The name servers know it by: a prefix and 32 hexadecimal digits.
    pub fn server_name(self) -> [u8; 40] {
        let mut name = *b"pgusher_00000000000000000000000000000000";
        for (word, at) in [(self.0, 8), (self.1, 24)] {
            for (digit, slot) in name[at..at + 16].iter_mut().enumerate() {
                let nibble = (word >> (60 - 4 * digit)) & 0xf;
                *slot = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or(0)];
            }
        }
        name
    }
}

/// A statement as a client prepared it.
#[derive(Debug)]
pub struct Prepared {
    /// By content and by what it was read under.
    pub id: StatementId,
    /// What it was read under: see [`Prepared::new`].
    pub salt: u64,
    /// The body of its Parse behind the name: query text, zero, parameter types.
    pub body: Box<[u8]>,
    /// What whoever read its text noted of it. Nothing here goes by it.
    pub notes: u64,
    /// What else it is about.
    pub subject: Option<Subject>,
}

/// The other statement that the text of one is about, under a name that servers know.
#[derive(Debug, Clone)]
pub enum Subject {
    /// It executes one.
    Executes(Executes),
    /// It closes the one that its client calls this.
    Closes(Box<[u8]>),
}

/// What an EXECUTE is about.
#[derive(Debug, Clone)]
pub struct Executes {
    /// The client's name of the statement.
    pub name: Box<str>,
    /// Where a name of it stands in the body of the Parse.
    pub at: Range<usize>,
    /// The statement of that name when it was last looked up, which stands there by the name servers
    /// know.
    pub other: Option<Arc<Prepared>>,
}

impl Executes {
    /// The same EXECUTE and its body, where its name means `other` now; `None` where nothing has
    /// changed. One that is about another itself is not executed in its turn: no chain has to be
    /// followed.
    pub fn looked_up(&self, body: &[u8], other: Option<&Arc<Prepared>>) -> Option<(Self, Vec<u8>)> {
        let other = other.filter(|other| other.subject.is_none());
        if self.other.as_ref().map(|before| before.id) == other.map(|now| now.id) {
            return None;
        }
        let written = match other {
            Some(other) => other.id.server_name().to_vec(),
            None => quote_identifier(&self.name).into_bytes(),
        };
        let (head, tail) = (body.get(..self.at.start)?, body.get(self.at.end..)?);
        let at = self.at.start..self.at.start + written.len();
        let body = [head, &written, tail].concat();
        Some((Self { name: self.name.clone(), at, other: other.cloned() }, body))
    }
}

impl Prepared {
    /// Takes the body of a Parse behind the name. The same text means other tables under another
    /// `search_path` and other columns after a migration: `salt` stands for all that, and
    /// statements are shared only under the same.
    pub fn new(body: &[u8], salt: u64, notes: u64) -> Arc<Self> {
        Self::about(None, body, salt, notes)
    }

    /// The same, of a text that may be about another.
    pub fn about(subject: Option<Subject>, body: &[u8], salt: u64, notes: u64) -> Arc<Self> {
        let id = StatementId(HASHES.0.hash_one((salt, body)), HASHES.1.hash_one((salt, body)));
        Arc::new(Self { id, salt, body: body.into(), notes, subject })
    }

    /// How many bytes keeping it takes, what it executes among them.
    pub fn bytes(&self) -> usize {
        let subject = match &self.subject {
            Some(Subject::Executes(Executes { name, other, .. })) => {
                name.len() + other.as_ref().map_or(0, |other| other.body.len())
            }
            Some(Subject::Closes(name)) => name.len(),
            None => 0,
        };
        self.body.len().saturating_add(subject)
    }

    /// The prepared statement that it executes.
    pub fn executes(&self) -> Option<&Arc<Self>> {
        self.subject.as_ref().and_then(Subject::executed)
    }

    /// Whether its Parse gave its parameters these types: the body of a ParameterDescription, which
    /// is as Parse has them.
    pub fn has_types(&self, described: &[u8]) -> bool {
        self.body.strip_suffix(described).is_some_and(|text| text.last() == Some(&0))
    }

    /// The same statement, read under something else, whose Parse gives its parameters the types of this
    /// ParameterDescription.
    pub fn typed(&self, described: &[u8], salt: u64) -> Arc<Self> {
        let end = self.body.iter().position(|byte| *byte == 0).map_or(self.body.len(), |at| at + 1);
        let body = [&self.body[..end], described].concat();
        Self::about(self.subject.clone(), &body, salt, self.notes)
    }

    /// The same statement, read under something else.
    pub fn under(&self, salt: u64) -> Arc<Self> {
        Self::about(self.subject.clone(), &self.body, salt, self.notes)
    }

    /// The same EXECUTE, where its name means `other` now; `None` where nothing has changed.
    pub fn looked_up(&self, other: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let Some(Subject::Executes(executes)) = &self.subject else { return None };
        let (executes, body) = executes.looked_up(&self.body, other)?;
        let subject = Some(Subject::Executes(executes));
        Some(Self::about(subject, &body, self.salt, self.notes))
    }
}

impl Subject {
    /// The statement that is executed.
    pub fn executed(&self) -> Option<&Arc<Prepared>> {
        match self {
            Self::Executes(executes) => executes.other.as_ref(),
            Self::Closes(_) => None,
        }
    }

    /// The client's name of the statement.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Executes(executes) => executes.name.as_bytes(),
            Self::Closes(name) => name,
        }
    }

    /// The client's name of the statement that is closed.
    pub fn closed(&self) -> Option<&[u8]> {
        match self {
            Self::Executes(_) => None,
            Self::Closes(name) => Some(name),
        }
    }
}

/// What a statement takes and returns, as PostgreSQL describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Described {
    /// A hash of that.
    As(u64),
    /// It is too long to be looked at.
    TooLong,
}

impl Described {
    /// By the bodies of its ParameterDescription and of its RowDescription or NoData, whose tag this
    /// is. `None` stands for one that did not come whole.
    ///
    /// Of a column only what PostgreSQL compares (`RevalidateCachedQuery`) goes in: a table that was
    /// made anew has other object ids. Names are told in the client's encoding: they go in where that
    /// is the same in all.
    pub fn new(types: Option<&[u8]>, tag: u8, rows: Option<&[u8]>) -> Self {
        let (Some(types), Some(rows)) = (types, rows) else { return Self::TooLong };
        let mut hash = HASHES.0.build_hasher();
        (types, tag).hash(&mut hash);
        let mut rest = rows.get(2..).unwrap_or_default();
        while let Some(end) = memchr::memchr(0, rest) {
            // Behind the name: table and attribute, type, its length, its modifier, the format.
            let Some((fields, behind)) = rest[end + 1..].split_at_checked(18) else { break };
            let name = Some(&rest[..end]).filter(|name| name.is_ascii());
            (name, &fields[6..16]).hash(&mut hash);
            rest = behind;
        }
        Self::As(hash.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_makes_the_name() {
        let (a, b) =
            (Prepared::new(b"select 1\0\0\0", 0, 0), Prepared::new(b"select 1\0\0\0", 0, 0));
        assert_eq!(a.id.server_name(), b.id.server_name());
        assert_ne!(a.id, Prepared::new(b"select 2\0\0\0", 0, 0).id);
        assert_ne!(a.id, Prepared::new(b"select 1\0\0\0", 1, 0).id);
        assert!(a.id.server_name().iter().all(u8::is_ascii));
    }

    #[test]
    fn a_statement_takes_what_it_executes_with_it() {
        let other = Prepared::new(&[0; 1_000], 0, 0);
        assert_eq!(other.bytes(), 1_000);
        let executes = Executes { name: "s1".into(), at: 0..0, other: Some(other) };
        let subject = Some(Subject::Executes(executes));
        assert_eq!(Prepared::about(subject, &[0; 10], 0, 0).bytes(), 1_012);
    }

    #[test]
    fn an_execute_is_about_what_its_name_means_now() {
        let [one, two] = [1_u8, 2].map(|n| Prepared::new(&[n], 0, 0));
        let executes = Executes { name: "s\"1".into(), at: 8..12, other: None };
        let body = b"execute \"s1\"(1)\0\0\0";
        let execute = Prepared::about(Some(Subject::Executes(executes)), body, 0, 0);
        assert!(execute.looked_up(None).is_none());
        let name = |of: &Prepared| String::from_utf8(of.id.server_name().to_vec()).expect("ASCII");
        let text = |of: &Prepared| String::from_utf8(of.body.to_vec()).expect("UTF-8");
        let first = execute.looked_up(Some(&one)).expect("another");
        assert_eq!(text(&first), format!("execute {}(1)\0\0\0", name(&one)));
        assert!(first.looked_up(Some(&one)).is_none());
        let second = first.looked_up(Some(&two)).expect("another");
        assert_eq!(text(&second), format!("execute {}(1)\0\0\0", name(&two)));
        let none = second.looked_up(None).expect("none");
        assert_eq!(text(&none), "execute \"s\"\"1\"(1)\0\0\0");
        assert!(none.executes().is_none() && none.looked_up(Some(&first)).is_none());
        assert_eq!(none.looked_up(Some(&one)).expect("again").id, first.id);
    }
}
