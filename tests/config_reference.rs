//! `config/pgusher.toml` says what the code does: every key, its documentation, its default.
//!
//! The file is written from the Settings structs themselves, their doc comments and their
//! `Default`. After a change of either: `UPDATE=1 cargo test --test config_reference`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pgusher::config::{Config, Sources};
use serde_json::Value;

const FILE: &str = "config/pgusher.toml";

const HEAD: &str = "\
# pgusher's configuration: every key there is, with its default.
#
# Durations are written 250ms, 5s, 10m, 2h, 7d (0 is off or never where a key says so), sizes 512B,
# 16KiB, 4MiB, 1GiB. What is commented out is unset by default. Any key can be given as an
# environment variable as well, PGUSHER_SECTION__KEY, and over that as --set section.key=value.
# A secret `x` can be left in a file of its own: x_file = \"/path\".
#
# Written by `UPDATE=1 cargo test --test config_reference` from the code; a test compares the two.
";

#[test]
fn the_reference_is_what_the_code_says() {
    let written = Reference::of_the_code().write();
    let path = root().join(FILE);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &written).expect("writes");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == written,
        "{FILE} is not what the code says; run `UPDATE=1 cargo test --test config_reference`\n\
         {}",
        first_difference(&found, &written)
    );
}

#[test]
fn the_reference_loads_and_changes_no_default() {
    let sources = Sources { file: Some(root().join(FILE)), ..Sources::default() };
    let loaded = sources.load().unwrap_or_else(|problems| panic!("{problems}"));
    let json = |config: &Config| serde_json::to_value(config).expect("serialises");
    assert_eq!(json(&loaded), json(&Config::default()));
}

#[test]
fn every_line_that_is_commented_out_is_a_key_the_code_knows() {
    // A commented line that starts a table or sets a key is taken in, one table at a time. Its
    // value is only an example, so a wrong one is no matter, but the key must be known.
    let text = std::fs::read_to_string(root().join(FILE)).expect("reads");
    let mut section = String::new();
    for line in text.lines() {
        let bare = line.trim_start_matches('#');
        if bare.starts_with('[') {
            section = bare.trim_matches(|c| c == '[' || c == ']').to_owned();
            continue;
        }
        let Some((key, _)) = bare.split_once(" = ").filter(|_| bare.len() < line.len()) else {
            continue;
        };
        let word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !word || text.contains(&format!("#[[{section}]]")) {
            continue;
        }
        let set = vec![format!("{section}.{key}=pgusher-test")];
        let told = Sources { set, ..Sources::default() }.load().err();
        let told = told.map(|problems| problems.to_string()).unwrap_or_default();
        assert!(!told.contains("unknown key"), "{section}.{key}: {told}");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn first_difference(found: &str, written: &str) -> String {
    let (mut a, mut b) = (found.lines(), written.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return String::new(),
            (left, right) if left != right => {
                return format!("file: {}\ncode: {}", left.unwrap_or("-"), right.unwrap_or("-"));
            }
            _ => {}
        }
    }
}

struct Field {
    name: String,
    kind: String,
    docs: Vec<String>,
    flat: bool,
}

struct Reference {
    structs: BTreeMap<String, Vec<Field>>,
}

impl Reference {
    fn of_the_code() -> Self {
        let mut structs = BTreeMap::new();
        for file in rust_files(&root().join("src")) {
            let text = std::fs::read_to_string(&file).expect("reads");
            read_structs(&text, &mut structs);
        }
        Self { structs }
    }

    fn write(&self) -> String {
        let mut out = HEAD.to_owned();
        let defaults = serde_json::to_value(Config::default()).expect("serialises");
        self.section(&mut out, "", "Config", Some(&defaults), "");
        out
    }

    /// Writes the fields of `name`: plain keys first, then tables, as TOML needs it. Without
    /// `values` the table is an example and is commented out.
    fn section(&self, out: &mut String, at: &str, name: &str, values: Option<&Value>, mark: &str) {
        let fields = self.fields(name);
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
            match toml(value) {
                Some(text) => writeln!(out, "{mark}{} = {text}", field.name),
                None => writeln!(out, "#{} = {}", field.name, example(&field.kind)),
            }
            .expect("writes");
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
                self.section(out, &path, name, Some(value), "");
            }
            (Shape::Named, Value::Object(entries)) if !entries.is_empty() => {
                for (key, value) in entries {
                    writeln!(out, "[{path}.{key}]").expect("writes");
                    self.section(out, &format!("{path}.{key}"), name, Some(value), "");
                }
            }
            (Shape::Many, Value::Array(items)) if !items.is_empty() => {
                for value in items {
                    writeln!(out, "[[{path}]]").expect("writes");
                    self.section(out, &path, name, Some(value), "");
                }
            }
            (shape, _) => {
                let (head, path) = match shape {
                    Shape::One => (format!("[{path}]"), path),
                    Shape::Many => (format!("[[{path}]]"), path),
                    Shape::Named => (format!("[{path}.NAME]"), format!("{path}.NAME")),
                };
                writeln!(out, "#{head}").expect("writes");
                self.section(out, &path, name, None, "#");
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

/// What a value of this type looks like.
fn example(kind: &str) -> &'static str {
    let plain = kind.trim_start_matches("Option<").trim_end_matches('>');
    match plain {
        "bool" => "false",
        "Span" => "\"5s\"",
        "Size" => "\"1MiB\"",
        _ if plain.starts_with("Vec<") => "[]",
        _ if plain.starts_with(['u', 'i', 'f']) => "0",
        _ => "\"\"",
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
