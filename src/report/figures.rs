//! Figures as SVG.

use plotters::{coord::types::RangedCoordf64, prelude::*};

use crate::{
    analysis::{MEAN, ResultRow},
    base::{terminal::escaped, text::distinct},
};

/// Okabe and Ito's palette, which is safe for colour-blind readers.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];

/// A metric by cutoff, one line per system, bars of one standard deviation: over folds where
/// there are several, else over seeds. None where there is just one cutoff, or no value; else the
/// figure, and what its bars are.
pub fn metric_against_k(
    rows: &[ResultRow],
    protocol: &str,
    convention: &str,
    slice: &str,
    metric: &str,
) -> Option<(String, Option<&'static str>)> {
    let chosen: Vec<&ResultRow> = rows
        .iter()
        .filter(|row| {
            row.fold == MEAN
                && row.protocol == protocol
                && row.convention == convention
                && row.slice == slice
                && row.metric == metric
                && row.value.is_some()
        })
        .collect();
    let cutoffs = distinct(chosen.iter().map(|row| row.k.to_string()));
    if cutoffs.len() < 2 {
        return None;
    }
    let systems = distinct(chosen.iter().map(|row| row.system.as_str()));
    let has = |sd: fn(&ResultRow) -> Option<f64>| chosen.iter().any(|row| sd(row).is_some());
    let (over, sd): (_, fn(&ResultRow) -> Option<f64>) = if has(|row| row.sd_folds) {
        (Some("one standard deviation over folds"), |row| row.sd_folds)
    } else if has(|row| row.sd_seeds) {
        (Some("one standard deviation over seeds"), |row| row.sd_seeds)
    } else {
        (None, |_| None)
    };
    let points: Vec<(&str, [f64; 3])> = chosen
        .iter()
        .map(|row| {
            let value = row.value.unwrap_or(0.0);
            (row.system.as_str(), [row.k as f64, value, sd(row).unwrap_or(0.0)])
        })
        .collect();
    let mut svg = String::new();
    draw(&mut svg, &points, &systems, metric).ok()?;
    Some((escaped(&svg).into_owned(), over))
}

/// Systems as points, named in the legend. None for fewer than two.
pub fn scatter(points: &[(String, f64, f64)], x: &str, y: &str) -> Option<String> {
    if points.len() < 2 || points.iter().any(|(_, x, y)| !x.is_finite() || !y.is_finite()) {
        return None;
    }
    let mut svg = String::new();
    draw_scatter(&mut svg, points, x, y).ok()?;
    Some(escaped(&svg).into_owned())
}

fn draw_scatter(svg: &mut String, points: &[(String, f64, f64)], x: &str, y: &str) -> Drawn {
    let most = |of: fn(&(String, f64, f64)) -> f64| points.iter().map(of).fold(0.0f64, f64::max);
    let right = most(|point| point.1);
    let right = if right > 0.0 { right * 1.05 } else { 1.0 };
    let top = most(|point| point.2).max(1e-6) * 1.08;
    let (root, plot, legend) = sheet(svg, points.len())?;
    // Points on the axis are seen whole.
    let left = -right * 0.02;
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(left..right, 0.0..top)?;
    mesh(&mut chart, x, y)?;
    for (at, (name, x, y)) in points.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        // With more systems than colours, other marks tell them apart.
        let place = named(&legend, at, name)?;
        match at / COLOURS.len() % 3 {
            0 => {
                chart.draw_series([Circle::new((*x, *y), 5, colour.filled())])?;
                legend.draw(&Circle::new((15, place), 5, colour.filled()))?;
            }
            1 => {
                chart.draw_series([TriangleMarker::new((*x, *y), 6, colour.filled())])?;
                legend.draw(&TriangleMarker::new((15, place), 6, colour.filled()))?;
            }
            _ => {
                chart.draw_series([Cross::new((*x, *y), 5, colour.stroke_width(2))])?;
                legend.draw(&Cross::new((15, place), 5, colour.stroke_width(2)))?;
            }
        }
    }
    root.present()?;
    Ok(())
}

type Sheet<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// A white sheet with room for so many systems: the whole, the plot, and the legend beside the plot,
/// where no line can hide it.
fn sheet(
    svg: &mut String,
    n: usize,
) -> Result<(Sheet<'_>, Sheet<'_>, Sheet<'_>), Box<dyn std::error::Error>> {
    let height = (48 + 22 * n as u32).max(420);
    let root = SVGBackend::with_string(svg, (920, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, legend) = root.split_horizontally(560);
    Ok((root, plot, legend))
}

/// Writes a system's name into the legend; returns the height of its line.
fn named(legend: &Sheet, at: usize, name: &str) -> Result<i32, Box<dyn std::error::Error>> {
    const LONGEST: usize = 46;
    let place = 24 + 22 * at as i32;
    let short: String = match name.chars().count() {
        n if n > LONGEST => name.chars().take(LONGEST - 1).chain(['…']).collect(),
        _ => name.to_owned(),
    };
    legend.draw(&Text::new(short, (34, place - 8), ("sans-serif", 14).into_font()))?;
    Ok(place)
}

/// One line per system: name and points.
pub type Series = (String, Vec<(f64, f64)>);

/// Lines, e.g. a loss by epoch. None if there is nothing to draw.
pub fn curves(series: &[Series], x: &str, y: &str) -> Option<String> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let bound =
        |of: fn(&(f64, f64)) -> f64, pick: fn(f64, f64) -> f64| points().map(of).reduce(pick);
    let last = bound(|point| point.0, f64::max)?;
    let (low, high) = (bound(|point| point.1, f64::min)?, bound(|point| point.1, f64::max)?);
    if last <= 1.0 || !high.is_finite() || !low.is_finite() {
        return None;
    }
    let room = (high - low).max(1e-9) * 0.05;
    let mut svg = String::new();
    draw_curves(&mut svg, series, (x, y), 0.0..last * 1.02, low - room..high + room).ok()?;
    Some(svg)
}

fn draw_curves(
    svg: &mut String,
    series: &[Series],
    (x, y): (&str, &str),
    x_range: std::ops::Range<f64>,
    y_range: std::ops::Range<f64>,
) -> Drawn {
    let (root, plot, legend) = sheet(svg, series.len())?;
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(x_range, y_range)?;
    mesh(&mut chart, x, y)?;
    for (at, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        let place = named(&legend, at, name)?;
        legend.draw(&PathElement::new(vec![(4, place), (26, place)], colour.stroke_width(2)))?;
    }
    root.present()?;
    Ok(())
}

type Plane = Cartesian2d<RangedCoordf64, RangedCoordf64>;

/// Grid, labels and names of the axes, alike in every figure.
fn mesh(chart: &mut ChartContext<'_, SVGBackend<'_>, Plane>, x: &str, y: &str) -> Drawn {
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| format!("{y:.2}"))
        .axis_desc_style(("sans-serif", 15))
        .label_style(("sans-serif", 13))
        .draw()?;
    Ok(())
}

/// A label of an axis, no longer than it need be.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 10.0 => 0,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// `rows`: a system with cutoff, value and the length of half a bar.
fn draw(svg: &mut String, rows: &[(&str, [f64; 3])], systems: &[String], metric: &str) -> Drawn {
    let top = rows.iter().map(|(_, [_, value, sd])| value + sd).fold(0.0f64, f64::max).max(1e-6);
    let last_k = rows.iter().map(|(_, [k, ..])| *k).fold(1.0f64, f64::max);
    let (root, plot, legend) = sheet(svg, systems.len())?;
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..last_k * 1.04, 0.0..top * 1.08)?;
    mesh(&mut chart, "cutoff k", metric)?;
    for (at, system) in systems.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let mut points: Vec<(f64, f64, f64)> = rows
            .iter()
            .filter(|(of, _)| of == system)
            .map(|(_, [k, value, sd])| (*k, *value, *sd))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart.draw_series(LineSeries::new(
            points.iter().map(|p| (p.0, p.1)),
            colour.stroke_width(2),
        ))?;
        for (k, value, sd) in &points {
            if *sd > 0.0 {
                let bar = vec![(*k, value - sd), (*k, value + sd)];
                chart.draw_series(LineSeries::new(bar, colour.stroke_width(1)))?;
            }
            match at % 3 {
                0 => drop(chart.draw_series([Circle::new((*k, *value), 4, colour.filled())])?),
                1 => drop(chart.draw_series([TriangleMarker::new(
                    (*k, *value),
                    5,
                    colour.filled(),
                )])?),
                _ => drop(chart.draw_series([Cross::new(
                    (*k, *value),
                    4,
                    colour.stroke_width(2),
                )])?),
            }
        }
        let y = named(&legend, at, system)?;
        legend.draw(&PathElement::new(vec![(4, y), (26, y)], colour.stroke_width(2)))?;
        match at % 3 {
            0 => legend.draw(&Circle::new((15, y), 4, colour.filled()))?,
            1 => legend.draw(&TriangleMarker::new((15, y), 5, colour.filled()))?,
            _ => legend.draw(&Cross::new((15, y), 4, colour.stroke_width(2)))?,
        }
    }
    root.present()?;
    Ok(())
}
