//! Ablations as differences with intervals, or each system less the reference.

use super::{
    Drawing, Source,
    plot::{Interval, forest},
};
use crate::analysis::LEVEL;

/// `+0.0123 [+0.0040, +0.0211]`
pub(super) fn text(difference: f64, ends: Option<(f64, f64)>) -> String {
    let ends = ends.map_or(String::new(), |(low, high)| format!(" [{low:+.4}, {high:+.4}]"));
    format!("{difference:+.4}{ends}").replace('-', "−")
}

pub(super) fn draw(of: &Source) -> Drawing {
    let title = of.metric_title();
    let declared = &of.request.experiment.audit.contrasts;
    let is_declared = !declared.is_empty()
        && of.request.spec.reference.is_none()
        && of.request.spec.systems.is_empty();
    let mut pairs: Vec<(String, String, String)> = Vec::new();
    let reference = match is_declared {
        true => {
            for contrast in declared {
                let Some((first, rest)) = contrast.arms.split_first() else { continue };
                for second in rest {
                    let name = format!("{}: {second} − {first}", contrast.factor.join(", "));
                    pairs.push((first.clone(), second.clone(), name));
                }
            }
            None
        }
        false => {
            let Some(reference) = of.reference() else { return Ok(None) };
            let others = of.systems().into_iter().filter(|name| *name != reference);
            pairs.extend(others.map(|name| (reference.clone(), name.clone(), name)));
            Some(reference)
        }
    };
    let mut rows = Vec::new();
    for (first, second, name) in pairs {
        let found = of.against(&first, std::slice::from_ref(&second), true)?;
        let Some(cell) = found.cell(&second, &of.place()) else { continue };
        let difference = cell.paired.difference();
        rows.push(Interval {
            name,
            look: of.look(&second),
            value: difference,
            ends: cell.paired.interval,
            text: text(difference, cell.paired.interval),
        });
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let what = match &reference {
        Some(reference) => format!("Each system less {reference}"),
        None => "Ablations: the second system less the first".to_owned(),
    };
    let axis = match &reference {
        Some(reference) => format!("difference in {title} to {reference}"),
        None => format!("difference in {title}"),
    };
    let canvas = forest(&what, of.width(), &axis, 0.0, &rows);
    let caption = format!(
        "{what}: difference in {title} over the same users with its {:.0} % interval, not corrected for the number of \
         differences; {}.",
        100.0 * LEVEL,
        of.about()
    );
    Ok(Some((caption, canvas)))
}
