//! Whether differences are more than chance.

pub mod best_within_noise;
pub mod claims_underpowered;
pub mod different_users;
pub mod few_users;
pub mod single_fold;
pub mod single_seed;
pub mod too_few_folds;
pub mod uncorrected_comparisons;

pub(super) use crate::analysis::ALPHA;

use super::{
    Subject,
    columns::{Arm, Column},
};

/// Share of true differences that a detectable difference is found in.
pub(super) const POWER: f64 = 0.8;

/// The system that a table is about, and those that it is compared with: the best of the proposed systems and all
/// others, or where none is named the best and all others. Oracles are in neither.
pub(super) fn contenders<'a, 'b>(
    subject: &Subject<'a>,
    arms: &'b [Arm<'a>],
    column: &Column,
) -> Option<(&'b Arm<'a>, Vec<&'b Arm<'a>>)> {
    let all: Vec<&Arm> = arms.iter().filter(|arm| !arm.record.knows_test).collect();
    let proposed: Vec<&Arm> =
        all.iter().filter(|arm| subject.is_proposed(arm.name) == Some(true)).copied().collect();
    // Where what is proposed has no result here, nothing is claimed.
    let first = match subject.experiment.audit.proposed.is_empty() {
        true => subject.best(&all, column)?,
        false => subject.best(&proposed, column)?,
    };
    let others = all
        .into_iter()
        .filter(|arm| arm.name != first.name && !proposed.iter().any(|of| of.name == arm.name));
    Some((first, others.collect()))
}

/// A p-value in a sentence.
pub(super) fn p_text(p: f64) -> String {
    if p < 1e-4 { "p < .0001".into() } else { format!("p = {p:.4}") }
}

/// The first of some texts, and how many more there are.
pub(super) fn listed(texts: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = texts.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match texts.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
