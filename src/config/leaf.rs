//! One value somebody set, and where.

use figment::value::{Dict, Value};

use super::Problem;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) is_usage: bool,
}

/// A value with its key and its place. Tables are taken apart; arrays are one leaf.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    /// The text as it was written, where a shell had to write it: `42` may have been meant as a
    /// word.
    pub(super) raw: Option<String>,
    pub(super) place: Place,
    /// Of an array: the elements that were taken out, in order, by the number they had.
    pub(super) dropped: Vec<usize>,
}

impl Leaf {
    pub(super) fn new(path: Vec<String>, value: Value, raw: Option<String>, place: Place) -> Self {
        Self { path, value, raw, place, dropped: Vec::new() }
    }

    pub(super) fn problem(&self, key: &[String], text: impl Into<String>) -> Problem {
        Problem {
            place: self.place.name.clone(),
            key: self.shown(key).join("."),
            text: text.into(),
            is_usage: self.place.is_usage,
        }
    }

    /// Whether it says anything of `key`: a table does where it holds it.
    pub(super) fn names(&self, key: &[String]) -> bool {
        let Some(within) = key.strip_prefix(&*self.path) else {
            return self.path.starts_with(key);
        };
        let step = |value: &Value, part: &String| match value {
            Value::Dict(_, inner) => inner.get(part).cloned(),
            _ => None,
        };
        within.iter().try_fold(self.value.clone(), |value, part| step(&value, part)).is_some()
    }

    /// `path` as it was when nothing had been taken out of the array yet.
    pub(super) fn shown(&self, path: &[String]) -> Vec<String> {
        let mut shown = path.to_vec();
        if let Some(index) = shown.get_mut(self.path.len())
            && let Ok(number) = index.parse::<usize>()
        {
            let original =
                self.dropped.iter().fold(number, |n, dropped| n + usize::from(*dropped <= n));
            *index = original.to_string();
        }
        shown
    }

    /// Takes element `index` out of the array.
    pub(super) fn drop_element(&mut self, index: usize) -> bool {
        let original = self.dropped.iter().fold(index, |n, dropped| n + usize::from(*dropped <= n));
        match &mut self.value {
            Value::Array(_, items) if index < items.len() => {
                items.remove(index);
                self.dropped.push(original);
                self.dropped.sort_unstable();
                true
            }
            _ => false,
        }
    }
}

/// Takes the tables of `dict` apart.
pub(super) fn leaves(dict: Dict, place: &Place) -> Vec<Leaf> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), dict)];
    while let Some((path, dict)) = open.pop() {
        for (key, value) in dict {
            let mut path: Vec<String> = path.clone();
            path.push(key);
            match value {
                Value::Dict(_, inner) if !inner.is_empty() => open.push((path, inner)),
                value => found.push(Leaf::new(path, value, None, place.clone())),
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Puts the leaves together again, the later over the earlier.
pub(super) fn assemble<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> Dict {
    let mut whole = Dict::new();
    for leaf in leaves {
        put(&mut whole, &leaf.path, leaf.value.clone());
    }
    whole
}

fn put(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => _ = dict.insert(last.clone(), value),
        [first, rest @ ..] => {
            let slot = dict.entry(first.clone()).or_insert_with(|| Value::from(Dict::new()));
            if !matches!(slot, Value::Dict(..)) {
                *slot = Value::from(Dict::new());
            }
            if let Value::Dict(_, inner) = slot {
                put(inner, rest, value);
            }
        }
    }
}
