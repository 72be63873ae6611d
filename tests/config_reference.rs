//! `config/pgusher.toml` says what the code does: every key, its documentation, its default.
//!
//! The file is written from the Settings structs themselves, their doc comments and their
//! `Default`. After a change of either: `UPDATE=1 cargo test --test config_reference`.

mod reference;

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use pgusher::config::{Config, Sources};
use serde_json::Value;

use reference::{EXAMPLES, Reference, UNSET, default_of};

const FILE: &str = "config/pgusher.toml";

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
fn what_is_commented_out_has_the_codes_own_default() {
    let text = std::fs::read_to_string(root().join(FILE)).expect("reads");
    let real = serde_json::to_value(Config::default()).expect("serialises");
    let examples = EXAMPLES.map(|(table, name)| (table, default_of(name).expect("an example")));
    let mut seen = 0;
    for (section, lines) in commented(&text) {
        let lines = lines.iter().map(|line| line.split_once(" = ").expect("a key"));
        let (unset, set): (Vec<_>, Vec<_>) = lines.partition(|(_, value)| *value == UNSET);
        let set: Vec<_> = set.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let shown: Value = Figment::from(Toml::string(&set.join("\n"))).extract().expect(&section);
        let expected = match examples.iter().find(|(table, _)| *table == section) {
            Some((_, default)) => default.clone(),
            // A real table: what is commented out there is what nothing holds for.
            None => {
                real.pointer(&format!("/{}", section.replace('.', "/"))).expect(&section).clone()
            }
        };
        let expected = expected.as_object().expect("a table");
        for (key, value) in shown.as_object().expect("a table") {
            assert_eq!(Some(value), expected.get(key), "{section}.{key}");
        }
        for (key, _) in unset {
            assert!(expected.get(key).is_none_or(Value::is_null), "{section}.{key} has a default");
        }
        if examples.iter().any(|(table, _)| *table == section) {
            seen += 1;
            let own = |key: &str| EXAMPLES.iter().any(|(t, _)| *t == format!("{section}.{key}"));
            for (key, value) in expected {
                let told = shown.get(key).is_some() || value.is_null() || own(key);
                assert!(told, "{section}.{key} is not in {FILE}");
            }
        }
    }
    assert_eq!(seen, EXAMPLES.len(), "each table that is commented out, once");
}

#[test]
fn every_line_that_is_commented_out_is_a_key_the_code_knows() {
    // A commented line that starts a table or sets a key is taken in, one table at a time, with a
    // value that is wrong for nearly all: that is no matter here, but the key must be known.
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

/// The commented `key = value` lines of each table.
fn commented(text: &str) -> BTreeMap<String, Vec<&str>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if bare.starts_with('[') {
            bare.trim_matches(|c| c == '[' || c == ']').clone_into(&mut section);
        } else if bare.len() < line.len() && !bare.starts_with(' ') && !bare.is_empty() {
            found.entry(section.clone()).or_default().push(bare);
        }
    }
    found
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
