//! A readable difference of two transcripts.

/// `None` when equal; otherwise the first places where they part, with what stands before them.
pub fn lines(direct: &str, through: &str) -> Option<String> {
    if direct == through {
        return None;
    }
    let (a, b): (Vec<_>, Vec<_>) = (direct.lines().collect(), through.lines().collect());
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (&a[start..], &b[start..]);
    let same_tail = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(x, y)| x == y);
    let tail = same_tail.count();
    let mut text = format!("transcripts part at line {}\n", start + 1);
    for line in &a[start.saturating_sub(4)..start] {
        text += &format!("        {}\n", clip(line));
    }
    for line in rest_a[..rest_a.len() - tail].iter().take(25) {
        text += &format!("  direct {}\n", clip(line));
    }
    for line in rest_b[..rest_b.len() - tail].iter().take(25) {
        text += &format!(" through {}\n", clip(line));
    }
    Some(text)
}

fn clip(line: &str) -> String {
    line.chars().take(300).collect()
}
