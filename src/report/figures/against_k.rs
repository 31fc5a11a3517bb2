//! A metric by cutoff, one line per system.

use super::{
    Drawing, Source,
    canvas::Canvas,
    plot::{Axis, Line, Point, lines},
    style::Look,
};
use crate::{
    analysis::{MEAN, ResultRow},
    base::text::distinct,
    report::metric_title,
    tasks::Width,
};

/// What the bars of a line are.
const INTERVALS: &str = "95 % intervals over users";

/// The systems of a figure, in an order that is the same for all figures of the experiment.
struct Chosen<'a> {
    rows: Vec<&'a ResultRow>,
    systems: Vec<String>,
}

/// A metric by cutoff, one line per system, with the bars that there are: intervals, or one standard deviation over
/// folds or seeds. None where there is just one cutoff, or no value; else the figure, and what its bars are.
pub fn metric_against_k(
    rows: &[ResultRow],
    protocol: &str,
    convention: &str,
    slice: &str,
    metric: &str,
) -> Option<(String, Option<&'static str>)> {
    let systems = distinct(rows.iter().map(|row| row.system.as_str()));
    let chosen = Chosen::of(rows, [protocol, convention, slice, metric], &systems);
    let look = |name: &str| Look::of(systems.iter().position(|of| of == name).unwrap_or(0));
    let (canvas, bars) = chosen.canvas(metric, Width::One, &look)?;
    Some((canvas.svg(), bars))
}

pub(super) fn draw(of: &Source) -> Drawing {
    let place = [of.protocol(), of.convention(), of.slice(), &of.metric];
    let chosen = Chosen::of(of.request.rows, place, &of.systems());
    let drawn = chosen.canvas(&of.metric, of.width(), &|name| of.look(name));
    Ok(drawn.map(|(canvas, bars)| {
        let bars = bars.map_or(String::new(), |bars| format!(" Bars: {bars}."));
        let metric = metric_title(&of.metric, None);
        (format!("{metric} by cutoff; {}.{bars}", of.about()), canvas)
    }))
}

impl<'a> Chosen<'a> {
    fn of(
        rows: &'a [ResultRow],
        [protocol, convention, slice, metric]: [&str; 4],
        systems: &[String],
    ) -> Self {
        let is_in = |row: &&ResultRow| {
            row.fold == MEAN
                && row.protocol == protocol
                && row.convention == convention
                && row.slice == slice
                && row.metric == metric
                && row.value.is_some()
                && !row.one_of_several
                && systems.contains(&row.system)
        };
        Self { rows: rows.iter().filter(is_in).collect(), systems: systems.to_vec() }
    }

    fn canvas(
        &self,
        metric: &str,
        width: Width,
        look: &dyn Fn(&str) -> Look,
    ) -> Option<(Canvas, Option<&'static str>)> {
        let mut cutoffs: Vec<usize> = self.rows.iter().map(|row| row.k).collect();
        cutoffs.sort_unstable();
        cutoffs.dedup();
        if cutoffs.len() < 2 {
            return None;
        }
        let has = |is: fn(&ResultRow) -> bool| self.rows.iter().any(|row| is(row));
        let around = |value: f64, sd: Option<f64>| sd.map(|sd| (value - sd, value + sd));
        type Ends<'f> = &'f dyn Fn(&ResultRow, f64) -> Option<(f64, f64)>;
        let (bars, ends): (_, Ends) = if has(|row| row.low.is_some()) {
            (Some(INTERVALS), &|row, _| row.low.zip(row.high))
        } else if has(|row| row.sd_folds.is_some()) {
            (Some("one standard deviation over folds"), &|row, value| around(value, row.sd_folds))
        } else if has(|row| row.sd_seeds.is_some()) {
            (Some("one standard deviation over seeds"), &|row, value| around(value, row.sd_seeds))
        } else {
            (None, &|_, _| None)
        };
        let line = |name: &String| -> Option<Line> {
            let rows = self.rows.iter().filter(|row| row.system == *name);
            let points = rows.filter_map(|row| {
                let value = row.value?;
                Some((row.k as f64, value, ends(row, value)))
            });
            let mut points: Vec<Point> = points.collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let name = name.clone();
            (!points.is_empty()).then(|| Line { look: look(&name), name, points, has_marks: true })
        };
        let all: Vec<Line> = self.systems.iter().filter_map(line).collect();
        // Bars of many systems are not drawn.
        let bars = bars.filter(|_| all.len() <= super::plot::MOST_BARS);
        let values = all.iter().flat_map(|line| &line.points).flat_map(|(_, value, ends)| {
            let (low, high) = ends.filter(|_| bars.is_some()).unwrap_or((*value, *value));
            [*value, low, high]
        });
        let title = metric_title(metric, None);
        let ticks: Vec<(f64, String)> =
            cutoffs.iter().map(|k| (*k as f64, k.to_string())).collect();
        let x = Axis::at(&ticks, "cutoff k");
        let y = Axis::of(values, &format!("{title}@k"));
        Some((lines(&format!("{title} by cutoff"), width, &x, &y, &all), bars))
    }
}
