//! Rerankers beside their base: differences over the same users, with intervals.

use super::{
    Drawing, Source,
    plot::{Interval, forest},
};
use crate::{analysis::LEVEL, base::text::distinct};

pub(super) fn draw(of: &Source) -> Drawing {
    let experiment = of.request.experiment;
    let shown = of.systems();
    let mut pairs: Vec<(String, String)> = Vec::new();
    for trial in &experiment.trials {
        let Some((base, _)) = &experiment.system(trial).reranks else { continue };
        let base = format!("{base}{}", experiment.variants[trial.variant].label);
        let pair = (base, trial.name.clone());
        if shown.contains(&trial.name) && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    let bases = distinct(pairs.iter().map(|(base, _)| base.as_str()));
    let mut rows = Vec::new();
    for base in &bases {
        let systems: Vec<String> =
            pairs.iter().filter(|(of, _)| of == base).map(|(_, name)| name.clone()).collect();
        let found = of.against(base, &systems, true)?;
        for system in &systems {
            let Some(cell) = found.cell(system, &of.place()) else { continue };
            let (low, high) = cell.paired.interval.unzip();
            let difference = cell.paired.difference();
            rows.push(Interval {
                name: match bases.len() {
                    1 => system.clone(),
                    _ => format!("{system} ({base})"),
                },
                look: of.look(system),
                value: difference,
                ends: low.zip(high),
                text: super::contrasts::text(difference, low.zip(high)),
            });
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let title = of.metric_title();
    let base = bases.join(", ");
    let canvas = forest(
        &format!("{title} of rerankers less that of their base"),
        of.width(),
        &format!("difference in {title} to {}", if bases.len() == 1 { &base } else { "the base" }),
        0.0,
        &rows,
    );
    let caption = format!(
        "Rerankers less their base ({base}): difference in {title} over the same users with its {:.0} % interval, not \
         corrected for the number of systems; {}. Oracles are not shown.",
        100.0 * LEVEL,
        of.about()
    );
    Ok(Some((caption, canvas)))
}
