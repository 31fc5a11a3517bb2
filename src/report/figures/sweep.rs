//! A metric by the levels of a swept setting.

use super::{
    Drawing, Source,
    plot::{Axis, Line, Point, lines},
};
use crate::{
    base::text::distinct,
    tasks::{levels, without_level},
};

pub(super) fn draw(of: &Source) -> Drawing {
    let over = of.request.spec.over.as_ref().or(of.known.swept.first());
    let Some(field) = over else { return Ok(None) };
    let level = |name: &str| -> Option<String> {
        let found = levels(name).1.into_iter().find(|(name, _)| name == field)?;
        Some(found.1.to_owned())
    };
    let systems = of.systems();
    let all_levels = distinct(systems.iter().filter_map(|name| level(name)));
    let numbers: Option<Vec<f64>> = all_levels
        .iter()
        .map(|level| level.parse().ok().filter(|value: &f64| value.is_finite()))
        .collect();
    let mut ticks: Vec<(f64, String)> = match numbers {
        Some(numbers) => numbers.into_iter().zip(all_levels.iter().cloned()).collect(),
        None => all_levels.iter().enumerate().map(|(at, of)| (at as f64, of.clone())).collect(),
    };
    ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    if ticks.len() < 2 {
        return Ok(None);
    }
    let place = of.place();
    let names = distinct(
        systems.iter().filter(|name| level(name).is_some()).map(|name| without_level(name, field)),
    );
    let line = |name: &String| -> Option<Line> {
        let members: Vec<&String> = systems
            .iter()
            .filter(|full| level(full).is_some() && without_level(full, field) == *name)
            .collect();
        let point = |full: &&String| {
            let row = of.row(full, &place)?;
            let own = level(full)?;
            let (x, _) = ticks.iter().find(|(_, text)| *text == own)?;
            Some((*x, row.value?, row.low.zip(row.high)))
        };
        let mut points: Vec<Point> = members.iter().filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let look = of.look(members.first()?);
        (!points.is_empty()).then(|| Line { name: name.clone(), look, points, has_marks: true })
    };
    let all: Vec<Line> = names.iter().filter_map(line).collect();
    if all.is_empty() {
        return Ok(None);
    }
    let has_bars = all.len() <= super::plot::MOST_BARS;
    let values = all.iter().flat_map(|line| &line.points).flat_map(|(_, value, ends)| {
        let (low, high) = ends.filter(|_| has_bars).unwrap_or((*value, *value));
        [*value, low, high]
    });
    let title = of.metric_title();
    let y = Axis::of(values, &title);
    let x = Axis::at(&ticks, field);
    let what = format!("{title} by {field}");
    let bars = if has_bars { " Bars: 95 % intervals over users." } else { "" };
    let caption = format!("{what}; {}.{bars}", of.about());
    Ok(Some((caption, lines(&what, of.width(), &x, &y, &all))))
}
