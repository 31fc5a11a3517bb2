//! Notes on what affects a table's numbers besides the systems: the relevance rule, users without history, ties.

use super::{distinct, is_unranked, notes::Note};
use crate::{analysis::ResultRow, ranking::ties};

/// Notes for a table.
pub(super) fn of(chosen: &[&ResultRow]) -> Vec<Note> {
    let all = |of: fn(&ResultRow) -> &str| -> Vec<String> {
        let mut texts = distinct(chosen.iter().map(|row| of(row)));
        texts.retain(|text| !text.is_empty());
        texts
    };
    let mut notes: Vec<Note> = all(|row| &row.basis.filter)
        .iter()
        .map(|of| Note::detail(format!("Filtered before the split: {of}.")))
        .collect();
    let rules = all(|row| &row.basis.relevant);
    notes.extend(rules.iter().map(|rule| Note::detail(format!("Relevant: {rule}."))));
    notes.extend(all(|row| &row.basis.split).into_iter().map(Note::detail));
    notes.extend(of_history(chosen, &all(|row| &row.basis.fallback)).map(Note::plain));
    notes.extend(of_ties(chosen).map(Note::detail));
    notes
}

fn percent(part: usize, of: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / of.max(1) as f64)
}

/// Number of users without history, and what they are recommended.
fn of_history(chosen: &[&ResultRow], fallbacks: &[String]) -> Option<String> {
    let most = chosen.iter().max_by_key(|row| row.caveats.users_without_history)?;
    let (without, users) = (most.caveats.users_without_history, most.caveats.users);
    (without > 0).then(|| {
        let told = match fallbacks {
            [] => String::new(),
            known => format!(" ({})", known.join("; ")),
        };
        // Over several folds they are pairs of a user and a fold.
        let units = if most.n_pairs == most.n_users { "users" } else { "user-fold pairs" };
        format!(
            "{without} of {users} {units} ({}) have no rating in the training part{told}; see the slices \
             `history` and `no-history`.",
            percent(without, users)
        )
    })
}

/// Systems whose lists are decided by ties for over 5 % of the users.
fn of_ties(chosen: &[&ResultRow]) -> Option<String> {
    let tied = |row: &&&ResultRow| {
        row.caveats.tied_share() > ties::TELLING_SHARE && !is_unranked(&row.metric)
    };
    let mut lists: Vec<(String, Vec<String>)> = Vec::new();
    for row in chosen.iter().filter(tied) {
        let Some(random) = row.caveats.random_ties else { continue };
        let whose = format!(
            "{} ({}, {}, k = {}: {})",
            row.system,
            row.protocol,
            row.slice,
            row.k,
            percent(row.caveats.tied_users, row.caveats.users)
        );
        let value = format!("{} {random:.4}", super::metric_title(&row.metric, None));
        match lists.iter_mut().find(|(known, _)| *known == whose) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => lists.push((whose, vec![value])),
        }
    }
    let told: Vec<String> =
        lists.iter().map(|(whose, values)| format!("{whose} {}", values.join(", "))).collect();
    (!told.is_empty()).then(|| {
        format!(
            "Share of users for whom ties decide which items are within the cutoff, and the values with ties in \
             random order (seed {}): {}.",
            ties::SEED,
            told.join("; ")
        )
    })
}
