//! Prepared statements: by content, so that clients who prepare the same text share it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// A hash of what a statement returns: the RowDescription or NoData that describes it.
pub fn description(tag: u8, body: &[u8]) -> u64 {
    HASHES.0.hash_one((tag, body))
}

/// A moment, later than every one before: statements are told by it to be older or younger than
/// what a client asked for.
pub fn moment() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// When a statement was used and made.
#[derive(Debug)]
struct Known {
    used: u64,
    made: u64,
}

/// What one server connection has prepared, oldest use first to go.
#[derive(Debug, Default)]
pub struct ServerStatements {
    known: HashMap<StatementId, Known>,
    tick: u64,
    /// Whether the unnamed statement is the present client's.
    unnamed: bool,
    /// Statements to be closed when something else is sent.
    doomed: HashSet<StatementId>,
}

impl ServerStatements {
    /// Whether it is prepared; counts as a use.
    pub fn touch(&mut self, id: StatementId) -> bool {
        self.tick += 1;
        let tick = self.tick;
        self.known.get_mut(&id).map(|known| known.used = tick).is_some()
    }

    /// It is being prepared. Returns the statement that has to be closed to stay within `max`.
    pub fn insert(&mut self, id: StatementId, max: usize) -> Option<StatementId> {
        self.tick += 1;
        self.known.insert(id, Known { used: self.tick, made: moment() });
        self.doomed.remove(&id);
        if self.known.len() <= max.max(1) {
            return None;
        }
        let oldest = self.known.iter().min_by_key(|(_, known)| known.used).map(|(id, _)| *id)?;
        self.known.remove(&oldest);
        Some(oldest)
    }

    /// Forgets it if it was made before that [`moment`]: it is made anew when it is next used.
    pub fn forget_older(&mut self, id: StatementId, moment: u64) {
        if self.known.get(&id).is_some_and(|known| known.made < moment) {
            self.known.remove(&id);
        }
    }

    /// What is there under its name was made just now.
    pub fn is_made_anew(&mut self, id: StatementId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.made = moment();
        }
    }

    /// It has to be closed with the next messages that are sent, be it there or not.
    pub fn forget_later(&mut self, id: StatementId) {
        self.known.remove(&id);
        self.doomed.insert(id);
    }

    /// It was to be closed, and was not. What was made since stays.
    pub fn was_not_closed(&mut self, id: StatementId) {
        if !self.known.contains_key(&id) {
            self.doomed.insert(id);
        }
    }

    /// It is not known any more what is there: each has to be closed.
    pub fn doubt(&mut self) {
        self.doomed.extend(self.known.drain().map(|(id, _)| id));
    }

    /// Whether some have to be closed.
    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Whether there is none on the server, not even one that has to be closed.
    pub fn is_clear(&self) -> bool {
        self.known.is_empty() && self.doomed.is_empty()
    }

    /// Those that have to be closed: whoever takes them does that.
    pub fn take_doomed(&mut self) -> HashSet<StatementId> {
        std::mem::take(&mut self.doomed)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = StatementId> + '_ {
        self.known.keys().copied()
    }

    /// It is gone, or was never made.
    pub fn remove(&mut self, id: StatementId) {
        self.known.remove(&id);
    }

    /// All are gone.
    pub fn clear(&mut self) {
        self.known.clear();
        self.doomed.clear();
    }

    /// All but these are gone.
    pub fn clear_but(&mut self, made: &HashSet<StatementId>) {
        self.known.retain(|id, _| made.contains(id));
        self.doomed.clear();
    }

    /// The present client has parsed its unnamed statement here.
    pub fn unnamed_is_here(&mut self) {
        self.unnamed = true;
    }

    /// Another client comes: the unnamed statement is not its own.
    pub fn unnamed_is_gone(&mut self) {
        self.unnamed = false;
    }

    /// Whether the unnamed statement is the present client's.
    pub fn has_unnamed(&self) -> bool {
        self.unnamed
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
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

    #[test]
    fn the_least_used_statement_makes_room() {
        let ids: Vec<_> = (0..3u8).map(|n| Prepared::new(&[n], 0, 0).id).collect();
        let mut statements = ServerStatements::default();
        assert_eq!(statements.insert(ids[0], 2), None);
        assert_eq!(statements.insert(ids[1], 2), None);
        assert!(statements.touch(ids[0]));
        assert_eq!(statements.insert(ids[2], 2), Some(ids[1]));
        assert!(!statements.touch(ids[1]));
    }

    #[test]
    fn what_is_in_doubt_is_there_until_it_is_closed_or_made_anew() {
        let ids: Vec<_> = (0..3u8).map(|n| Prepared::new(&[n], 0, 0).id).collect();
        let mut statements = ServerStatements::default();
        for id in &ids {
            assert_eq!(statements.insert(*id, 9), None);
        }
        statements.doubt();
        assert!(statements.is_empty() && !statements.is_clear() && !statements.touch(ids[0]));
        assert_eq!(statements.insert(ids[0], 9), None);
        assert_eq!(statements.take_doomed(), HashSet::from([ids[1], ids[2]]));
        for id in &ids[..2] {
            statements.was_not_closed(*id);
        }
        assert_eq!(statements.take_doomed(), HashSet::from([ids[1]]));
        assert!(statements.touch(ids[0]) && !statements.is_clear());
        statements.remove(ids[0]);
        assert!(statements.is_clear());
    }
}
