//! The architecture, held by a test: the map in `src/lib.rs` is the order in which rooms may use
//! one another, and what must be absent is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The layer from which on the environment and the configuration file may be read.
const COMPOSITION: usize = 8;

/// Lines in a file, unless its header says `Long because: …`.
const LINES_MAX: usize = 400;

/// A source file without its comments, its strings and its tests.
struct Source {
    path: PathBuf,
    room: String,
    whole: String,
    code: String,
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let layers = layers();
    let mut wrong = Vec::new();
    for source in sources() {
        // The binary and the map itself.
        let Some(own) = layers.get(&source.room) else { continue };
        for used in paths_into_rooms(&source.code) {
            if used == source.room {
                continue;
            }
            let Some(layer) = layers.get(&used) else {
                continue;
            };
            let composes = *own == COMPOSITION && *layer == COMPOSITION;
            // Layer 0 has no sockets and no state; its words may use one another in the order
            // of the map.
            let words = *own == 0 && *layer == 0 && position(&used) < position(&source.room);
            if layer >= own && !composes && !words {
                wrong.push(format!(
                    "{}: `{}` (layer {own}) uses `{used}` (layer {layer})",
                    source.path.display(),
                    source.room
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_stands_in_the_map_under_a_layer() {
    let layers = layers();
    for entry in std::fs::read_dir(root().join("src")).expect("reads").flatten() {
        let path = entry.path();
        if path.is_dir() {
            let name = path.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
            assert!(layers.contains_key(&name), "src/{name} is not in src/lib.rs");
        }
    }
    assert_eq!(layers.values().max(), Some(&COMPOSITION));
}

#[test]
fn no_file_is_longer_than_it_has_to_be() {
    let mut long = Vec::new();
    for source in sources().into_iter().chain(below(&root().join("tests"))) {
        let lines = source.whole.lines().count();
        let header = source.whole.lines().take_while(|l| l.starts_with("//"));
        if lines > LINES_MAX && !header.into_iter().any(|l| l.contains("Long because:")) {
            long.push(format!("{}: {lines} lines", source.path.display()));
        }
    }
    assert!(long.is_empty(), "over {LINES_MAX} lines without a reason:\n{}", long.join("\n"));
}

/// README's table of promises names every test, and none that is not there.
#[test]
fn every_test_keeps_a_promise_of_the_readme() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let table: Vec<&str> = readme.lines().filter(|line| line.starts_with("| ")).collect();
    let links = table.iter().flat_map(|line| line.split("](").skip(1));
    let named: BTreeSet<&str> = links.filter_map(|link| link.split(')').next()).collect();
    for link in &named {
        assert!(root().join(link).exists(), "README.md leads to {link}, which is not there");
    }
    for entry in std::fs::read_dir(root().join("tests")).expect("tests") {
        let name = entry.expect("entry").file_name().into_string().expect("a name");
        let link = format!("tests/{name}");
        let kept = link.strip_suffix(".rs").is_none() || named.contains(&*link);
        assert!(kept, "{link} keeps no promise of README.md's table");
    }
}

#[test]
fn nothing_below_the_composition_reads_the_environment_or_the_configuration() {
    let layers = layers();
    let mut wrong = Vec::new();
    for source in sources() {
        if layers.get(&source.room).is_none_or(|layer| *layer >= COMPOSITION) {
            continue;
        }
        let forbidden = ["env::var", "env::vars", "env::args", "std::env", "figment", "clap::"];
        for word in forbidden {
            if source.code.contains(word) {
                wrong.push(format!("{}: `{word}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_outside_tests_unwraps_or_is_left_to_do() {
    let mut wrong = Vec::new();
    for source in sources() {
        for word in [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "process::exit("] {
            if source.code.contains(word) {
                wrong.push(format!("{}: `{word}`", source.path.display()));
            }
        }
        for line in source.code.lines().filter(|line| line.contains("#[allow(")) {
            wrong.push(format!(
                "{}: `{}`: expect, with a reason",
                source.path.display(),
                line.trim()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_path_is_seen_however_it_is_written() {
    let code = "use crate::{auth, pool::{Room, Lease}};\nuse crate::wire::Frame;\n\
                fn f() { crate::net::go(); pgusher::session::x(); let crates = 1; }";
    let mut found = paths_into_rooms(code);
    found.sort();
    assert_eq!(found, ["auth", "net", "pool", "session", "wire"]);
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let text = "//! crate::auth\nlet a = \"crate::pool\"; // crate::net\nlet b = '\"'; crate::wire;\n\
                #[cfg(test)]\nmod tests { use crate::session; }\n";
    assert_eq!(paths_into_rooms(&code_of(text)), ["wire"]);
    let one = "#[cfg(test)]\nuse crate::auth;\nuse crate::wire;\n";
    assert_eq!(paths_into_rooms(&code_of(one)), ["wire"]);
}

/// The layer of each room, from the `// Layer n:` lines of `src/lib.rs`.
fn layers() -> BTreeMap<String, usize> {
    map().into_iter().collect()
}

fn position(room: &str) -> Option<usize> {
    map().iter().position(|(name, _)| name == room)
}

fn map() -> Vec<(String, usize)> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("reads");
    let mut layer = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("// Layer ") {
            layer = rest.split(':').next().and_then(|n| n.parse().ok());
        }
        if let Some(room) = line.strip_prefix("pub mod ").and_then(|r| r.strip_suffix(';')) {
            found.push((room.to_owned(), layer.expect("a layer above the first room")));
        }
    }
    found
}

/// Every room named by a path from the root of the crate.
fn paths_into_rooms(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for prefix in ["crate::", "pgusher::"] {
        for (start, _) in code.match_indices(prefix) {
            let before = code.get(..start).and_then(|c| c.chars().next_back());
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = code.get(start + prefix.len()..).unwrap_or_default();
            match rest.strip_prefix('{') {
                Some(group) => found.extend(heads_of_group(group)),
                None => found.push(word(rest)),
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The first word of each member of `a, b::{c, d}, e}`.
fn heads_of_group(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut fresh) = (0, true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && depth == 0 && !c.is_whitespace() => {
                heads.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// `text` without comments, the insides of strings, and items under `#[cfg(test)]`.
fn code_of(text: &str) -> String {
    let bare = without_comments_and_strings(text);
    let mut code = String::new();
    let mut rest = bare.as_str();
    while let Some(at) = rest.find("#[cfg(test)]") {
        code += &rest[..at];
        rest = after_item(&rest[at + "#[cfg(test)]".len()..]);
    }
    code + rest
}

/// What follows the item `text` starts with: up to its `;`, or the brace that closes it.
fn after_item(text: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 && !text[at..].starts_with("};") {
                    return &text[at + 1..];
                }
            }
            ';' if depth == 0 => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

fn without_comments_and_strings(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let at = |i: usize| letters.get(i).copied().unwrap_or('\0');
    let mut code = String::with_capacity(text.len());
    let mut i = 0;
    while i < letters.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < letters.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            ('/', '*') => {
                while i < letters.len() && (at(i), at(i + 1)) != ('*', '/') {
                    i += 1;
                }
                i += 2;
            }
            ('r', '#' | '"') if !(at(i.wrapping_sub(1)).is_alphanumeric()) => {
                let hashes = (i + 1..letters.len()).take_while(|j| at(*j) == '#').count();
                if at(i + 1 + hashes) == '"' {
                    i = raw_end(&letters, i + 2 + hashes, hashes);
                } else {
                    code.push('r');
                    i += 1;
                }
            }
            ('\'', '\\') => {
                i += 3;
                while i < letters.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            ('"', _) => {
                i += 1;
                while i < letters.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            (letter, _) => {
                code.push(letter);
                i += 1;
            }
        }
    }
    code
}

fn raw_end(letters: &[char], from: usize, hashes: usize) -> usize {
    let closes = |at: usize| {
        letters.get(at) == Some(&'"') && (1..=hashes).all(|n| letters.get(at + n) == Some(&'#'))
    };
    (from..letters.len()).find(|at| closes(*at)).map_or(letters.len(), |at| at + 1 + hashes)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    below(&root().join("src"))
}

fn below(top: &Path) -> Vec<Source> {
    let mut open = vec![top.to_path_buf()];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("reads").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(source(top, &path));
            }
        }
    }
    found
}

fn source(top: &Path, path: &Path) -> Source {
    let whole = std::fs::read_to_string(path).expect("reads");
    let inside = path.strip_prefix(top).expect("below it");
    let room = inside.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned());
    // A file under a `tests` module of its own is not part of the program.
    let is_test =
        inside.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs");
    let code = if is_test { String::new() } else { code_of(&whole) };
    Source { path: inside.to_path_buf(), room: room.unwrap_or_default(), whole, code }
}
