//! The known word a mistyped one was probably meant to be.

/// The entry of `known` nearest to `word`, when it is near enough to be worth saying.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |s: &str| s.replace(['-', '_'], "").to_lowercase();
    let wanted = plain(word);
    let (near, steps) =
        known.iter().map(|k| (*k, distance(&wanted, &plain(k)))).min_by_key(|(_, d)| *d)?;
    (steps <= 1 + wanted.chars().count() / 4).then_some(near)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(&b) {
            let here = (diagonal + usize::from(left != *right)).min(before + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = here;
            before = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn words_are_as_far_apart_as_edits() {
        for (a, b, steps) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "a", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (steps, steps), "{a} {b}");
        }
    }

    #[test]
    fn a_slip_is_mended_and_a_stranger_is_not() {
        let known = ["server_max", "client_max", "queue_timeout"];
        assert_eq!(nearest("serverMax", &known), Some("server_max"));
        assert_eq!(nearest("queue_timeuot", &known), Some("queue_timeout"));
        assert_eq!(nearest("colour", &known), None);
    }
}
