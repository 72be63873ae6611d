//! The configuration reference as the code writes it: from the rooms' Settings structs, their doc
//! comments and their `Default`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pgusher::auth::{IssuerSettings, KeySettings, SigningKeySettings};
use pgusher::config::Config;
use pgusher::control::provision::ServerSettings;
use pgusher::pool::{Limits, LimitsSettings, PoolSettings};
use serde_json::{Value, json};

const HEAD: &str = "\
# pgusher's configuration: every key there is, with its default.
#
# Durations are written 250ms, 5s, 10m, 2h, 7d (0 is off or never where a key says so), sizes 512B,
# 16KiB, 4MiB, 1GiB. A table that is commented out is one you may add, a key one you may set: its
# value is what holds without it, and \"…\" stands where nothing does. Any key can be given as an
# environment variable as well, PGUSHER_SECTION__KEY, and over that as --set section.key=value.
# A secret `x` can be left in a file of its own: x_file = \"/path\".
#
# Written by `UPDATE=1 cargo test --test config_reference` from the code; a test compares the two.
";

/// Stands where nothing holds unless the key is set.
pub(crate) const UNSET: &str = "\"…\"";

/// The tables that are commented out, and the struct each is.
pub(crate) const EXAMPLES: [(&str, &str); 6] = [
    ("auth.tokens.issuers", "IssuerSettings"),
    ("auth.tokens.issuers.keys", "KeySettings"),
    ("auth.signer.keys", "SigningKeySettings"),
    ("servers.NAME", "ServerSettings"),
    ("limits", "LimitsSettings"),
    ("plans.NAME", "LimitsSettings"),
];

struct Field {
    name: String,
    kind: String,
    docs: Vec<String>,
    flat: bool,
}

pub(crate) struct Reference {
    structs: BTreeMap<String, Vec<Field>>,
}

impl Reference {
    pub(crate) fn of_the_code() -> Self {
        let mut structs = BTreeMap::new();
        for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
            let text = std::fs::read_to_string(&file).expect("reads");
            read_structs(&text, &mut structs);
        }
        Self { structs }
    }

    pub(crate) fn write(&self) -> String {
        let mut out = HEAD.to_owned();
        let defaults = serde_json::to_value(Config::default()).expect("serialises");
        self.section(&mut out, "", "Config", Some(&defaults));
        out
    }

    /// Writes the fields of `name`: plain keys first, then tables, as TOML needs it. Without
    /// `values` the table is commented out, and has what holds without it.
    fn section(&self, out: &mut String, at: &str, name: &str, values: Option<&Value>) {
        let fields = self.fields(name);
        let examples = default_of(name);
        if let Some(Value::Object(object)) = values {
            let known: Vec<&str> = fields.iter().map(|f| &*f.name).collect();
            for key in object.keys() {
                assert!(known.contains(&&**key), "{name} serialises `{key}`, known: {known:?}");
            }
        }
        let is_table = |f: &&&Field| self.table(&f.kind).is_some();
        for field in fields.iter().filter(|f| !is_table(f)) {
            comment(out, &field.docs);
            let value = values.map_or(&Value::Null, |v| &v[&field.name]);
            let without = || examples.as_ref().and_then(|d| toml(&d[&field.name]));
            let line = match toml(value) {
                Some(text) => format!("{} = {text}", field.name),
                None => format!("#{} = {}", field.name, without().as_deref().unwrap_or(UNSET)),
            };
            writeln!(out, "{line}").expect("writes");
        }
        for field in fields.iter().filter(is_table) {
            self.subtable(out, at, field, values.map_or(&Value::Null, |v| &v[&field.name]));
        }
    }

    fn subtable(&self, out: &mut String, at: &str, field: &Field, value: &Value) {
        let (shape, name) = self.table(&field.kind).expect("a table");
        let path = if at.is_empty() { field.name.clone() } else { format!("{at}.{}", field.name) };
        out.push('\n');
        comment(out, &field.docs);
        match (shape, value) {
            (Shape::One, Value::Object(_)) => {
                writeln!(out, "[{path}]").expect("writes");
                self.section(out, &path, name, Some(value));
            }
            (Shape::Named, Value::Object(entries)) if !entries.is_empty() => {
                for (key, value) in entries {
                    writeln!(out, "[{path}.{key}]").expect("writes");
                    self.section(out, &format!("{path}.{key}"), name, Some(value));
                }
            }
            (Shape::Many, Value::Array(items)) if !items.is_empty() => {
                for value in items {
                    writeln!(out, "[[{path}]]").expect("writes");
                    self.section(out, &path, name, Some(value));
                }
            }
            (shape, _) => {
                let (head, path) = match shape {
                    Shape::One => (format!("[{path}]"), path),
                    Shape::Many => (format!("[[{path}]]"), path),
                    Shape::Named => (format!("[{path}.NAME]"), format!("{path}.NAME")),
                };
                writeln!(out, "#{head}").expect("writes");
                self.section(out, &path, name, None);
            }
        }
    }

    fn fields(&self, name: &str) -> Vec<&Field> {
        let own = self.structs.get(name).unwrap_or_else(|| panic!("no struct {name} in src/"));
        let inlined = own.iter().map(|f| match self.table(&f.kind) {
            Some((_, inner)) if f.flat => self.fields(inner),
            _ => vec![f],
        });
        inlined.flatten().collect()
    }

    /// Whether a field of this type is a table, and of which struct.
    fn table<'a>(&self, kind: &'a str) -> Option<(Shape, &'a str)> {
        let inner = |wrap: &str| kind.strip_prefix(wrap).and_then(|k| k.strip_suffix('>'));
        for wrap in ["Option<", "Box<", "Arc<"] {
            if let Some(kind) = inner(wrap) {
                return self.table(kind);
            }
        }
        if let Some(kind) = inner("Vec<") {
            return self.table(kind).map(|(_, name)| (Shape::Many, name));
        }
        for wrap in ["HashMap<", "BTreeMap<"] {
            if let Some((_, kind)) = inner(wrap).and_then(|k| k.split_once(", ")) {
                return self.table(kind).map(|(_, name)| (Shape::Named, name));
            }
        }
        let name = kind.rsplit("::").next()?;
        // Tuple structs such as Span are values and have no fields here.
        self.structs.contains_key(name).then_some((Shape::One, name))
    }
}

#[derive(Clone, Copy)]
enum Shape {
    One,
    Many,
    Named,
}

fn comment(out: &mut String, docs: &[String]) {
    for line in docs {
        writeln!(out, "{}", format!("# {line}").trim_end()).expect("writes");
    }
}

/// A value as TOML; `None` for one that is unset.
fn toml(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(items) => {
            Some(format!("[{}]", items.iter().filter_map(toml).collect::<Vec<_>>().join(", ")))
        }
        Value::Object(map) => {
            let pairs = map.iter().filter_map(|(k, v)| Some(format!("{k:?} = {}", toml(v)?)));
            let pairs = pairs.collect::<Vec<_>>().join(", ");
            Some(if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {pairs} }}") })
        }
        other => Some(other.to_string()),
    }
}

/// Reads `pub struct X { /// docs  #[attr]  pub y: T, … }`, as rustfmt writes it.
fn read_structs(text: &str, structs: &mut BTreeMap<String, Vec<Field>>) {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut lines = text.lines();
    let mut derives = String::new();
    while let Some(line) = lines.next() {
        if line.starts_with("#[derive") {
            line.clone_into(&mut derives);
        }
        let Some(rest) = line.strip_prefix("pub struct ") else {
            continue;
        };
        let derived = std::mem::take(&mut derives);
        let Some(name) = rest.strip_suffix(" {").filter(|_| derived.contains("Deserialize")) else {
            continue;
        };
        let mut fields = Vec::new();
        let (mut docs, mut attributes) = (Vec::new(), String::new());
        for line in lines.by_ref().take_while(|line| *line != "}") {
            let line = line.trim();
            if let Some(doc) = line.strip_prefix("///") {
                docs.push(doc.trim().to_owned());
            } else if line.starts_with("#[") {
                attributes += line;
            } else if let Some((field, kind)) =
                line.trim_start_matches("pub ").trim_end_matches(',').split_once(": ")
            {
                let docs = std::mem::take(&mut docs);
                let attributes = std::mem::take(&mut attributes);
                if attributes.contains("serde(skip") && !attributes.contains("skip_serializing") {
                    continue;
                }
                let flat = attributes.contains("flatten");
                fields.push(Field { name: field.to_owned(), kind: kind.to_owned(), docs, flat });
            }
        }
        let twice = structs.insert(name.to_owned(), fields);
        assert!(twice.is_none(), "two structs that deserialise are called {name}");
    }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("reads").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What holds where a table of this struct says nothing. A limit's is what it resolves to.
pub(crate) fn default_of(name: &str) -> Option<Value> {
    let default = match name {
        "IssuerSettings" => serde_json::to_value(IssuerSettings::default()),
        "KeySettings" => serde_json::to_value(KeySettings::default()),
        "SigningKeySettings" => serde_json::to_value(SigningKeySettings::default()),
        "ServerSettings" => serde_json::to_value(ServerSettings::default()),
        "LimitsSettings" => Ok(limits_in_force()),
        _ => return None,
    };
    Some(default.expect("serialises"))
}

fn limits_in_force() -> Value {
    let unsaid = LimitsSettings::default();
    let limits = unsaid.resolve(&PoolSettings::default(), None, &unsaid);
    // Each by its name, so that a new one does not compile before it is here.
    macro_rules! object {
        ($($name:ident),*) => {{
            let Limits { $($name),* } = limits;
            json!({ $(stringify!($name): $name),* })
        }};
    }
    object!(
        server_max,
        server_min,
        weight,
        client_max,
        queue_max,
        queue_timeout,
        server_idle_timeout,
        server_lifetime,
        query_timeout,
        transaction_timeout,
        idle_in_transaction_timeout,
        client_idle_timeout
    )
}
