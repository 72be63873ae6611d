//! The prepared statements of one client, by the names it gave them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::lexer::{Facts, Hints};
use crate::server::{Described, Prepared, StatementId, Subject, moment};

type Named = HashMap<Box<[u8]>, Entry>;

#[derive(Debug)]
struct Entry {
    prepared: Arc<Prepared>,
    /// What the client was told of it, if it asked. Some drivers never ask again.
    told: Option<Described>,
    /// What types PostgreSQL has given its parameters, where its Parse left that open: the client sends
    /// their values as such from then on.
    types: Types,
    read: Read,
    /// When the client prepared it.
    asked: u64,
    /// It has been bound since.
    bound: bool,
}

/// What is to be known of a statement when the client uses it.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) prepared: Arc<Prepared>,
    /// The client was told what it returns.
    pub(super) told: bool,
    /// When the client prepared it.
    pub(super) asked: u64,
    /// It is bound for the first time.
    pub(super) first: bool,
}

impl Entry {
    fn used(&self) -> Use {
        let told = self.told.is_some();
        Use { prepared: Arc::clone(&self.prepared), told, asked: self.asked, first: false }
    }

    /// `fresh`, whose Parse gives its parameters what types the client goes by, takes its place.
    fn take_on(&mut self, fresh: &Arc<Prepared>) {
        (self.prepared, self.types) = (Arc::clone(fresh), Types::AsParsed);
    }
}

/// What the text of a statement says, and which reading of the tenant's functions that goes by.
#[derive(Debug)]
pub(super) struct Read {
    /// `None` for most: nothing to note but the hints.
    facts: Option<Box<Facts>>,
    hints: Hints,
    reading: u64,
}

impl Read {
    /// The text was read.
    pub(super) fn new(facts: Facts, reading: u64) -> Self {
        let telling = facts.hints.intersects(Hints::STATE | Hints::CLOSE | Hints::DROP);
        let hints = facts.hints;
        Self { facts: telling.then(|| Box::new(facts)), hints, reading }
    }

    /// The text is to be read when the statement is next bound.
    pub(super) fn later() -> Self {
        Self { facts: None, hints: Hints::NONE, reading: u64::MAX }
    }
}

/// What the client was told of a statement's parameters.
#[derive(Debug)]
enum Types {
    /// Nothing, or what its Parse said itself.
    AsParsed,
    /// This, the body of a ParameterDescription: at most twice as long as its text, which names each.
    Described(Box<[u8]>),
    /// A description too long to be kept.
    Unknown,
}

/// A question what a statement is described as.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: StatementId,
    /// The name its client gave it; empty where pgusher asks.
    pub(super) name: Box<[u8]>,
    /// When it was asked: see [`moment`].
    pub(super) at: u64,
}

/// An unnamed statement, or none.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    /// The body of its Parse, behind the name.
    body: Option<Box<[u8]>>,
    /// What else it is about.
    subject: Option<Subject>,
    /// There was no room for its body.
    too_long: bool,
}

impl Unnamed {
    /// One whose Parse has this body behind the name.
    pub(super) fn new(body: Vec<u8>, subject: Option<Subject>) -> Self {
        Self { body: Some(body.into_boxed_slice()), subject, too_long: false }
    }

    /// One there is no room for.
    pub(super) fn too_long() -> Self {
        Self { too_long: true, ..Self::default() }
    }

    /// How many bytes keeping it takes.
    pub(super) fn bytes(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.len())
    }
}

/// What a client has prepared. Empty for most clients, and then a few words.
#[derive(Debug, Default)]
pub(super) struct ClientStatements {
    named: Option<Box<Named>>,
    unnamed: Unnamed,
    /// Bytes of the named ones.
    bytes: usize,
    /// There was a named one about another.
    about: bool,
}

impl ClientStatements {
    /// The statement of that name.
    pub(super) fn named(&self, name: &[u8]) -> Option<&Arc<Prepared>> {
        self.named.as_ref()?.get(name).map(|entry| &entry.prepared)
    }

    /// Whether that very statement is the one of that name.
    pub(super) fn has(&self, name: &[u8], prepared: &Arc<Prepared>) -> bool {
        self.named(name).is_some_and(|named| Arc::ptr_eq(named, prepared))
    }

    /// Whether the client was told what the statement of that name returns.
    pub(super) fn was_told(&self, name: &[u8]) -> bool {
        let entry = self.named.as_ref().and_then(|map| map.get(name));
        entry.is_some_and(|entry| entry.told.is_some())
    }

    /// The statement of that name, which is bound.
    pub(super) fn bind(&mut self, name: &[u8]) -> Option<Use> {
        let entry = self.named.as_mut()?.get_mut(name)?;
        let first = !std::mem::replace(&mut entry.bound, true);
        Some(Use { first, ..entry.used() })
    }

    /// The statement of that name, which is described.
    pub(super) fn describe(&self, name: &[u8]) -> Option<Use> {
        self.named.as_ref()?.get(name).map(Entry::used)
    }

    /// The client was told what its statement of that name is described as, if that is the one it asked
    /// about at that moment, and what its parameters are: the body of the ParameterDescription.
    pub(super) fn told(&mut self, asked: &Asked, described: Described, types: Option<Box<[u8]>>) {
        let entry = self.named.as_mut().and_then(|map| map.get_mut(&asked.name));
        let is_it = |entry: &&mut Entry| entry.prepared.id == asked.id && entry.asked < asked.at;
        let Some(entry) = entry.filter(is_it) else { return };
        entry.told = Some(described);
        entry.types = match types {
            Some(types) if entry.prepared.has_types(&types) => Types::AsParsed,
            Some(types) if types.len() / 2 <= entry.prepared.body.len() => Types::Described(types),
            _ => Types::Unknown,
        };
    }

    /// The statement of that name and what the client was told of it, if that can be compared.
    pub(super) fn told_of(&self, name: &[u8]) -> Option<(&Arc<Prepared>, Described)> {
        let entry = self.named.as_ref()?.get(name)?;
        let known = !matches!(entry.types, Types::Unknown);
        let told = entry.told.filter(|told| known && *told != Described::TooLong);
        Some((&entry.prepared, told?))
    }

    /// The statement of that name, read under `salt`: with the parameters that the client was told of,
    /// as PostgreSQL keeps them.
    pub(super) fn anew(&self, name: &[u8], salt: u64) -> Option<Arc<Prepared>> {
        let entry = self.named.as_ref()?.get(name)?;
        Some(match &entry.types {
            Types::Described(types) => entry.prepared.typed(types, salt),
            _ => entry.prepared.under(salt),
        })
    }

    /// From here on the Parse of the statement of that name gives its parameters the types that the
    /// client was told of, as PostgreSQL keeps them. `false` where it does.
    pub(super) fn retype(&mut self, name: &[u8]) -> bool {
        let Some(old) = self.named(name).map(Arc::clone) else { return false };
        let fresh = self.anew(name, old.salt).filter(|fresh| fresh.id != old.id);
        if let Some(fresh) = &fresh {
            self.renew(name, fresh);
        }
        fresh.is_some()
    }

    /// Puts `fresh` in the place of the named statement; what was told of it stays true.
    pub(super) fn renew(&mut self, name: &[u8], fresh: &Arc<Prepared>) {
        if let Some(entry) = self.named.as_mut().and_then(|map| map.get_mut(name)) {
            self.bytes = self.bytes - entry.prepared.bytes() + fresh.bytes();
            entry.take_on(fresh);
        }
    }

    /// How many bytes the named ones take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many named ones there are.
    pub(super) fn len(&self) -> usize {
        self.named.as_ref().map_or(0, |map| map.len())
    }

    /// Those that servers may know, what the unnamed one executes among them.
    pub(super) fn ids(&self) -> HashSet<StatementId> {
        let named = self.named.iter().flat_map(|map| map.values()).map(|entry| &entry.prepared);
        named.chain(self.executed()).map(|prepared| prepared.id).collect()
    }

    /// What the text of the named statement names.
    pub(super) fn hints(&self, name: &[u8]) -> Option<Hints> {
        Some(self.named.as_ref()?.get(name)?.read.hints)
    }

    /// What else the text of the named statement says, if anything of note.
    pub(super) fn read(&self, name: &[u8]) -> Option<&Facts> {
        self.named.as_ref()?.get(name)?.read.facts.as_deref()
    }

    /// The named statement, if its text was read by another reading of the tenant's functions.
    pub(super) fn outdated_read(&self, name: &[u8], reading: u64) -> Option<Arc<Prepared>> {
        let entry = self.named.as_ref()?.get(name)?;
        (entry.read.reading != reading).then(|| Arc::clone(&entry.prepared))
    }

    /// The text of the named statement was read anew.
    pub(super) fn was_read(&mut self, name: &[u8], read: Read) {
        if let Some(entry) = self.named.as_mut().and_then(|map| map.get_mut(name)) {
            entry.read = read;
        }
    }

    /// Puts `fresh`, of the same text as its client wrote it, in the place of the named statement.
    pub(super) fn replace(&mut self, name: &[u8], fresh: &Arc<Prepared>) {
        self.renew(name, fresh);
        if let Some(entry) = self.named.as_mut().and_then(|map| map.get_mut(name)) {
            entry.told = None;
        }
    }

    /// An EXECUTE executes what its name means when it is bound: looks that up for the statement of
    /// this name. `true` where the unnamed statement is another for it.
    pub(super) fn look_up(&mut self, name: &[u8]) -> bool {
        if !name.is_empty() {
            let other = self.subject(name).and_then(|subject| self.named(subject.name()));
            let fresh = self.named_about(name).and_then(|execute| execute.looked_up(other));
            if let Some(fresh) = fresh {
                self.replace(name, &fresh);
            }
            return false;
        }
        let Unnamed { body: Some(body), subject: Some(Subject::Executes(executes)), .. } =
            &self.unnamed
        else {
            return false;
        };
        let Some((executes, body)) = executes.looked_up(body, self.named(executes.name.as_bytes()))
        else {
            return false;
        };
        self.unnamed = Unnamed::new(body, Some(Subject::Executes(executes)));
        true
    }

    /// Takes a named statement in.
    pub(super) fn insert(&mut self, name: &[u8], prepared: Arc<Prepared>, read: Read) {
        self.bytes += name.len() + prepared.bytes();
        self.about |= prepared.subject.is_some();
        let (told, asked, bound) = (None, moment(), false);
        let entry = Entry { prepared, told, types: Types::AsParsed, read, asked, bound };
        let replaced = self.named.get_or_insert_default().insert(name.into(), entry);
        if let Some(old) = replaced {
            self.bytes -= name.len() + old.prepared.bytes();
        }
    }

    /// Forgets a named statement.
    pub(super) fn remove(&mut self, name: &[u8]) {
        if let Some(map) = &mut self.named {
            if let Some(old) = map.remove(name) {
                self.bytes -= name.len() + old.prepared.bytes();
            }
            if map.is_empty() {
                self.named = None;
            }
        }
    }

    /// Forgets every named statement but these.
    pub(super) fn clear_but(&mut self, names: &HashSet<&[u8]>) {
        let Some(mut map) = self.named.take() else { return };
        map.retain(|name, _| names.contains(&**name));
        self.bytes = map.iter().map(|(name, entry)| name.len() + entry.prepared.bytes()).sum();
        self.named = (!map.is_empty()).then_some(map);
    }

    /// The client's name for the statement the server knows by `server_name`.
    pub(super) fn name_of(&self, server_name: &[u8]) -> Option<&[u8]> {
        let map = self.named.as_ref()?;
        let found = map.iter().find(|(_, e)| e.prepared.id.server_name() == server_name)?;
        Some(found.0)
    }

    /// Remembers the body of the last unnamed Parse, so that it can be bound in a later
    /// transaction on another server, and what else it is about. Gives the one before it, where
    /// that was another. Allocates only then.
    pub(super) fn remember_unnamed(
        &mut self,
        body: &[u8],
        subject: Option<Subject>,
    ) -> Option<Unnamed> {
        let plain = self.unnamed.subject.is_none() && subject.is_none();
        if plain && self.unnamed() == Some(body) {
            return None;
        }
        let unnamed = Unnamed::new(body.into(), subject);
        Some(std::mem::replace(&mut self.unnamed, unnamed))
    }

    /// The statement the unnamed one executes.
    pub(super) fn executed(&self) -> Option<&Arc<Prepared>> {
        self.unnamed_subject()?.executed()
    }

    /// What else the unnamed statement is about.
    pub(super) fn unnamed_subject(&self) -> Option<&Subject> {
        self.unnamed.subject.as_ref()
    }

    /// What else the statement of this name is about.
    pub(super) fn subject(&self, name: &[u8]) -> Option<&Subject> {
        if name.is_empty() {
            return self.unnamed_subject();
        }
        self.named_about(name)?.subject.as_ref()
    }

    /// The statement of that name, if any of them may be about another.
    fn named_about(&self, name: &[u8]) -> Option<&Arc<Prepared>> {
        self.about.then(|| self.named(name)).flatten()
    }

    /// Forgets the unnamed statement. Gives it, if there was one.
    pub(super) fn forget_unnamed(&mut self) -> Option<Unnamed> {
        let any = self.unnamed.body.is_some() || self.unnamed.too_long;
        any.then(|| std::mem::take(&mut self.unnamed))
    }

    /// Whether there is one that could not be kept: only the server it was parsed on has it.
    pub(super) fn unnamed_is_too_long(&self) -> bool {
        self.unnamed.too_long
    }

    /// The unnamed statement is this one, as it came, or as it was before.
    pub(super) fn restore_unnamed(&mut self, unnamed: Unnamed) {
        self.unnamed = unnamed;
    }

    /// The body of the last unnamed Parse.
    pub(super) fn unnamed(&self) -> Option<&[u8]> {
        self.unnamed.body.as_deref()
    }
}
