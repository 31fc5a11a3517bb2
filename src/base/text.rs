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

/// `1 trial`, `2 trials`, `1,000 trials`
pub fn counted(n: usize, one: &str) -> String {
    format!("{} {one}{}", grouped(n), if n == 1 { "" } else { "s" })
}
