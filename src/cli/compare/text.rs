//! How comparisons are shown.

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::{CliError, Compare, Compared, Comparison};
use crate::{
    analysis::{InputDifference, LEVEL, MEAN, Paired, Test, least_sign_flip_p},
    base::text::{grouped, plain_table},
    cli::{print, print_json},
    core::Better,
    tasks::metric,
};

/// Over fewer units, tests of skewed differences reject too often (docs/EVALUATION.md, by simulation).
const FEW_TO_TEST: usize = 100;

impl Compare {
    /// Prints the comparisons.
    pub(super) fn write(&self, of: &Comparison) -> Result<(), CliError> {
        match self.json {
            true => print_json(&self.to_json(of)),
            false => print(&self.text(of)),
        }
    }

    fn text(&self, of: &Comparison) -> String {
        let Comparison { compared, corrected, .. } = of;
        let mut text = String::new();
        if let Some(([first, second], inputs)) = &of.sides {
            text += &format!("{first} → {second}\n");
            match inputs.is_empty() {
                true => text += "The inputs are the same.\n",
                false => inputs
                    .iter()
                    .for_each(|of| text += &format!("  {}: {}\n", of.kind.name(), of.change)),
            }
            text.push('\n');
        }
        let mut head: Vec<String> =
            ["system", "slice", "metric", "reference", "value", "difference"]
                .map(String::from)
                .to_vec();
        head.push(format!("{:.0} % interval", 100.0 * LEVEL));
        head.extend(["p".to_owned(), "better/equal/worse".into(), "users".into()]);
        if self.margin.is_some() {
            head.push("p equal".into());
        }
        let mut table = plain_table();
        let width = head.len();
        table.set_header(head);
        for (of, p) in compared.iter().zip(corrected) {
            let paired = &of.paired;
            let [better, equal, worse] = oriented(paired);
            let mut row = vec![
                self.label(of),
                paired.slice.clone(),
                format!("{}@{}", paired.measure.metric, paired.measure.k),
                format!("{:.4}", paired.first),
                format!("{:.4}", paired.second),
                format!("{:+.4}", paired.difference()),
                paired
                    .interval
                    .map_or("–".into(), |(low, high)| format!("[{low:+.4}, {high:+.4}]")),
                p.map_or("–".into(), p_text),
                format!("{better}/{equal}/{worse}"),
                grouped(paired.n),
            ];
            if let Some(margin) = self.margin {
                let p = paired.estimate.and_then(|of| of.equivalence_p(margin));
                row.push(p.map_or("–".into(), p_text));
            }
            table.add_row(row);
        }
        for at in 3..width {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.lines().for_each(|line| text += &format!("{}\n", line.trim_end()));
        let first = &compared[0];
        if of.sides.is_none() && !self.pairs {
            text += &format!(
                "Reference: {}{}.\n",
                first.first,
                if self.reference.is_some() { "" } else { ", the best by the first metric" }
            );
        }
        text + &self.notes(of).join("\n") + "\n"
    }

    /// What a comparison is of.
    fn label(&self, of: &Compared) -> String {
        match self.pairs {
            true => format!("{} − {}", of.second, of.first),
            false => of.second.clone(),
        }
    }

    /// What was tested, and what is to be known of it.
    fn notes(&self, of: &Comparison) -> Vec<String> {
        let (compared, test_per_train) = (&of.compared, of.test_per_train);
        let counts = |of: fn(&Paired) -> usize| -> String {
            let least = compared.iter().map(|compared| of(&compared.paired)).min().unwrap_or(0);
            let most = compared.iter().map(|compared| of(&compared.paired)).max().unwrap_or(0);
            match least == most {
                true => grouped(least),
                false => format!("{} to {}", grouped(least), grouped(most)),
            }
        };
        let mut notes = vec![format!(
            "p: {} over {} users ({} user-fold pairs), {}.",
            self.test.name(),
            counts(|of| of.n),
            counts(|of| of.pairs),
            self.correction.describe(tested(of))
        )];
        if self.test == Test::T {
            let detectable = compared
                .iter()
                .filter_map(|of| of.paired.estimate?.detectable(1.0 - LEVEL, 0.8))
                .fold(0.0, f64::max);
            notes.push(format!(
                "Alone, a true difference of {detectable:.4} would be found in 80 % of cases."
            ));
        }
        if let Some(margin) = self.margin {
            notes.push(format!(
                "p equal: two one-sided t tests of a difference within ±{margin}, not corrected."
            ));
        }
        let unpaired = compared.iter().map(|of| of.paired.unpaired).max().unwrap_or(0);
        if unpaired > 0 {
            notes.push(format!(
                "Up to {} user-fold pairs have a value for one of the two systems alone and are left out: means \
                 are over the users that both have.",
                grouped(unpaired)
            ));
        }
        let each = |p_of: &dyn Fn(&Paired) -> Option<f64>| -> Vec<String> {
            let shown = 8;
            let named = |of: &Compared| {
                let (p, key) = (p_of(&of.paired)?, &of.paired.measure);
                let what = format!("{}@{} {}", key.metric, key.k, of.paired.slice);
                Some(format!("{} {what} {}", self.label(of), p_text(p)))
            };
            let mut p: Vec<String> = compared.iter().filter_map(named).collect();
            if p.len() > shown {
                let more = p.len() - shown;
                p.truncate(shown);
                p.push(format!("{more} more with `--json`"));
            }
            p
        };
        let p = each(&Paired::over_seeds);
        if !p.is_empty() {
            let n_seeds = compared.iter().flat_map(|of| &of.paired.by_seed).map(Vec::len);
            notes.push(format!(
                "With up to {} seeds as units, for these users alone: p of Welch's t test, which is large where trainings with other seeds differ as much \
                 as the systems, not corrected for the number of comparisons: {}.",
                n_seeds.max().unwrap_or(0),
                p.join(", ")
            ));
        }
        let n_folds = compared[0].paired.by_fold.len();
        if n_folds > 1 {
            let p = each(&|paired| paired.over_folds(test_per_train?)?.p());
            if !p.is_empty() {
                notes.push(format!(
                    "With folds as units: p of the t test corrected for {n_folds} training parts that overlap (Nadeau \
                     and Bengio), not corrected for the number of comparisons, and too small if the same users are in every fold: {}.",
                    p.join(", ")
                ));
            }
            notes.push(format!(
                "A sign-flip test of {n_folds} folds cannot give less than p = {}.",
                least_sign_flip_p(n_folds)
            ));
        } else if of.fold == MEAN || !self.lists.is_empty() {
            notes.push("There is one fold alone: nothing is said of other splits.".into());
        }
        if compared.iter().any(|of| of.paired.n < FEW_TO_TEST) {
            notes.push(format!(
                "Over fewer than {FEW_TO_TEST} users intervals cover less and tests reject more often than they say, \
                 above all if differences are skewed."
            ));
        }
        if self.test == Test::SignedRank {
            notes.push(
                "Signed ranks test whether differences are symmetric around 0, not whether their mean is 0.".into(),
            );
        }
        notes
    }

    fn to_json(&self, of: &Comparison) -> Value {
        let Comparison { compared, corrected, test_per_train, .. } = of;
        let (test_per_train, fold) = (*test_per_train, &of.fold);
        let inputs: &[InputDifference] = of.sides.as_ref().map_or(&[], |(_, inputs)| inputs);
        let rows = compared.iter().zip(corrected).map(|(of, p)| {
            let paired = &of.paired;
            let [better, equal, worse] = oriented(paired);
            let all = |test| paired.p(test);
            let folds = test_per_train.and_then(|of| paired.over_folds(of));
            json!({
                "reference": of.first,
                "system": of.second,
                "protocol": paired.measure.protocol,
                "convention": paired.measure.convention,
                "metric": paired.measure.metric,
                "k": paired.measure.k,
                "slice": paired.slice,
                "fold": fold,
                "reference_value": paired.first,
                "value": paired.second,
                "difference": paired.difference(),
                "low": paired.interval.map(|of| of.0),
                "high": paired.interval.map(|of| of.1),
                "p": all(self.test),
                "p_corrected": p,
                "p_t": all(Test::T),
                "p_signed_rank": all(Test::SignedRank),
                "p_sign_flip": all(Test::SignFlip),
                "p_equivalent": self.margin.and_then(|of| paired.estimate?.equivalence_p(of)),
                "standardised": paired.standardised(),
                "detectable": paired.estimate.and_then(|of| of.detectable(1.0 - LEVEL, 0.8)),
                "better": better,
                "equal": equal,
                "worse": worse,
                "users": paired.n,
                "pairs": paired.pairs,
                "unpaired": paired.unpaired,
                "by_fold": paired.by_fold.iter().map(|(fold, of)| json!({"fold": fold, "difference": of}))
                    .collect::<Vec<_>>(),
                "p_over_folds": folds.and_then(|of| of.p()),
                "p_over_seeds": paired.over_seeds(),
                "posterior_over_folds": self.margin.and_then(|rope| folds?.posterior(rope)),
            })
        });
        json!({
            "test": self.test.name(),
            "correction": self.correction.describe(tested(of)),
            "comparisons": tested(of),
            "test_per_train": test_per_train,
            "inputs": inputs.iter().map(|of| &of.change).collect::<Vec<_>>(),
            "differences_of_inputs": inputs,
            "rows": rows.collect::<Vec<_>>(),
        })
    }
}

/// Comparisons that a test says something of.
fn tested(of: &Comparison) -> usize {
    of.corrected.iter().flatten().count()
}

/// Users for whom the second system is better, equal and worse.
fn oriented(paired: &Paired) -> [usize; 3] {
    let [more, equal, less] = paired.wins();
    match metric(&paired.measure.metric).map(|of| of.better) {
        Some(Better::Lower) => [less, equal, more],
        _ => [more, equal, less],
    }
}

pub fn p_text(p: f64) -> String {
    if p < 1e-4 { "< .0001".into() } else { format!("{p:.4}") }
}
