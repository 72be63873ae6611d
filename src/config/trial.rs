//! Typing what was set, without letting one bad value hide another.
//!
//! The whole is tried; what fails is noted, taken out, and the rest is tried again. So every leaf
//! is judged, and a valid rest is judged together.

use std::fs;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::Problem;
use super::leaf::{Leaf, assemble};
use super::nearest::nearest;

/// More problems than anybody reads at once; a bound on the trials.
const PROBLEMS_MAX: usize = 200;

/// Types `all`, adding what is wrong to `problems`. What it returns is complete when nothing was.
pub(super) fn settle<T>(mut all: Vec<Leaf>, problems: &mut Vec<Problem>) -> T
where
    T: DeserializeOwned + Default,
{
    let mut removed: Vec<Vec<String>> = Vec::new();
    let mut found = 0;
    // To read a value again or a secret's file is no problem, and comes to an end by itself: each
    // is read once.
    while found < PROBLEMS_MAX {
        let error = match Value::from(assemble(&all)).deserialize::<T>() {
            Ok(config) => return config,
            Err(error) => error,
        };
        let mut path = error.path.clone();
        if let Kind::UnknownField(name, _) = &error.kind
            && path.last() != Some(name)
        {
            path.push(name.clone());
        }
        let Some(index) = culprit(&all, &path) else {
            problems.push(homeless(&error));
            return T::default();
        };
        if reread(&mut all, index, &path, &error.kind) {
            continue;
        }
        if let Kind::UnknownField(name, known) = &error.kind
            && let Some(base) = name.strip_suffix("_file").filter(|b| known.contains(b))
        {
            if let Err(text) = read_secret(&mut all, index, &path, base) {
                problems.extend(all.get(index).map(|leaf| leaf.problem(&path, text)));
                remove(&mut all, &path);
                found += 1;
            }
            continue;
        }
        let mut about = path.clone();
        if let Kind::MissingField(field) = &error.kind {
            about.push(field.to_string());
        }
        let Some(leaf) = all.get(index) else { break };
        let shown = leaf.shown(&about);
        // A key that was taken out because it was wrong is not reported once more as missing.
        if !removed.contains(&shown) {
            problems.push(leaf.problem(&about, say(&error.kind, &path)));
        }
        remove(&mut all, &path);
        removed.push(shown);
        found += 1;
    }
    T::default()
}

/// The leaf an error at `path` is about: the one it lies in, or the first that lies in it.
fn culprit(all: &[Leaf], path: &[String]) -> Option<usize> {
    let holds = |leaf: &Leaf| path.starts_with(&leaf.path);
    let within = |leaf: &Leaf| !path.is_empty() && leaf.path.starts_with(path);
    all.iter().position(holds).or_else(|| all.iter().position(within))
}

/// A value from a shell that was read as a number or the like, and was meant as a word.
fn reread(all: &mut [Leaf], index: usize, path: &[String], kind: &Kind) -> bool {
    let Some(leaf) = all.get_mut(index) else { return false };
    let fits = leaf.path == path && !matches!(kind, Kind::UnknownField(..));
    let Some(raw) = leaf.raw.take_if(|_| fits) else { return false };
    let was_word = leaf.value.as_str().is_some_and(|word| word == raw);
    leaf.value = Value::from(raw);
    !was_word
}

/// Replaces `x_file = "path"` by `x` with what the file holds, less the newline at its end.
fn read_secret(
    all: &mut Vec<Leaf>,
    index: usize,
    path: &[String],
    base: &str,
) -> Result<(), String> {
    let mut target = path.to_vec();
    target.pop();
    target.push(base.to_owned());
    if all.iter().any(|leaf| find(leaf, &target).is_some()) {
        return Err(format!("`{base}` is set as well: one of the two is enough"));
    }
    let leaf = all.get(index).ok_or("lost")?;
    let file = find(leaf, path).and_then(|v| v.as_str().map(str::to_owned));
    let file = file.ok_or("should be the path of a file")?;
    let text = fs::read_to_string(&file).map_err(|e| format!("cannot read `{file}`: {e}"))?;
    let secret = Value::from(text.trim_end_matches(['\n', '\r']));
    let mut leaf = leaf.clone();
    leaf.raw = None;
    if leaf.path == path {
        leaf.path = target;
        leaf.value = secret;
    } else if let Some(dict) = parent(&mut leaf, path) {
        dict.remove(path.last().map_or("", String::as_str));
        dict.insert(base.to_owned(), secret);
    }
    all.splice(index..=index, [leaf]);
    Ok(())
}

/// Takes out everything at `path`: leaves, or a part of an array.
fn remove(all: &mut Vec<Leaf>, path: &[String]) {
    all.retain(|leaf| !leaf.path.starts_with(path));
    for leaf in all.iter_mut().filter(|leaf| path.starts_with(&leaf.path)) {
        let last = path.last().map_or("", String::as_str);
        if parent(leaf, path).is_some_and(|dict| dict.remove(last).is_some()) {
            continue;
        }
        let element = path.get(leaf.path.len()).and_then(|part| part.parse().ok());
        if !element.is_some_and(|index| leaf.drop_element(index)) {
            leaf.value = Value::from(Vec::<Value>::new());
        }
    }
}

/// The value at `path`, when it lies in this leaf.
fn find<'a>(leaf: &'a Leaf, path: &[String]) -> Option<&'a Value> {
    let mut value = &leaf.value;
    for part in path.strip_prefix(leaf.path.as_slice())? {
        value = match value {
            Value::Dict(_, dict) => dict.get(part)?,
            Value::Array(_, items) => items.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// The table within this leaf that holds the last part of `path`.
fn parent<'a>(leaf: &'a mut Leaf, path: &[String]) -> Option<&'a mut Dict> {
    let (_, above) = path.strip_prefix(leaf.path.as_slice())?.split_last()?;
    let mut value = &mut leaf.value;
    for part in above {
        value = match value {
            Value::Dict(_, dict) => dict.get_mut(part)?,
            Value::Array(_, items) => items.get_mut(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    match value {
        Value::Dict(_, dict) => Some(dict),
        _ => None,
    }
}

/// The error in an operator's words.
fn say(kind: &Kind, path: &[String]) -> String {
    match kind {
        Kind::UnknownField(name, known) => {
            let (_, above) = path.split_last().unwrap_or((name, &[]));
            let dotted = |key: &str| {
                let mut whole = above.to_vec();
                whole.push(key.to_owned());
                whole.join(".")
            };
            match nearest(name, known) {
                Some(near) => format!("unknown key; did you mean `{}`?", dotted(near)),
                None => format!("unknown key; known here: {}", known.join(", ")),
            }
        }
        Kind::UnknownVariant(word, known) => {
            let near = nearest(word, known).map(|n| format!("; did you mean `{n}`?"));
            format!("`{word}` is not one of {}{}", known.join(", "), near.unwrap_or_default())
        }
        Kind::MissingField(_) => "missing".to_owned(),
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("found {}, expected {expected}", type_of(actual))
        }
        other => other.to_string(),
    }
}

/// What was found, without its value: that may be a secret.
fn type_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "boolean",
        Actual::Unsigned(_) | Actual::Signed(_) => "integer",
        Actual::Float(_) => "float",
        Actual::Char(_) | Actual::Str(_) => "string",
        Actual::Seq => "array",
        Actual::Map => "table",
        _ => "something else",
    }
}

/// An error that belongs to no value anybody set: a default of ours would have to be wrong.
fn homeless(error: &figment::Error) -> Problem {
    Problem {
        place: "configuration".to_owned(),
        key: error.path.join("."),
        text: error.kind.to_string(),
        is_usage: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::super::Sources;
    use super::*;
    use crate::units::{Secret, Span};

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Whole {
        pool: Pool,
        plans: HashMap<String, Pool>,
        issuers: Vec<Issuer>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Pool {
        server_max: Option<u32>,
        queue_timeout: Span,
        password: Secret,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Issuer {
        name: String,
        #[serde(default)]
        secret: Secret,
        #[serde(default)]
        leeway: Span,
    }

    fn load(file: &str, env: &[(&str, &str)], set: &[&str]) -> Result<Whole, Vec<String>> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pgusher.toml");
        fs::write(&path, file).expect("writes");
        let sources = Sources {
            file: Some(path.clone()),
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            set: set.iter().map(|s| (*s).to_owned()).collect(),
        };
        let mut problems = Vec::new();
        let all = sources.leaves(&mut problems);
        let whole = settle(all, &mut problems);
        if problems.is_empty() {
            return Ok(whole);
        }
        let name = path.display().to_string();
        Err(problems.iter().map(|p| p.to_string().replace(&name, "FILE")).collect())
    }

    #[test]
    fn the_file_gives_way_to_the_environment_and_that_to_the_command_line() {
        let file = "[pool]\nserver_max = 1\nqueue_timeout = '1s'\npassword = 'file'";
        let env = [
            ("PGUSHER_POOL__SERVER_MAX", "2"),
            ("PGUSHER_POOL__PASSWORD", "0042"),
            ("PGUSHER_PORT", "tcp://10.0.0.1:6432"),
        ];
        let whole = load(file, &env, &["pool.server_max=3", "plans.gold.server_max=9"]);
        let whole = whole.expect("good");
        assert_eq!(whole.pool.server_max, Some(3));
        assert_eq!(whole.pool.queue_timeout, Span::secs(1));
        assert_eq!(whole.pool.password.expose(), "0042", "a number that is meant as a word");
        assert_eq!(whole.plans["gold"].server_max, Some(9));
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_place_and_its_key() {
        let file = "
            [pool]
            server_max = 'many'
            queue_timeuot = '1s'
            [plans.gold]
            queue_timeout = '5 parsecs'
            [[issuers]]
            leeway = '1s'
            [[issuers]]
            name = 'a'
            leeway = 'x'
            secrte = 'y'
            [[issuers]]
            name = 7
        ";
        let env = [("PGUSHER_POOL__QUEUE_TIMEOUT", "soon"), ("PGUSHER_POLL__X", "1")];
        let found = load(file, &env, &["plans.gold.server_max=-1"]).expect_err("bad");
        for (place, key, text) in [
            ("FILE", "pool.server_max", "found string"),
            ("FILE", "pool.queue_timeuot", "did you mean `pool.queue_timeout`"),
            ("FILE", "plans.gold.queue_timeout", "5 parsecs"),
            ("FILE", "issuers.0.name", "missing"),
            ("FILE", "issuers.1.leeway", "`x` is not a duration"),
            ("FILE", "issuers.1.secrte", "did you mean"),
            ("FILE", "issuers.2.name", "found"),
            ("$PGUSHER_POOL__QUEUE_TIMEOUT", "pool.queue_timeout", "`soon`"),
            ("$PGUSHER_POLL__X", "poll", "did you mean `pool`"),
            ("--set", "plans.gold.server_max", ""),
        ] {
            let start = format!("{place}: {key}: ");
            let hit = found.iter().find(|f| f.starts_with(&start) && f.contains(text));
            assert!(hit.is_some(), "{start}…{text} is not in {found:#?}");
        }
        assert_eq!(found.len(), 10, "{found:#?}");
    }

    #[test]
    fn a_secret_may_lie_in_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let secret = dir.path().join("secret");
        fs::write(&secret, "hush\n").expect("writes");
        let at = secret.display();
        let file = format!(
            "[pool]\npassword_file = '{at}'\n[[issuers]]\nname = 'a'\nsecret_file = '{at}'"
        );
        let whole = load(&file, &[], &[]).expect("good");
        assert_eq!(whole.pool.password.expose(), "hush");
        let issuer = &whole.issuers[0];
        assert_eq!((&*issuer.name, issuer.leeway), ("a", Span::default()));
        assert_eq!(issuer.secret.expose(), "hush");
        let found = load("[pool]\npassword_file = '/nowhere'", &[], &["pool.password=x"]);
        assert!(found.expect_err("both")[0].contains("one of the two"));
        let found = load("[pool]\npassword_file = '/nowhere'", &[], &[]).expect_err("no file");
        assert!(found[0].starts_with("FILE: pool.password_file: cannot read"), "{found:?}");
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_problem_does_not_show_the_value() {
        for (file, value) in [
            ("[pool]\npassword = hush-hush", "hush"),
            ("[pool]\npassword = 'hush-hush", "hush"),
            ("[pool]\npassword = 987654321", "987654321"),
            ("[pool]\npassword = [ 'hush-hush' ]", "hush"),
        ] {
            let found = load(file, &[], &[]).expect_err("bad");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(!found[0].contains(value), "{file}: {found:?}");
        }
        let broken = load("[pool]\npassword = hush-hush", &[], &[]).expect_err("bad");
        assert!(
            broken[0].starts_with("FILE: TOML parse error at line 2, column 12: "),
            "{broken:?}"
        );
        assert!(broken[0].contains("string"), "toml's own words: {broken:?}");
        let found = load("", &[], &["pool.=hush-hush"]).expect_err("bad");
        assert_eq!(found, ["--set: `pool.` is not section.key=value"]);
        let found = load("[pool]\npassword = 987654321", &[], &[]).expect_err("bad");
        assert_eq!(found[0], "FILE: pool.password: found integer, expected a string");
    }

    #[test]
    fn secrets_in_files_are_not_counted_among_the_problems() {
        let dir = tempfile::tempdir().expect("a directory");
        let secret = dir.path().join("secret");
        fs::write(&secret, "hush\n").expect("writes");
        let at = secret.display();
        let issuer = |n| format!("[[issuers]]\nname = 'i{n}'\nsecret_file = '{at}'\n");
        let file: String = (0..=PROBLEMS_MAX).map(issuer).collect();
        let whole = load(&file, &[], &[]).expect("good");
        assert_eq!(whole.issuers.len(), PROBLEMS_MAX + 1);
        assert!(whole.issuers.iter().all(|issuer| issuer.secret.expose() == "hush"));
    }

    #[test]
    fn a_file_that_is_not_toml_and_an_argument_that_is_no_assignment_are_named() {
        let found = load("[pool", &[], &["pool.server_max"]).expect_err("bad");
        assert!(found[0].starts_with("FILE: "), "{found:?}");
        assert!(found[1].starts_with("--set: `pool.server_max` is not"), "{found:?}");
    }
}
