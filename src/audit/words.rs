//! Numbers and names in messages.

/// `17.3 %`
pub fn percent(part: usize, whole: usize) -> String {
    share(part as f64 / whole.max(1) as f64)
}

/// `17.3 %`
pub fn share(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The first of some names, and how many more there are.
pub fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}
