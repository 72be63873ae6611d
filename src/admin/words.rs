//! From what was typed to words: `show  Pools ;` → `show`, `Pools`.

/// The most words a command may have; nobody needs more than three.
const WORDS_MAX: usize = 8;

/// Splits a command into its words. A word is letters, digits and `_`, or anything in double
/// quotes; one semicolon may end the whole. `None` for anything else, also for two commands.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim();
    rest = rest.strip_suffix(';').unwrap_or(rest).trim_end();
    let mut words = Vec::new();
    while !rest.is_empty() {
        if words.len() == WORDS_MAX {
            return None;
        }
        let (word, after) = if rest.starts_with('"') { quoted(rest)? } else { plain(rest)? };
        words.push(word);
        // A word ends at a blank.
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            return None;
        }
        rest = after.trim_start();
    }
    Some(words)
}

fn plain(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// `"a ""b"""`: a doubled quote is one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let (part, after) = rest.split_once('"')?;
        word.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                word.push('"');
                rest = more;
            }
            None => return Some((word, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_split_as_pgbouncer_does() {
        let split = |text: &str| words(text).map(|w| w.join("|"));
        assert_eq!(split(" show\tPools \n;").as_deref(), Some("show|Pools"));
        assert_eq!(split("PAUSE \"tenant_a\"").as_deref(), Some("PAUSE|tenant_a"));
        assert_eq!(split("kill \"a \"\"b\"\"\";").as_deref(), Some("kill|a \"b\""));
        for nothing in ["", ";", "  ; "] {
            assert_eq!(split(nothing).as_deref(), Some(""), "{nothing:?}");
        }
        for bad in ["show pools; kill", "a;;", "\"a", "\"a\"b", "a'b'", "set x = 1", "-- x", "é"] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
        assert_eq!(words(&"a ".repeat(9)), None);
    }
}
