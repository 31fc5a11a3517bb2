//! The differences of all users to the reference, from the largest gain to the largest loss.

use super::{
    Drawing, Source,
    plot::{Axis, Line, lines},
};

pub(super) fn draw(of: &Source) -> Drawing {
    let Some(reference) = of.reference() else { return Ok(None) };
    let systems: Vec<String> = of.systems().into_iter().filter(|name| *name != reference).collect();
    let found = of.against(&reference, &systems, false)?;
    let mut all: Vec<Line> = Vec::new();
    let mut shares = Vec::new();
    for system in &systems {
        let Some(cell) = found.cell(system, &of.place()) else { continue };
        let mut values = cell.paired.values.clone();
        values.sort_by(|a, b| b.total_cmp(a));
        let n = values.len().max(2);
        let [better, _, worse] = cell.paired.wins();
        let percent = |of: usize| format!("{:.0} %", 100.0 * of as f64 / values.len() as f64);
        shares.push(format!("{system}: {} higher, {} lower", percent(better), percent(worse)));
        // No more points than can be seen.
        let step = n.div_ceil(1000);
        let places = (0..values.len()).filter(|at| at % step == 0 || at + 1 == values.len());
        let points = places.map(|at| (100.0 * at as f64 / (n - 1) as f64, values[at], None));
        all.push(Line {
            name: system.clone(),
            look: of.look(system),
            points: points.collect(),
            has_marks: false,
        });
    }
    if all.is_empty() {
        return Ok(None);
    }
    let title = of.metric_title();
    let values = all.iter().flat_map(|line| &line.points).map(|(_, value, _)| *value);
    let ticks: Vec<(f64, String)> =
        (0..=4).map(|at| (f64::from(at) * 25.0, format!("{} %", at * 25))).collect();
    let x = Axis::at(&ticks, "users, by difference");
    let y = Axis::of(values, &format!("difference in {title}")).and(0.0);
    let what = format!("Differences of users in {title} to {reference}");
    let caption = format!(
        "{what}, sorted for each system; {}. Over several folds, of a user's sum over folds, so that the mean is the \
         difference of the systems. {}.",
        of.about(),
        shares.join("; ")
    );
    Ok(Some((caption, lines(&what, of.width(), &x, &y, &all))))
}
