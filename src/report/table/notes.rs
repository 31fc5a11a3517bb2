//! Notes under a table: basis of its numbers, and what is not comparable.

use super::{NShown, Row, Selection, Spread, is_unranked};
use crate::{
    analysis::{Bootstrap, FEW_UNITS, FEWEST_UNITS, LEVEL, MEAN, ResultRow, few_users},
    base::text::{distinct, grouped, users_text},
    ranking::{Convention, Metric, Protocol, Ties},
};

/// One sentence.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub text: String,
    /// Whether it explains ±.
    pub is_of_spread: bool,
    /// Whether it explains intervals.
    pub is_of_intervals: bool,
    /// Whether a paper says it elsewhere: rules that hold for all of its numbers.
    pub is_detail: bool,
}

impl Note {
    pub fn plain(text: String) -> Self {
        Self { text, is_of_spread: false, is_of_intervals: false, is_detail: false }
    }

    pub fn detail(text: String) -> Self {
        Self { is_detail: true, ..Self::plain(text) }
    }
}

/// The rows of a table.
pub(super) struct RestsOn<'a> {
    pub selections: &'a [Selection],
    pub chosen: &'a [&'a ResultRow],
    /// All rows, those of single folds and seeds too.
    pub all: &'a [ResultRow],
    pub spread: Spread,
}

impl RestsOn<'_> {
    pub fn notes(
        &self,
        rows: &[Row],
        n_shown: NShown,
        counts: &[Vec<(usize, usize)>],
    ) -> Vec<Note> {
        let (folds, seeds) = self.folds_and_seeds();
        let mut first = self.means(&folds, &seeds);
        if rows.iter().flat_map(|row| &row.cells).any(|cell| cell.best) {
            first.push_str(" * best.");
        }
        let mut notes = vec![Note::plain(first)];
        let of_spread = self.of_spread(&folds, &seeds);
        notes.extend(of_spread.map(|text| Note { is_of_spread: true, ..Note::plain(text) }));
        notes.extend(self.others(n_shown, counts, &folds, &seeds));
        notes
    }

    /// Folds of the systems shown; seeds of those that a seed changes.
    fn folds_and_seeds(&self) -> (Vec<String>, Vec<String>) {
        let systems = distinct(self.chosen.iter().map(|row| row.system.as_str()));
        let fold = &self.selections[0].fold;
        let single = || {
            self.all.iter().filter(|row| {
                row.fold != MEAN
                    && row.seed != MEAN
                    && (fold == MEAN || *fold == row.fold)
                    && systems.contains(&row.system)
            })
        };
        let seeded = single().filter(|row| row.is_seeded);
        (
            distinct(single().map(|row| row.fold.as_str())),
            distinct(seeded.map(|row| row.seed.as_str())),
        )
    }

    /// `Mean over 5 folds (u1, u2, u3, u4, u5) and 3 seeds (1, 2, 3).`
    fn means(&self, folds: &[String], seeds: &[String]) -> String {
        let (of_folds, of_seeds) = (folds.join(", "), seeds.join(", "));
        let mut text = match (folds.len(), seeds.len()) {
            (0 | 1, 0) => "One fold".to_owned(),
            (0 | 1, 1) => format!("One fold, seed {of_seeds}"),
            (0 | 1, n) => format!("One fold, mean over {n} seeds ({of_seeds})"),
            (n, 0) => format!("Mean over {n} folds ({of_folds})"),
            (n, 1) => format!("Mean over {n} folds ({of_folds}), seed {of_seeds}"),
            (n, m) => format!("Mean over {n} folds ({of_folds}) and {m} seeds ({of_seeds})"),
        };
        if seeds.len() > 1 && self.chosen.iter().any(|row| !row.is_seeded) {
            text.push_str("; systems without a random seed: one run per fold");
        }
        text + "."
    }

    fn of_spread(&self, folds: &[String], seeds: &[String]) -> Option<String> {
        let has =
            |sd: fn(&ResultRow) -> Option<f64>| self.chosen.iter().any(|row| sd(row).is_some());
        let over = match self.spread {
            Spread::Folds if has(|row| row.sd_folds) => {
                let of_seeds = if seeds.len() > 1 { " (of means over seeds)" } else { "" };
                format!("the {} folds{of_seeds}", folds.len())
            }
            Spread::Seeds if has(|row| row.sd_seeds) && folds.len() > 1 => {
                format!("seeds within a fold, pooled over the {} folds", folds.len())
            }
            Spread::Seeds if has(|row| row.sd_seeds) => format!("the {} seeds", seeds.len()),
            _ => return None,
        };
        Some(format!("±: sample standard deviation over {over}."))
    }

    /// Explains intervals, and names rows with too few users.
    fn of_intervals(&self, folds: &[String], seeds: &[String]) -> Vec<String> {
        let mut notes = Vec::new();
        if self.chosen.iter().any(|row| row.low.is_some()) {
            let Bootstrap { resamples, seed } = Bootstrap::default();
            let (once, not_in_it) = match (folds.len() > 1, seeds.len() > 1) {
                (true, true) => (", each drawn once for all folds and seeds", "splits and seeds"),
                (true, false) => (", each drawn once for all folds", "splits"),
                (false, true) => (", each drawn once for all seeds", "splits and seeds"),
                (false, false) => ("", "splits"),
            };
            notes.push(format!(
                "[low, high]: {:.0} % interval of the mean, {resamples} bootstrap resamples of the users{once} \
                 (random seed {seed}); it does not include the variation over {not_in_it}.",
                100.0 * LEVEL
            ));
        }
        let of = |is: &dyn Fn(&ResultRow) -> bool| {
            let rows = self.chosen.iter().filter(|row| is(row));
            distinct(rows.map(|row| {
                format!("slice {} ({})", row.slice, users_text(row.n_users, row.n_users))
            }))
        };
        let few = of(&|row| row.low.is_some() && row.n_users < FEW_UNITS);
        notes.extend(few_users(&few).map(|text| format!("Warning: {text}.")));
        let none = of(&|row| row.interval_asked && (1..FEWEST_UNITS).contains(&row.n_users));
        if !none.is_empty() {
            notes.push(format!(
                "No interval over fewer than {FEWEST_UNITS} users: {}.",
                none.join(", ")
            ));
        }
        notes
    }

    /// What is not comparable, and the numbers of users.
    fn others(
        &self,
        n_shown: NShown,
        counts: &[Vec<(usize, usize)>],
        folds: &[String],
        seeds: &[String],
    ) -> Vec<Note> {
        let &Self { selections, chosen, all, .. } = self;
        let mut notes = Vec::new();
        let knows = chosen.iter().filter(|row| row.knows_test);
        let oracles = distinct(knows.map(|row| row.system.as_str()));
        if !oracles.is_empty() {
            notes
                .push(format!("Uses the test part, so never marked best: {}.", oracles.join(", ")));
        }
        let unanswered = chosen.iter().filter(|row| row.lacks_responses);
        let unanswered = distinct(unanswered.map(|row| row.system.as_str()));
        if !unanswered.is_empty() {
            notes.push(format!(
                "No response could be used, so the lists are the base's, never marked best: {}.",
                unanswered.join(", ")
            ));
        }
        notes.extend(of_unbounded(chosen));
        if selections.iter().any(|of| of.protocol == Protocol::Sampled.name()) {
            notes.push(
                "Protocol `sampled`: inconsistent with the ranking of all items; it may order systems otherwise \
                 (Krichene and Rendle 2020)."
                    .into(),
            );
        }
        for from in distinct(chosen.iter().filter_map(|row| row.learns_from.as_deref())) {
            let rows = chosen.iter().filter(|row| row.learns_from.as_deref() == Some(&from[..]));
            let systems = distinct(rows.map(|row| row.system.as_str()));
            notes.push(format!("Trained on {from}: {}.", systems.join(", ")));
        }
        let partly =
            |row: &&&ResultRow| row.own_lists_of.as_ref().is_some_and(|of| *of != row.slice);
        let of =
            distinct(chosen.iter().filter(partly).filter_map(|row| row.own_lists_of.as_deref()));
        for slice in of {
            let rows = chosen
                .iter()
                .filter(partly)
                .filter(|row| row.own_lists_of.as_ref() == Some(&slice));
            let systems = distinct(rows.map(|row| row.system.as_str()));
            notes.push(format!(
                "Reranked only for users of the slice `{slice}`, otherwise lists of the base: {}.",
                systems.join(", ")
            ));
        }
        let mut notes: Vec<Note> = notes.into_iter().map(Note::plain).collect();
        let of_intervals = self.of_intervals(folds, seeds).into_iter();
        notes.extend(of_intervals.map(|text| Note { is_of_intervals: true, ..Note::plain(text) }));
        let has_pairs = chosen.iter().any(|row| row.n_pairs != row.n_users);
        let mut add = |text: String| notes.push(Note::plain(text));
        match (n_shown, counts.iter().flatten().next()) {
            (NShown::Cell, _) => add(format!(
                "The means of a row are over different users; in parentheses: {}.",
                if has_pairs { "users; user-fold pairs" } else { "number of users" }
            )),
            (NShown::Note, Some((n_users, n_pairs))) => {
                add(format!("n = {}.", users_text(*n_users, *n_pairs)));
            }
            (NShown::Column, _) if has_pairs => {
                add("n: users; n pairs: user-fold pairs.".into());
            }
            _ => {}
        }
        let unranked = |row: &&&ResultRow| is_unranked(&row.metric);
        let mut lists: Vec<(usize, usize)> =
            chosen.iter().filter(unranked).map(|row| (row.n_users, row.n_pairs)).collect();
        lists.dedup();
        if let [of] = &lists[..]
            && n_shown == NShown::Note
            && counts.iter().flatten().next().is_none_or(|users| users != of)
        {
            let metrics = distinct(chosen.iter().filter(unranked).map(|row| row.metric.as_str()));
            let titles: Vec<String> =
                metrics.iter().map(|name| super::metric_title(name, None)).collect();
            let lists = grouped(of.1);
            add(format!(
                "{}: computed over {lists} lists of {}.",
                titles.join(", "),
                users_text(of.0, of.0)
            ));
        }
        if selections[0].fold == MEAN
            && let Some(text) = of_folds(chosen, all)
        {
            add(text);
        }
        notes.extend(super::caveats::of(chosen));
        let mut rules = distinct(chosen.iter().map(|row| row.basis.ties.as_str()));
        rules.retain(|rule| !rule.is_empty());
        let ties = if rules.is_empty() { Ties::default().rule() } else { rules.join(" or ") };
        // Selections differ by what they are; within one, all must rest on the same.
        let mixed = selections.iter().find_map(|selection| {
            let rows = chosen.iter().filter(|row| selection.holds(row));
            let fingerprints = distinct(rows.map(|row| row.fingerprint.as_str()));
            (fingerprints.len() > 1).then_some(fingerprints)
        });
        let fingerprints = distinct(chosen.iter().map(|row| row.fingerprint.as_str()));
        if let Some(mixed) = mixed {
            notes.push(Note::plain(format!(
                "These numbers are not comparable: they are based on different data, splits or rules \
                 (fingerprints {}).",
                mixed.join(", ")
            )));
        } else if let [fingerprint] = &fingerprints[..] {
            notes.push(Note::detail(format!("Ties: {ties}. Fingerprint {fingerprint}.")));
        } else {
            notes.push(Note::detail(format!("Ties: {ties}.")));
        }
        notes
    }
}

/// Means for which the oracle is not an upper bound.
fn of_unbounded(chosen: &[&ResultRow]) -> Vec<String> {
    let named = |row: &&&ResultRow| {
        Some((row.convention.parse::<Convention>().ok()?, row.metric.parse::<Metric>().ok()?))
    };
    let unbounded = |row: &&&ResultRow| {
        row.knows_test
            && named(row).is_some_and(|(convention, metric)| {
                convention.mixes_users() && !convention.bounded_by_oracle(metric)
            })
    };
    let rows = || chosen.iter().filter(unbounded);
    distinct(rows().map(|row| row.convention.as_str()))
        .into_iter()
        .map(|convention| {
            let of = rows().filter(|row| row.convention == convention);
            let metrics = distinct(of.map(|row| row.metric.as_str()));
            format!(
                "Under {convention} the oracle is not an upper bound of {}: users without a hit in the list (for \
                 ndcg: without a judged item) are excluded from the mean, so lists without hits can raise it.",
                metrics.join(", ")
            )
        })
        .collect()
}

/// Systems whose means are over fewer folds.
fn of_folds(chosen: &[&ResultRow], all: &[ResultRow]) -> Option<String> {
    let folds = |system: &str| {
        let rows = all.iter().filter(|row| row.system == system && row.fold != MEAN);
        distinct(rows.map(|row| row.fold.as_str()))
    };
    let systems = distinct(chosen.iter().map(|row| row.system.as_str()));
    let of: Vec<Vec<String>> = systems.iter().map(|system| folds(system)).collect();
    let most = of.iter().map(Vec::len).max()?;
    let fewer: Vec<String> = systems
        .iter()
        .zip(&of)
        .filter(|(_, folds)| folds.len() < most)
        .map(|(system, folds)| format!("{system} ({})", folds.join(", ")))
        .collect();
    (!fewer.is_empty()).then(|| {
        format!(
            "The means are over different folds, so rows are not comparable: {} only. `--fold` shows \
             one fold.",
            fewer.join("; ")
        )
    })
}
