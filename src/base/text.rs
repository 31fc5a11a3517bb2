//! Numbers, counts and plain tables for output.

use comfy_table::{ContentArrangement, TableComponent, presets};

/// `943 users (3,717 user-fold pairs)`: users, and pairs of a user and a fold if there are more.
pub fn users_text(n_users: usize, n_pairs: usize) -> String {
    let users = if n_users == 1 { "user" } else { "users" };
    let pairs = match n_pairs == n_users {
        true => String::new(),
        false => format!(" ({} user-fold pairs)", grouped(n_pairs)),
    };
    format!("{} {users}{pairs}", grouped(n_users))
}

/// `3,717`
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table with lines only under its header.
pub fn plain_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.remove_style(TableComponent::HorizontalLines);
    table.remove_style(TableComponent::MiddleIntersections);
    table.remove_style(TableComponent::LeftBorderIntersections);
    table.remove_style(TableComponent::RightBorderIntersections);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Distinct values in the order of their first occurrence.
pub fn distinct(values: impl Iterator<Item = impl AsRef<str>>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        // Neighbours are often equal, so the last value is compared first.
        if !seen.iter().rev().any(|known| known == value.as_ref()) {
            seen.push(value.as_ref().to_owned());
        }
    }
    seen
}

/// A text in lines of at most `width` characters, broken at spaces, behind punctuation, or where there is neither
/// anywhere.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for whole in text.split('\n') {
        let mut rest: Vec<char> = whole.chars().collect();
        while rest.len() > width.max(1) {
            let within = &rest[..width.max(1)];
            let is_space = |at: &usize| rest[*at] == ' ';
            let space = (1..=within.len()).rev().find(is_space);
            let mark = (1..=within.len()).rev().find(|at| ",;])/".contains(within[at - 1]));
            let end = space.or(mark).unwrap_or(within.len());
            lines.push(rest[..end].iter().collect());
            let skipped = usize::from(rest[end] == ' ');
            rest.drain(..end + skipped);
        }
        lines.push(rest.into_iter().collect());
    }
    lines
}

/// A word as a shell reads it: in quotes, unless all characters mean themselves.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// `1 trial`, `2 trials`, `1,000 trials`
pub fn counted(n: usize, one: &str) -> String {
    format!("{} {one}{}", grouped(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_spaces_then_behind_punctuation() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("gat[a=1,b=2]", 8), ["gat[a=1,", "b=2]"]);
        assert_eq!(wrapped("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrapped("ab\ncd", 4), ["ab", "cd"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("ab", 0), ["a", "b"]);
    }
}
