//! Columns that tables, figures, comparisons and checks read after the results were collected.

use std::collections::HashSet;

use crate::{core::MeasureKey, tasks::ExperimentRecord};

/// The cutoff that is shown first: 10 if computed, otherwise the largest.
pub fn main_cutoff(cutoffs: impl IntoIterator<Item = usize>) -> Option<usize> {
    let main = |known: usize, k: usize| if known == 10 || k == 10 { 10 } else { known.max(k) };
    cutoffs.into_iter().reduce(main)
}

/// Of each variant all metrics at its main cutoff and at that of the experiment, under every protocol and convention, and
/// the columns of published tables. `others`: further metrics with their cutoffs.
pub fn later_columns(
    experiment: &ExperimentRecord,
    others: &[(String, usize)],
) -> HashSet<MeasureKey> {
    let all = || experiment.variants.iter().flat_map(|variant| &variant.evaluations);
    let of_experiment = main_cutoff(all().map(|of| of.k));
    let mut keys = HashSet::new();
    for variant in &experiment.variants {
        let of_variant = main_cutoff(variant.evaluations.iter().map(|of| of.k));
        for of in &variant.evaluations {
            let is_main = Some(of.k) == of_variant || Some(of.k) == of_experiment;
            let is_other =
                |metric: &String| others.iter().any(|(name, k)| name == metric && *k == of.k);
            keys.extend(variant.metrics.iter().filter(|name| is_main || is_other(name)).map(
                |metric| MeasureKey {
                    protocol: of.protocol.clone(),
                    convention: of.convention.clone(),
                    metric: metric.clone(),
                    k: of.k,
                },
            ));
        }
    }
    for table in &experiment.published {
        let about = &table.about;
        let metrics = table.rows.iter().flat_map(|row| &row.values).map(|(metric, _)| metric);
        keys.extend(metrics.map(|metric| MeasureKey {
            protocol: about.protocol.name().into(),
            convention: about.convention.name().into(),
            metric: metric.name().into(),
            k: about.k,
        }));
    }
    keys
}
