//! Quality of rerankers against what a user takes: money, else tokens, else seconds where no chat model was asked.

use super::{
    Drawing, Source,
    plot::{Axis, Line, points},
};
use crate::{
    base::text::distinct,
    report::reranks::{RerankRow, rerank_rows},
};

pub(super) fn draw(of: &Source) -> Drawing {
    let request = of.request;
    let experiment = request.experiment;
    let rows = rerank_rows(experiment, request.workspace);
    let readable = || rows.iter().filter(|row| row.problem.is_none());
    let chats = || readable().filter(|row| row.is_chat);
    let (what, cost): (&str, fn(&RerankRow) -> f64) = if chats().next().is_none() {
        ("seconds for 1,000 users", |row| 1000.0 * row.seconds / row.users.max(1) as f64)
    } else if chats().all(|row| row.spent_a_user().0.is_some_and(|money| money > 0.0)) {
        ("money for 1,000 users", |row| 1000.0 * row.spent_a_user().0.unwrap_or(0.0))
    } else {
        ("tokens per user", |row| row.spent_a_user().1)
    };
    let bases = experiment.trials.iter().filter_map(|trial| {
        let (base, _) = experiment.system(trial).reranks.as_ref()?;
        Some(format!("{base}{}", experiment.variants[trial.variant].label))
    });
    let shown = of.systems();
    let bases = distinct(bases).into_iter().map(|base| (base, 0.0));
    let rerankers = readable().map(|row| (row.system.clone(), cost(row)));
    let place = of.place();
    let all: Vec<Line> = bases
        .chain(rerankers)
        .filter(|(name, _)| shown.contains(name))
        .filter_map(|(name, cost)| {
            let row = of.row(&name, &place)?;
            let point = (cost, row.value?, row.low.zip(row.high));
            Some(Line { look: of.look(&name), name, points: vec![point], has_marks: true })
        })
        .collect();
    if all.len() < 2 {
        return Ok(None);
    }
    let values = all.iter().flat_map(|line| &line.points).flat_map(|(_, value, ends)| {
        let (low, high) = ends.unwrap_or((*value, *value));
        [*value, low, high]
    });
    let title = of.metric_title();
    let x = Axis::of(all.iter().map(|line| line.points[0].0), what);
    let y = Axis::of(values, &title);
    let name = format!("{title} against {what}");
    let caption =
        format!("{name}; {}. Base systems have no cost. Bars: 95 % intervals.", of.about());
    Ok(Some((caption, points(&name, of.width(), &x, &y, &all))))
}
