//! Axes, lines, points and rows of intervals on a canvas.

use super::{
    canvas::{Anchor, Canvas, Stroke, fitted, text_width},
    style::{Ink, LINE, Look, MARK, SIZE},
};
use crate::tasks::Width;

/// Height of a line of text.
const ROW: f64 = 22.0;
/// Height of the plot itself.
const HEIGHT: f64 = 270.0;
/// More names than this are in the legend.
const MOST_DIRECT: usize = 10;
/// With more lines than this, intervals hide each other.
pub const MOST_BARS: usize = 8;

/// Pixels of a figure.
pub fn pixels(width: Width) -> f64 {
    match width {
        Width::One => 500.0,
        Width::Two => 1050.0,
    }
}

/// A range of numbers with labels.
#[derive(Clone, Debug)]
pub struct Axis {
    pub title: String,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
    is_log: bool,
}

impl Axis {
    /// Of all values, a little wider.
    pub fn of(values: impl Iterator<Item = f64>, title: &str) -> Self {
        Self::with(values, title, 0.06)
    }

    fn with(values: impl Iterator<Item = f64>, title: &str, padding: f64) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), of| {
                (low.min(of), high.max(of))
            });
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let room = match high - low {
            0.0 => high.abs().max(1e-3) * 0.1,
            range => range * padding,
        };
        // A quantity that has no values under 0 has no axis under 0.
        let least = if low >= 0.0 { 0.0f64.max(low - room) } else { low - room };
        let (low, high) = (least, high + room);
        let step = nice_step((high - low) / 6.0);
        let digits = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        // A step of 2.5 has one decimal more.
        let scaled = step * 10f64.powi(digits as i32);
        let digits = digits + usize::from((scaled - scaled.round()).abs() > 1e-6);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let tick = |at: i64| {
            let value = at as f64 * step;
            (value, number(value, digits))
        };
        Self {
            title: title.to_owned(),
            low,
            high,
            ticks: (first..=last).map(tick).collect(),
            is_log: false,
        }
    }

    /// With a tick at each value, e.g. the cutoffs; logarithmic where the largest is many times the least.
    pub fn at(values: &[(f64, String)], title: &str) -> Self {
        let all = || values.iter().map(|(value, _)| *value);
        let (low, high) =
            (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        let is_log = low > 0.0 && high / low >= 30.0;
        let place = |value: f64| if is_log { value.ln() } else { value };
        let room = (place(high) - place(low)).max(1e-9) * 0.03;
        let back = |value: f64| if is_log { value.exp() } else { value };
        Self {
            title: title.to_owned(),
            low: back(place(low) - room),
            high: back(place(high) + room),
            ticks: values.to_vec(),
            is_log,
        }
    }

    /// Also contains a value.
    pub fn and(self, value: f64) -> Self {
        let Self { title, low, high, .. } = &self;
        Self::with([*low, *high, value].into_iter(), title, 0.0)
    }

    fn share(&self, value: f64) -> f64 {
        let place = |value: f64| if self.is_log { value.max(1e-300).ln() } else { value };
        (place(value) - place(self.low)) / (place(self.high) - place(self.low))
    }
}

/// 1, 2, 2.5 or 5 times a power of ten, at least `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let of = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|of| of * power >= least * 0.999_999);
    of.unwrap_or(10.0) * power
}

fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    // No `-0.00`.
    let text = match text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        true => text.trim_start_matches('-').to_owned(),
        false => text,
    };
    text.replace('-', "−")
}

/// A place, and the ends of an interval.
pub type Point = (f64, f64, Option<(f64, f64)>);

/// A line of a system, with intervals.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub look: Look,
    pub points: Vec<Point>,
    pub has_marks: bool,
}

/// The part of a canvas between the axes.
struct Frame<'a> {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: &'a Axis,
    y: &'a Axis,
}

impl Frame<'_> {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            self.left + self.x.share(x) * (self.right - self.left),
            self.bottom - self.y.share(y) * (self.bottom - self.top),
        )
    }

    /// Grid, ticks and titles.
    fn axes(&self, canvas: &mut Canvas) {
        let (left, right, top, bottom) = (self.left, self.right, self.top, self.bottom);
        for (value, text) in &self.y.ticks {
            let (_, y) = self.at((self.x.low, *value));
            canvas.line([(left, y), (right, y)], Stroke::new(Ink::Faint, 1.0));
            canvas.text((left - 7.0, y), text, SIZE, Anchor::End);
        }
        let mut end = f64::NEG_INFINITY;
        for (value, text) in &self.x.ticks {
            let (x, _) = self.at((*value, self.y.low));
            canvas.line([(x, bottom), (x, bottom + 5.0)], Stroke::new(Ink::Medium, 1.0));
            // Labels do not overlap.
            let half = text_width(text, SIZE) / 2.0;
            if x - half > end + 6.0 {
                canvas.text((x, bottom + 16.0), text, SIZE, Anchor::Middle);
                end = x + half;
            }
        }
        canvas.line([(left, bottom), (right, bottom)], Stroke::new(Ink::Medium, 1.0));
        canvas.text(((left + right) / 2.0, bottom + 38.0), &self.x.title, SIZE, Anchor::Middle);
        if !self.y.title.is_empty() {
            canvas.upright((13.0, (top + bottom) / 2.0), &self.y.title, SIZE);
        }
    }
}

fn left_margin(y: &Axis) -> f64 {
    let ticks = y.ticks.iter().map(|(_, text)| text_width(text, SIZE)).fold(0.0, f64::max);
    ticks + 12.0 + if y.title.is_empty() { 4.0 } else { 26.0 }
}

/// Room for the half of the last label that is beyond the axis.
fn right_margin(x: &Axis) -> f64 {
    let Some((value, text)) = x.ticks.last() else { return 14.0 };
    let is_at_the_end = x.share(*value) > 0.9;
    let half = text_width(text, SIZE) / 2.0 + 4.0;
    if is_at_the_end { half.max(14.0) } else { 14.0 }
}

/// Lines over an axis. Names are beside the ends of the lines where they fit, else in a legend below.
pub fn lines(title: &str, width: Width, x: &Axis, y: &Axis, all: &[Line]) -> Canvas {
    let across = pixels(width);
    let widest = all.iter().map(|line| text_width(&line.name, SIZE)).fold(0.0, f64::max);
    let left = left_margin(y);
    let is_direct = all.len() <= MOST_DIRECT
        && all.len() as f64 * (SIZE + 2.0) <= HEIGHT
        && widest <= (across - left) * 0.36
        && all.iter().all(|line| !line.points.is_empty());
    let right = if is_direct { across - widest - 26.0 } else { across - right_margin(x) };
    let frame = Frame { left, right, top: 10.0, bottom: 10.0 + HEIGHT, x, y };
    let below = frame.bottom + 52.0;
    let legend = if is_direct { Legend::none() } else { Legend::of(all, across) };
    let mut canvas = Canvas::new(across, below + legend.height(), title);
    frame.axes(&mut canvas);
    let step = if all.len() <= MOST_BARS { beside(all, &frame) } else { 0.0 };
    for (at, line) in all.iter().enumerate() {
        let aside = step * (at as f64 - (all.len() - 1) as f64 / 2.0);
        let place = |x: f64, y: f64| {
            let (x, y) = frame.at((x, y));
            (x + aside, y)
        };
        if all.len() <= MOST_BARS {
            for (x, _, interval) in &line.points {
                if let Some((low, high)) = interval {
                    let ends = [place(*x, *low), place(*x, *high)];
                    canvas.line(ends, Stroke::new(line.look.ink, 1.0));
                }
            }
        }
        let points: Vec<(f64, f64)> = line.points.iter().map(|(x, y, _)| place(*x, *y)).collect();
        if line.has_marks {
            for point in &points {
                canvas.mark(*point, MARK, line.look.marker, line.look.ink);
            }
        }
        canvas.line(points, line.look.stroke());
    }
    if is_direct {
        direct(&mut canvas, &frame, all);
    }
    legend.draw(&mut canvas, below);
    canvas
}

/// How far lines with intervals are beside each other, so that no interval hides another: at most 4 pixels, and all together at most
/// half of the least distance of two values.
fn beside(all: &[Line], frame: &Frame) -> f64 {
    let points = || all.iter().flat_map(|line| &line.points);
    if all.len() < 2 || points().all(|(.., interval)| interval.is_none()) {
        return 0.0;
    }
    let mut places: Vec<f64> = points().map(|(x, ..)| frame.at((*x, frame.y.low)).0).collect();
    places.sort_by(f64::total_cmp);
    let gaps = places.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 1e-6);
    let least = gaps.fold(f64::INFINITY, f64::min);
    (least / 2.0 / all.len() as f64).min(4.0)
}

/// Names beside the ends of lines, moved apart where they would overlap.
fn direct(canvas: &mut Canvas, frame: &Frame, all: &[Line]) {
    let mut ends: Vec<(usize, (f64, f64), f64)> = all
        .iter()
        .enumerate()
        .filter_map(|(at, line)| {
            let (x, y, _) = line.points.last()?;
            let end = frame.at((*x, *y));
            Some((at, end, end.1))
        })
        .collect();
    ends.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
    let places: Vec<f64> = ends.iter().map(|(.., y)| *y).collect();
    let room = (frame.top, frame.bottom);
    for ((.., y), place) in ends.iter_mut().zip(apart(&places, SIZE + 2.0, room)) {
        *y = place;
    }
    for (at, end, y) in ends {
        let line = &all[at];
        let from = frame.right + 18.0;
        canvas.line(
            [(end.0 + MARK + 1.0, end.1), (from - 3.0, y)],
            Stroke { ink: line.look.ink, width: 1.0, dash: Some((2.0, 3.0)) },
        );
        canvas.text((from, y), &line.name, SIZE, Anchor::Start);
    }
}

/// Ascending places moved so that each is `step` or more from the next, all together as little as can be, within
/// `room`.
fn apart(places: &[f64], step: f64, (top, bottom): (f64, f64)) -> Vec<f64> {
    // Runs that touch each other: the mean of where their first one would be, and how many they are.
    let mut runs: Vec<(f64, f64)> = Vec::new();
    for (at, place) in places.iter().enumerate() {
        let mut run = (place - at as f64 * step, 1.0);
        while let Some((mean, n)) = runs.last().copied().filter(|(mean, _)| *mean > run.0) {
            runs.pop();
            run = ((mean * n + run.0 * run.1) / (n + run.1), n + run.1);
        }
        runs.push(run);
    }
    let spread = runs.iter().flat_map(|(mean, n)| std::iter::repeat_n(*mean, *n as usize));
    let last = places.len().saturating_sub(1) as f64 * step;
    let most = (bottom - last).max(top);
    spread.enumerate().map(|(at, first)| first.clamp(top, most) + at as f64 * step).collect()
}

/// Names with samples of their lines, in columns.
struct Legend {
    entries: Vec<(String, Look, bool, bool)>,
    columns: usize,
    column: f64,
}

impl Legend {
    fn none() -> Self {
        Self { entries: Vec::new(), columns: 1, column: 0.0 }
    }

    fn of(all: &[Line], across: f64) -> Self {
        let has_line = |line: &Line| line.points.len() > 1;
        Self::new(
            all.iter().map(|line| (line.name.clone(), line.look, has_line(line), line.has_marks)),
            across,
        )
    }

    fn new(entries: impl Iterator<Item = (String, Look, bool, bool)>, across: f64) -> Self {
        let room = across - 60.0;
        let entries: Vec<(String, Look, bool, bool)> = entries
            .map(|(name, look, line, mark)| (fitted(&name, SIZE, room), look, line, mark))
            .collect();
        let widest = entries.iter().map(|(name, ..)| text_width(name, SIZE)).fold(0.0, f64::max);
        let column = widest + 58.0;
        let columns = ((across - 8.0) / column).floor().max(1.0) as usize;
        Self { columns: columns.min(entries.len().max(1)), entries, column }
    }

    fn height(&self) -> f64 {
        match self.entries.len() {
            0 => 0.0,
            n => n.div_ceil(self.columns) as f64 * ROW + 10.0,
        }
    }

    fn draw(&self, canvas: &mut Canvas, top: f64) {
        for (at, (name, look, has_line, has_mark)) in self.entries.iter().enumerate() {
            let x = 8.0 + (at % self.columns) as f64 * self.column;
            let y = top + 12.0 + (at / self.columns) as f64 * ROW;
            if *has_line {
                canvas.line([(x, y), (x + 34.0, y)], look.stroke());
            }
            if *has_mark {
                canvas.mark((x + 17.0, y), MARK, look.marker, look.ink);
            }
            canvas.text((x + 42.0, y), name, SIZE, Anchor::Start);
        }
    }
}

/// Systems as points, named in the legend.
pub fn points(title: &str, width: Width, x: &Axis, y: &Axis, all: &[Line]) -> Canvas {
    let across = pixels(width);
    let frame = Frame {
        left: left_margin(y),
        right: across - right_margin(x),
        top: 10.0,
        bottom: 10.0 + HEIGHT,
        x,
        y,
    };
    let below = frame.bottom + 52.0;
    let legend = Legend::of(all, across);
    let mut canvas = Canvas::new(across, below + legend.height(), title);
    frame.axes(&mut canvas);
    for (value, _) in &x.ticks {
        let ends = [frame.at((*value, y.low)), frame.at((*value, y.high))];
        canvas.line(ends, Stroke::new(Ink::Faint, 1.0));
    }
    for line in all {
        for (x, y, interval) in &line.points {
            if let Some((low, high)) = interval {
                let ends = [frame.at((*x, *low)), frame.at((*x, *high))];
                canvas.line(ends, Stroke::new(line.look.ink, 1.0));
            }
            canvas.mark(frame.at((*x, *y)), MARK + 1.0, line.look.marker, line.look.ink);
        }
    }
    legend.draw(&mut canvas, below);
    canvas
}

/// A row of a forest plot.
#[derive(Clone, Debug)]
pub struct Interval {
    pub name: String,
    pub look: Look,
    pub value: f64,
    pub ends: Option<(f64, f64)>,
    /// Shown at the right, where there is room.
    pub text: String,
}

/// Values with intervals below each other, and a line at a reference.
pub fn forest(title: &str, width: Width, x: &str, reference: f64, rows: &[Interval]) -> Canvas {
    let across = pixels(width);
    let ends = rows.iter().flat_map(|row| {
        let (low, high) = row.ends.unwrap_or((row.value, row.value));
        [low, high, row.value]
    });
    let x = Axis::of(ends, x).and(reference);
    let y = Axis::at(&[(0.0, String::new()), (1.0, String::new())], "");
    let most = across * if width == Width::One { 0.5 } else { 0.42 };
    let names: Vec<String> = rows.iter().map(|row| fitted(&row.name, SIZE, most)).collect();
    let left = names.iter().map(|name| text_width(name, SIZE)).fold(0.0, f64::max) + 14.0;
    let texts = rows.iter().map(|row| text_width(&row.text, SIZE)).fold(0.0, f64::max);
    let has_texts = texts > 0.0 && width == Width::Two;
    let right = across - if has_texts { texts + 16.0 } else { right_margin(&x).max(16.0) };
    let bottom = 8.0 + rows.len() as f64 * ROW;
    let frame = Frame { left, right, top: 4.0, bottom, x: &x, y: &y };
    let mut canvas = Canvas::new(across, bottom + 52.0, title);
    for (value, text) in &x.ticks {
        let at = frame.at((*value, 0.0)).0;
        canvas.line([(at, frame.top), (at, bottom)], Stroke::new(Ink::Faint, 1.0));
        canvas.text((at, bottom + 16.0), text, SIZE, Anchor::Middle);
    }
    canvas.text(((left + right) / 2.0, bottom + 38.0), &x.title, SIZE, Anchor::Middle);
    let at = frame.at((reference, 0.0)).0;
    let dash = Some((6.0, 4.0));
    canvas.line([(at, frame.top), (at, bottom)], Stroke { ink: Ink::Medium, width: LINE, dash });
    for (at, (row, name)) in rows.iter().zip(&names).enumerate() {
        let y = frame.top + 4.0 + (at as f64 + 0.5) * ROW;
        canvas.text((left - 8.0, y), name, SIZE, Anchor::End);
        let place = |value: f64| (frame.at((value, 0.0)).0, y);
        if let Some((low, high)) = row.ends {
            canvas.line([place(low), place(high)], Stroke::new(row.look.ink, LINE));
            for end in [place(low), place(high)] {
                let cap = [(end.0, y - 4.0), (end.0, y + 4.0)];
                canvas.line(cap, Stroke::new(row.look.ink, LINE));
            }
        }
        canvas.mark(place(row.value), MARK, row.look.marker, row.look.ink);
        if has_texts {
            canvas.text((right + 10.0, y), &row.text, SIZE, Anchor::Start);
        }
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_moved_apart_around_their_places() {
        let room = (0.0, 100.0);
        assert_eq!(apart(&[10.0, 50.0], 10.0, room), [10.0, 50.0]);
        assert_eq!(apart(&[50.0, 50.0, 50.0], 10.0, room), [40.0, 50.0, 60.0]);
        assert_eq!(apart(&[50.0, 54.0, 90.0], 10.0, room), [47.0, 57.0, 90.0]);
        assert_eq!(apart(&[98.0, 99.0], 10.0, room), [90.0, 100.0]);
        assert_eq!(apart(&[0.0, 1.0], 10.0, room), [0.0, 10.0]);
        assert!(apart(&[], 10.0, room).is_empty());
    }

    #[test]
    fn the_last_label_of_an_axis_is_within_the_sheet() {
        let rows = |value: f64, low: f64| Interval {
            name: "a system".into(),
            look: Look::of(0),
            value,
            ends: Some((low, value + 0.01)),
            text: String::new(),
        };
        // The reference, 0, is the right end of the axis.
        let svg = forest("", Width::One, "difference", 0.0, &[rows(-0.05, -0.1)]).svg();
        let svg = svg.replace('\n', " ");
        let label = ["0.000", "0.00"].into_iter().find(|label| svg.contains(&format!(" {label} ")));
        let label = label.unwrap();
        let (before, _) = svg.rsplit_once(&format!(" {label} ")).unwrap();
        let (_, x) = before.rsplit_once(" x=\"").unwrap();
        // Coordinates of the file are eighths of a pixel.
        let x = x.split('"').next().unwrap().parse::<f64>().unwrap() / 8.0;
        assert!(x + text_width(label, SIZE) / 2.0 <= pixels(Width::One), "{label} at {x}");
    }

    #[test]
    fn intervals_of_lines_are_beside_each_other() {
        let axis = Axis::at(&[(1.0, "1".into()), (5.0, "5".into()), (20.0, "20".into())], "");
        let y = Axis::of([0.0, 1.0].into_iter(), "");
        let frame = Frame { left: 0.0, right: 200.0, top: 0.0, bottom: 100.0, x: &axis, y: &y };
        let line = |points: &[Point]| Line {
            name: String::new(),
            look: Look::of(0),
            points: points.to_vec(),
            has_marks: true,
        };
        let bars = line(&[(1.0, 0.5, Some((0.4, 0.6))), (5.0, 0.5, None)]);
        let none = line(&[(1.0, 0.5, None), (5.0, 0.5, None)]);
        assert_eq!(beside(&[bars.clone(), bars.clone()], &frame), 4.0);
        assert_eq!(beside(&[none.clone(), none], &frame), 0.0);
        assert_eq!(beside(std::slice::from_ref(&bars), &frame), 0.0);
        // 1 and 5 are about 40 pixels apart: eight lines have half of it.
        let step = beside(&vec![bars; 8], &frame);
        assert!(8.0 * step < 21.0 && step > 2.0, "{step}");
    }

    #[test]
    fn axes_go_by_the_data_with_round_ticks() {
        let axis = Axis::of([0.231, 0.274].into_iter(), "nDCG@10");
        assert!(axis.low > 0.22 && axis.high < 0.28, "{axis:?}");
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["0.23", "0.24", "0.25", "0.26", "0.27"]);
        let axis = Axis::of([-0.01, 0.02].into_iter(), "difference").and(0.0);
        assert!(axis.ticks.iter().any(|(_, text)| text == "0.00"), "{axis:?}");
        assert!(axis.ticks.iter().any(|(_, text)| text == "−0.01"), "{axis:?}");
        // What has no values under 0 has no axis under 0.
        assert_eq!(Axis::of([0.0, 1.0].into_iter(), "").low, 0.0);
        for nothing in [vec![], vec![0.0], vec![f64::NAN]] {
            let axis = Axis::of(nothing.into_iter(), "");
            assert!(axis.low < axis.high);
        }
        assert_eq!([nice_step(0.013), nice_step(0.21), nice_step(3.0)], [0.02, 0.25, 5.0]);
    }
}
