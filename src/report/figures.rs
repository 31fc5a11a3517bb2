//! Figures as SVG, PNG and PDF. One file for each kind, and what they share: [`style`], [`canvas`] and [`plot`].

mod against_k;
mod canvas;
mod contrasts;
mod cost;
mod critical_difference;
mod differences;
mod pdf;
mod plot;
mod popularity;
mod reranking;
mod style;
mod sweep;
mod training;

use canvas::Canvas;
use plot::{Axis, Line};
use style::Look;

pub use against_k::metric_against_k;
pub use critical_difference::critical_difference;

use super::{DefaultPlace, metric_title};
use crate::{
    analysis::{Against, Bootstrap, MEAN, Place, ResultRow, against, best_of},
    base::{files::FileError, text::distinct},
    core::{MeasureKey, Workspace},
    tasks::{
        ExperimentRecord, FigureKind, FigureSpec, Known, NO_REFERENCE, ReportSpec, Width,
        read_metric,
    },
};

/// A figure with its caption.
pub struct Figure {
    pub name: String,
    pub caption: String,
    canvas: Canvas,
}

impl Figure {
    /// SVG in the colours of the page around it.
    pub fn svg(&self) -> String {
        self.canvas.svg()
    }

    /// PNG at 300 dpi.
    pub fn png(&self) -> Vec<u8> {
        self.canvas.png()
    }

    /// PDF of the size of the PNG in print.
    pub fn pdf(&self) -> Result<Vec<u8>, FileError> {
        pdf::pdf(&self.svg()).map_err(|problem| FileError::Damaged {
            path: format!("{}.svg", self.name).into(),
            problem: format!("no PDF can be made of it: {problem}"),
        })
    }
}

/// A figure, and what it is made from.
pub struct FigureRequest<'a> {
    pub spec: &'a FigureSpec,
    pub report: &'a ReportSpec,
    pub experiment: &'a ExperimentRecord,
    pub workspace: &'a Workspace,
    pub rows: &'a [ResultRow],
}

/// What a kind of figure draws from.
struct Source<'a> {
    request: &'a FigureRequest<'a>,
    known: Known,
    usual: DefaultPlace,
    metric: String,
    k: usize,
}

/// A drawing with its caption; none if there is nothing to draw.
type Drawing = Result<Option<(String, Canvas)>, FileError>;

impl FigureRequest<'_> {
    /// None if the results have nothing for it.
    pub fn figure(&self) -> Result<Option<Figure>, FileError> {
        let Some(usual) = DefaultPlace::of(self.rows) else { return Ok(None) };
        let known = Known::of(self.experiment);
        let asked = self.spec.metric.as_ref().and_then(|text| read_metric(text).ok());
        let usual_metric = || {
            let is_known = |name: &&str| known.metrics.iter().any(|of| of == name);
            let first = known.metrics.first().cloned().unwrap_or_default();
            ["ndcg", "recall"].into_iter().find(is_known).map_or(first, str::to_owned)
        };
        let (metric, k) = asked.unwrap_or_else(|| (usual_metric(), None));
        let k = k.unwrap_or(usual.k);
        let source = Source { request: self, known, usual, metric, k };
        let drawing = match self.spec.kind {
            FigureKind::MetricAgainstK => against_k::draw(&source),
            FigureKind::Reranking => reranking::draw(&source),
            FigureKind::Contrasts => contrasts::draw(&source),
            FigureKind::Differences => differences::draw(&source),
            FigureKind::Cost => cost::draw(&source),
            FigureKind::Training => training::draw(&source),
            FigureKind::Sweep => sweep::draw(&source),
            FigureKind::Popularity => popularity::draw(&source),
        }?;
        Ok(drawing.map(|(caption, canvas)| Figure {
            name: self.spec.name.clone(),
            caption: self.spec.caption.clone().unwrap_or(caption),
            canvas,
        }))
    }
}

/// The figures that a report has if none are declared: those that the experiment has data for.
pub fn default_figures(experiment: &ExperimentRecord) -> Vec<FigureSpec> {
    let of = |name: &str, kind, width| FigureSpec {
        name: name.to_owned(),
        kind,
        caption: None,
        metric: None,
        systems: Vec::new(),
        slice: None,
        protocol: None,
        convention: None,
        reference: None,
        over: None,
        width,
    };
    let known = Known::of(experiment);
    let systems = || experiment.variants.iter().flat_map(|variant| &variant.systems);
    let mut all = vec![of("metric-against-k", FigureKind::MetricAgainstK, Width::One)];
    if systems().any(|system| system.reranks.is_some()) {
        all.push(of("reranking", FigureKind::Reranking, Width::Two));
        all.push(of("cost", FigureKind::Cost, Width::One));
    }
    if !experiment.audit.contrasts.is_empty() {
        all.push(of("contrasts", FigureKind::Contrasts, Width::Two));
    }
    if let [one] = &known.swept[..] {
        let sweep = of("sweep", FigureKind::Sweep, Width::One);
        all.push(FigureSpec { over: Some(one.clone()), ..sweep });
    }
    if experiment.trials.iter().any(|trial| trial.fit.is_some()) {
        all.push(of("training", FigureKind::Training, Width::One));
    }
    all
}

impl Source<'_> {
    fn protocol(&self) -> &str {
        self.request.spec.protocol.as_deref().unwrap_or(&self.usual.protocol)
    }

    fn convention(&self) -> &str {
        self.request.spec.convention.as_deref().unwrap_or(&self.usual.convention)
    }

    fn slice(&self) -> &str {
        self.request.spec.slice.as_deref().unwrap_or(&self.usual.slice)
    }

    fn width(&self) -> Width {
        self.request.spec.width
    }

    /// `nDCG@10`
    fn metric_title(&self) -> String {
        metric_title(&self.metric, Some(self.k))
    }

    /// The column that the figure is of.
    fn place(&self) -> Place {
        self.place_of(&self.metric)
    }

    fn place_of(&self, metric: &str) -> Place {
        Place {
            measure: MeasureKey {
                protocol: self.protocol().to_owned(),
                convention: self.convention().to_owned(),
                metric: metric.to_owned(),
                k: self.k,
            },
            slice: self.slice().to_owned(),
            fold: MEAN.to_owned(),
        }
    }

    /// The systems that are shown, in the order of the experiment; oracles only if they are asked for.
    fn systems(&self) -> Vec<String> {
        let asked = &self.request.spec.systems;
        // Values of oracles make the differences of the others hard to see.
        let knows = self.request.rows.iter().filter(|row| row.knows_test);
        let oracles = distinct(knows.map(|row| row.system.as_str()));
        let is_in = |full: &&String| match asked.is_empty() {
            true => !oracles.contains(full),
            false => asked.iter().any(|name| self.known.systems_of(name).contains(full)),
        };
        self.known.systems.iter().filter(is_in).cloned().collect()
    }

    /// The same in every figure of the experiment.
    fn look(&self, system: &str) -> Look {
        Look::of(self.known.systems.iter().position(|name| name == system).unwrap_or(0))
    }

    /// The row of a system, over all folds.
    fn row(&self, system: &str, place: &Place) -> Option<&ResultRow> {
        let mut rows = self.request.rows.iter().filter(|row| !row.one_of_several);
        rows.find(|row| row.system == system && place.holds(row))
    }

    /// `ml-100k, protocol full, convention standard, all users`
    fn about(&self) -> String {
        let data = self.request.experiment.variants.iter().map(|variant| variant.data.as_str());
        let users = match self.slice() {
            "all" => "all users".to_owned(),
            slice => format!("users {slice}"),
        };
        format!(
            "{}, protocol {}, convention {}, {users}",
            distinct(data).join(", "),
            self.protocol(),
            self.convention()
        )
    }

    /// The system that others are compared with.
    fn reference(&self) -> Option<String> {
        let FigureRequest { spec, report, rows, .. } = self.request;
        let named = spec.reference.clone().or_else(|| report.reference.clone());
        match named.filter(|name| name != NO_REFERENCE) {
            Some(name) => Some(name),
            None => {
                let systems = self.systems();
                best_of(rows, &self.place(), &|name| systems.iter().any(|of| of == name))
            }
        }
    }

    /// Differences to a system, with intervals if asked for.
    fn against(
        &self,
        reference: &str,
        systems: &[String],
        has_intervals: bool,
    ) -> Result<Against, FileError> {
        let FigureRequest { experiment, workspace, rows, .. } = self.request;
        let bootstrap = match has_intervals {
            true => Bootstrap::default(),
            false => Bootstrap { resamples: 0, ..Bootstrap::default() },
        };
        against(experiment, workspace, rows, (reference, systems), &[self.place()], bootstrap)
    }
}

/// A line per system: name and points.
pub type Series = (String, Vec<(f64, f64)>);

fn curves_canvas(
    title: &str,
    width: Width,
    series: &[Series],
    looks: &[Look],
    x: &str,
    y: &str,
) -> Option<Canvas> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let last = points().map(|point| point.0).reduce(f64::max)?;
    if last <= 1.0 || points().any(|point| !point.1.is_finite()) {
        return None;
    }
    let lines = series.iter().zip(looks).map(|((name, points), look)| Line {
        name: name.clone(),
        look: *look,
        points: points.iter().map(|(x, y)| (*x, *y, None)).collect(),
        has_marks: false,
    });
    let lines: Vec<Line> = lines.collect();
    let x_axis = Axis::of(points().map(|point| point.0), x);
    let y_axis = Axis::of(points().map(|point| point.1), y);
    Some(plot::lines(title, width, &x_axis, &y_axis, &lines))
}
